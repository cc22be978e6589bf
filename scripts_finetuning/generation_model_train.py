r"""Supervised fine-tuning (SFT) of a base model on the kept responses: where DPO and DDPO start.

    accelerate launch --config_file accelerate_configs/multi_gpu.yaml -m scripts_finetuning.generation_model_train \
        --config recipes/llama-3.1-8b/generation.yaml --source runs/llama-3.1-8b/data/filtered \
        --output_dir runs/llama-3.1-8b/generation
    python -m scripts_finetuning.generation_model_train --config recipes/miniature/generation.yaml \
        --source runs/miniature/seed0/data/filtered \
        --model_name_or_path runs/miniature/seed0/base --output_dir runs/my-generation
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_finetuning.generation_model_train")

from diversity_tuning.training.command import training_command

main = training_command("generation", __doc__)

if __name__ == "__main__":
    main()
