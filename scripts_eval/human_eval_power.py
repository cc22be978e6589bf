"""What a human study of a given size can find: power and false positives on simulated annotators, and the paper's counts."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.human_eval_power")

from diversity_tuning.commands.human_power import main

if __name__ == "__main__":
    main()
