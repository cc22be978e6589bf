#!/usr/bin/env bash
# Supervised fine-tuning.  MODEL=llama-3.1-8b ACCELERATE=multi_gpu bash cm_generation.sh --output_dir runs/generation [any flag of the recipe or trainer]
# Two processes on a CPU:  MODEL=miniature ACCELERATE=cpu PROCESSES=2 bash cm_generation.sh …
exec bash "$(dirname "${BASH_SOURCE[0]}")/accelerate_configs/launch.sh" scripts_finetuning.generation_model_train generation "$@"
