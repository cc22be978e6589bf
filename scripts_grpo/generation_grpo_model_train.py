r"""GRPO: a policy generates groups of stories, rewards score them; --deviation keeps the groups diverse. From the SFT adapter.

    accelerate launch --config_file accelerate_configs/multi_gpu.yaml -m scripts_grpo.generation_grpo_model_train \
        --config recipes/llama-3.1-8b/grpo.yaml --source runs/llama-3.1-8b/data/filtered \
        --adapter runs/llama-3.1-8b/generation --reward runs/llama-3.1-8b/reward --output_dir runs/llama-3.1-8b/grpo \
        --deviation advantage --encoders jinaai/jina-embeddings-v3-hf AnnaWegmann/Style-Embedding
    python -m scripts_grpo.generation_grpo_model_train --config recipes/miniature/grpo.yaml --max_steps 2 \
        --source runs/miniature/seed0/data/filtered --model_name_or_path runs/miniature/seed0/base \
        --adapter runs/miniature/seed0/generation --reward runs/miniature/seed0/reward --output_dir runs/my-grpo

Several rewards with weights: --reward runs/reward=0.7 builtin:length=0.001 my_module:my_function=0.3. See docs/RLAIF.md.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_grpo.generation_grpo_model_train")

from diversity_tuning.training.command import training_command

main = training_command("grpo", __doc__)

if __name__ == "__main__":
    main()
