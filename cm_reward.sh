#!/usr/bin/env bash
# Reward model.  MODEL=llama-3.1-8b ACCELERATE=multi_gpu bash cm_reward.sh --output_dir runs/reward [any flag of the recipe or trainer]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
exec accelerate launch --config_file "$here/accelerate_configs/${ACCELERATE:-multi_gpu}.yaml" ${PROCESSES:+--num_processes "$PROCESSES"} \
  -m scripts_reward_modeling.reward_model_train --config "$here/recipes/${MODEL:-llama-3.1-8b}/reward.yaml" "$@"
