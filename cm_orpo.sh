#!/usr/bin/env bash
# ORPO.  MODEL=llama-3.1-8b ACCELERATE=multi_gpu bash cm_orpo.sh --output_dir runs/orpo [any flag of the recipe or trainer]
# Two processes on a CPU:  MODEL=miniature ACCELERATE=cpu PROCESSES=2 bash cm_orpo.sh …
exec bash "$(dirname "${BASH_SOURCE[0]}")/accelerate_configs/launch.sh" scripts_orpo.generation_orpo_model_train orpo "$@"
