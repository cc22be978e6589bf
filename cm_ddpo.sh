#!/usr/bin/env bash
# DDPO.  MODEL=llama-3.1-8b ACCELERATE=multi_gpu bash cm_ddpo.sh --output_dir runs/ddpo [any flag of the recipe or trainer]
# Two processes on a CPU:  MODEL=miniature ACCELERATE=cpu PROCESSES=2 bash cm_ddpo.sh …
exec bash "$(dirname "${BASH_SOURCE[0]}")/accelerate_configs/launch.sh" scripts_dpo.generation_ddpo_model_train ddpo "$@"
