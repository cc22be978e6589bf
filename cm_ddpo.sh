#!/usr/bin/env bash
# DDPO.  MODEL=llama-3.1-8b ACCELERATE=multi_gpu bash cm_ddpo.sh --output_dir runs/ddpo [any flag of the recipe or trainer]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
exec accelerate launch --config_file "$here/accelerate_configs/${ACCELERATE:-multi_gpu}.yaml" ${PROCESSES:+--num_processes "$PROCESSES"} \
  -m scripts_dpo.generation_ddpo_model_train --config "$here/recipes/${MODEL:-llama-3.1-8b}/ddpo.yaml" "$@"
