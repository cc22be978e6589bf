"""How well a judge or reward agrees with people, beside length alone."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.judge_agreement")

from diversity_tuning.commands.judge_agreement import main

if __name__ == "__main__":
    main()
