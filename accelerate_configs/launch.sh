#!/usr/bin/env bash
# Flags override the recipe's. Runs from any folder. Defaults: MODEL=llama-3.1-8b ACCELERATE=multi_gpu.
#   MODEL=llama-3.1-8b      a folder of recipes/
#   ACCELERATE=multi_gpu    a file of accelerate_configs/: cpu, single_gpu, multi_gpu, fsdp, deepspeed_zero3
#   PROCESSES=4             another number of processes than the file's
#   LAUNCHER_FLAGS="…"      more flags of `accelerate launch`, for several machines: see examples/slurm
# One process is started without accelerate's launcher. Where no accelerate is on the PATH, this project's .venv is used.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
module=$1 config=$here/accelerate_configs/${ACCELERATE:-multi_gpu}.yaml recipe=$here/recipes/${MODEL:-llama-3.1-8b}/$2.yaml
script=cm_$2.sh run=(-m "$1")
if [ "$1" = diversity_tuning.training ]; then run+=("$2") script="accelerate_configs/launch.sh $1 $2"; fi # by name
shift 2
for flag in "$@"; do
  case $flag in -h | --help)
    echo "usage: MODEL=llama-3.1-8b ACCELERATE=multi_gpu bash $script --source FOLDER --output_dir FOLDER [flags of the recipe]"
    sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    echo "Example:  MODEL=miniature ACCELERATE=cpu PROCESSES=2 bash $script --max_steps 2 --source FOLDER --output_dir FOLDER"
    echo "All flags:  python ${run[*]} --help"
    exit 0
    ;;
  esac
done
# near FILE: what there is instead, of the same beginning if any, else all.
near() {
  local name=${1#"$here"/recipes/} choices
  if [ "$name" = "$1" ]; then
    name=${1##*/} && name=${name%.yaml} && choices=$(cd "$here/accelerate_configs" && printf '%s\n' *.yaml | sed 's/\.yaml$//')
  else
    name=${name%%/*} && choices=$(ls "$here/recipes")
  fi
  local alike
  alike=$(grep -i -e "^$name" <<<"$choices" || grep -i -e "^${name:0:3}" <<<"$choices" || true)
  if [ -n "$alike" ]; then echo "; did you mean" $alike"?"; else echo "; there are:" $choices; fi
}
for file in "$config" "$recipe"; do
  [ -f "$file" ] || { echo "error: $file: no such file; choose by ACCELERATE and MODEL$(near "$file")" >&2; exit 2; }
done
if ! command -v accelerate >/dev/null && [ -x "$here/.venv/bin/accelerate" ]; then PATH="$here/.venv/bin:$PATH"; fi
command -v accelerate >/dev/null || {
  echo "error: package accelerate is missing: run 'bash $here/setup.sh', which makes $here/.venv, or activate an environment with requirements.txt" >&2
  exit 2
}
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
# What the configuration says, read as every recipe is.
found=$(python - "$config" num_processes distributed_type use_cpu mixed_precision <<'END'
import sys

from diversity_tuning.errors import UserError
from diversity_tuning.recipe import read_recipe

try:
    settings = read_recipe(sys.argv[1])
except UserError as error:
    sys.exit(f"error: {error}")
print(*(str(settings.get(name, "")).lower() or "-" for name in sys.argv[2:]))
END
) || exit 2
read -r processes type use_cpu precision <<<"$found"

number=${PROCESSES:-$processes}
case $type in fsdp | deepspeed) number=sharded ;; esac # the launcher sets these up, even for one process
[ -z "${LAUNCHER_FLAGS:-}" ] || number=several
if [ "$number" = 1 ]; then
  if [ "$use_cpu" = true ]; then
    export ACCELERATE_USE_CPU=true
  else # the trainer would spread a single process over every GPU that it sees
    visible=${CUDA_VISIBLE_DEVICES-0} && export CUDA_VISIBLE_DEVICES=${visible%%,*}
  fi
  export ACCELERATE_MIXED_PRECISION=$precision
  exec python "${run[@]}" --config "$recipe" "$@"
fi
launcher=(--config_file "$config" ${PROCESSES:+--num_processes "$PROCESSES"}) device=()
if [ "${ACCELERATE:-}" = cpu ]; then
  # Several processes on a CPU: accelerate's own way (MULTI_CPU) needs MPI, its launcher of GPU processes is torchrun's.
  launcher+=(--multi_gpu)
  case $module in scripts_eval.*) device=(--device cpu) ;; *) device=(--use_cpu true) ;; esac
fi
# shellcheck disable=SC2086  # LAUNCHER_FLAGS is a list of words
exec python -m accelerate_configs.launcher "${launcher[@]}" ${LAUNCHER_FLAGS:-} "${run[@]}" --config "$recipe" \
  ${device[@]+"${device[@]}"} "$@"
