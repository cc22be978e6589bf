r"""DPO from the SFT adapter, which is also the reference. On stage 4's pairs this is DivPO.

    accelerate launch --config_file accelerate_configs/multi_gpu.yaml -m scripts_dpo.generation_dpo_model_train \
        --config recipes/llama-3.1-8b/dpo.yaml --source runs/llama-3.1-8b/data/pairs-both \
        --adapter runs/llama-3.1-8b/generation --output_dir runs/llama-3.1-8b/dpo
    python -m scripts_dpo.generation_dpo_model_train --config recipes/miniature/dpo.yaml \
        --source runs/miniature/seed0/data/pairs-both \
        --model_name_or_path runs/miniature/seed0/base --adapter runs/miniature/seed0/generation --output_dir runs/my-dpo
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_dpo.generation_dpo_model_train")

from diversity_tuning.training.command import training_command

main = training_command("dpo", __doc__)

if __name__ == "__main__":
    main()
