"""The final evaluation of policies by a judge: its verdicts on their samples, side by side."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.judge_samples")

from diversity_tuning.commands.judge_samples import main

if __name__ == "__main__":
    main()
