r"""DDPO: DPO with each pair's loss weighted by the deviation of its winning story, from the SFT adapter.

    accelerate launch --config_file accelerate_configs/multi_gpu.yaml -m scripts_dpo.generation_ddpo_model_train \
        --config recipes/llama-3.1-8b/ddpo.yaml --source runs/llama-3.1-8b/data/pairs-both \
        --adapter runs/llama-3.1-8b/generation --output_dir runs/llama-3.1-8b/ddpo
    python -m scripts_dpo.generation_ddpo_model_train --config recipes/miniature/ddpo.yaml \
        --source runs/miniature/seed0/data/pairs-both \
        --model_name_or_path runs/miniature/seed0/base --adapter runs/miniature/seed0/generation --output_dir runs/my-ddpo
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_dpo.generation_ddpo_model_train")

from diversity_tuning.training.command import training_command

main = training_command("ddpo", __doc__)

if __name__ == "__main__":
    main()
