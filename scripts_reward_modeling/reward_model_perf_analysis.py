"""Check a reward model on held-out responses: order of votes, calibration, whether it reads the prompt, figures."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_reward_modeling.reward_model_perf_analysis")

from diversity_tuning.commands.reward_check import main

if __name__ == "__main__":
    main()
