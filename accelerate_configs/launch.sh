#!/usr/bin/env bash
# What the cm_*.sh share: launch.sh MODULE STAGE [flags], from any folder. The flags come after the recipe's, so they win.
#   MODEL=llama-3.1-8b      a folder of recipes/
#   ACCELERATE=multi_gpu    a file of this folder: cpu, single_gpu, multi_gpu, fsdp, deepspeed_zero3
#   PROCESSES=4             another number of processes than the file's
#   LAUNCHER_FLAGS="…"      more flags of `accelerate launch`, for several machines: see examples/slurm
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
module=$1 config=$here/accelerate_configs/${ACCELERATE:-multi_gpu}.yaml recipe=$here/recipes/${MODEL:-llama-3.1-8b}/$2.yaml
shift 2
for file in "$config" "$recipe"; do
  [ -f "$file" ] || { echo "error: $file: no such file; choose by ACCELERATE and MODEL" >&2; exit 2; }
done
launcher=(--config_file "$config" ${PROCESSES:+--num_processes "$PROCESSES"}) device=()
if [ "${ACCELERATE:-}" = cpu ] && [ "${PROCESSES:-1}" != 1 ]; then
  # Several processes on a CPU: accelerate's own way (MULTI_CPU) needs MPI, its launcher of GPU processes is torchrun's.
  launcher+=(--multi_gpu) device=(--use_cpu true)
fi
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
# shellcheck disable=SC2086  # LAUNCHER_FLAGS is a list of words
exec accelerate launch "${launcher[@]}" ${LAUNCHER_FLAGS:-} -m "$module" --config "$recipe" ${device[@]+"${device[@]}"} "$@"
