#!/usr/bin/env bash
# Reward model.  MODEL=llama-3.1-8b ACCELERATE=multi_gpu bash cm_reward.sh --output_dir runs/reward [any flag of the recipe or trainer]
# Two processes on a CPU:  MODEL=miniature ACCELERATE=cpu PROCESSES=2 bash cm_reward.sh …
exec bash "$(dirname "${BASH_SOURCE[0]}")/accelerate_configs/launch.sh" scripts_reward_modeling.reward_model_train reward "$@"
