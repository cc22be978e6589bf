r"""Train a reward model on pairs: one output, Bradley–Terry loss.

    accelerate launch --config_file accelerate_configs/multi_gpu.yaml -m scripts_reward_modeling.pairwise_reward_model_train \
        --config recipes/qwen2.5-7b-greetings/reward_pairs.yaml --source pairs.json --output_dir runs/greetings/reward_pairs
    python -m scripts_reward_modeling.pairwise_reward_model_train --config recipes/miniature/reward_pairs.yaml \
        --source runs/miniature/seed0/data/pairs-both --model_name_or_path runs/miniature/seed0/base --output_dir runs/my-reward

Rows: prompt, chosen, rejected, as texts or messages; a stage's pairs; ShareGPT's form. The result is loaded and scores as the
reward model from votes does (:func:`diversity_tuning.reward_model.load_reward_model`).
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_reward_modeling.pairwise_reward_model_train")

from diversity_tuning.training.command import training_command

main = training_command("reward_pairs", __doc__)

if __name__ == "__main__":
    main()
