r"""ORPO from the base model: no reference, no SFT before.

    accelerate launch --config_file accelerate_configs/multi_gpu.yaml -m scripts_orpo.generation_orpo_model_train \
        --config recipes/llama-3.1-8b/orpo.yaml --source runs/llama-3.1-8b/data/pairs-both \
        --output_dir runs/llama-3.1-8b/orpo
    python -m scripts_orpo.generation_orpo_model_train --config recipes/miniature/orpo.yaml \
        --source runs/miniature/seed0/data/pairs-both \
        --model_name_or_path runs/miniature/seed0/base --output_dir runs/my-orpo
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_orpo.generation_orpo_model_train")

from diversity_tuning.training.command import training_command

main = training_command("orpo", __doc__)

if __name__ == "__main__":
    main()
