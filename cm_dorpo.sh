#!/usr/bin/env bash
# DORPO.  MODEL=llama-3.1-8b ACCELERATE=multi_gpu bash cm_dorpo.sh --output_dir runs/dorpo [any flag of the recipe or trainer]
# Two processes on a CPU:  MODEL=miniature ACCELERATE=cpu PROCESSES=2 bash cm_dorpo.sh …
exec bash "$(dirname "${BASH_SOURCE[0]}")/accelerate_configs/launch.sh" scripts_orpo.generation_dorpo_model_train dorpo "$@"
