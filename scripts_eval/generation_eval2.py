"""Measure the data's own responses like a model's samples: the reference row of a report."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.generation_eval2")

from diversity_tuning.commands.references import main

if __name__ == "__main__":
    main()
