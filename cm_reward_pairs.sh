#!/usr/bin/env bash
# Reward model on pairs.  MODEL=llama-3.1-8b ACCELERATE=multi_gpu bash cm_reward_pairs.sh --output_dir runs/reward_pairs [any flag of the recipe or trainer]
# Two processes on a CPU:  MODEL=miniature ACCELERATE=cpu PROCESSES=2 bash cm_reward_pairs.sh …
exec bash "$(dirname "${BASH_SOURCE[0]}")/accelerate_configs/launch.sh" scripts_reward_modeling.pairwise_reward_model_train reward_pairs "$@"
