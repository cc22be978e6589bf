"""Sample responses to test prompts into a run folder; a killed run can be resumed."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.sample")

from diversity_tuning.commands.sample import main

if __name__ == "__main__":
    main()
