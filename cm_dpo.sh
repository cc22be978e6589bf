#!/usr/bin/env bash
# DPO; with stage 4's pairs, DivPO.  MODEL=llama-3.1-8b ACCELERATE=multi_gpu bash cm_dpo.sh --output_dir runs/dpo [any flag of the recipe or trainer]
# Two processes on a CPU:  MODEL=miniature ACCELERATE=cpu PROCESSES=2 bash cm_dpo.sh …
exec bash "$(dirname "${BASH_SOURCE[0]}")/accelerate_configs/launch.sh" scripts_dpo.generation_dpo_model_train dpo "$@"
