#!/usr/bin/env bash
# GRPO.  MODEL=llama-3.1-8b ACCELERATE=multi_gpu bash cm_grpo.sh --output_dir runs/grpo [any flag of the recipe or trainer]
# Two processes on a CPU:  MODEL=miniature ACCELERATE=cpu PROCESSES=2 bash cm_grpo.sh …
exec bash "$(dirname "${BASH_SOURCE[0]}")/accelerate_configs/launch.sh" scripts_grpo.generation_grpo_model_train grpo "$@"
