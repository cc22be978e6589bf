r"""DORPO: ORPO with each pair's loss weighted by the deviation of its winning story, from the base model.

    accelerate launch --config_file accelerate_configs/multi_gpu.yaml -m scripts_orpo.generation_dorpo_model_train \
        --config recipes/llama-3.1-8b/dorpo.yaml --source runs/llama-3.1-8b/data/pairs-both \
        --output_dir runs/llama-3.1-8b/dorpo
    python -m scripts_orpo.generation_dorpo_model_train --config recipes/miniature/dorpo.yaml \
        --source runs/miniature/seed0/data/pairs-both \
        --model_name_or_path runs/miniature/seed0/base --output_dir runs/my-dorpo
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_orpo.generation_dorpo_model_train")

from diversity_tuning.training.command import training_command

main = training_command("dorpo", __doc__)

if __name__ == "__main__":
    main()
