"""From the annotations of a human study and its key to win rates, a significance test, agreement and position bias."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.human_eval_analysis")

from diversity_tuning.commands.human_analysis import main

if __name__ == "__main__":
    main()
