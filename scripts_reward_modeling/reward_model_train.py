r"""Train the reward model: one output, L1 loss on the votes mapped to [-1, 1].

    accelerate launch --config_file accelerate_configs/multi_gpu.yaml -m scripts_reward_modeling.reward_model_train \
        --config recipes/llama-3.1-8b/reward.yaml --source runs/llama-3.1-8b/data/filtered \
        --output_dir runs/llama-3.1-8b/reward
    python -m scripts_reward_modeling.reward_model_train --config recipes/miniature/reward.yaml \
        --source runs/miniature/seed0/data/filtered \
        --model_name_or_path runs/miniature/seed0/base --output_dir runs/my-reward
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_reward_modeling.reward_model_train")

from diversity_tuning.training.command import training_command

main = training_command("reward", __doc__)

if __name__ == "__main__":
    main()
