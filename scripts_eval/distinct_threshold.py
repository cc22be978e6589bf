"""Calibrate the distance below which two samples count as the same in distinct_k, on the data's own responses."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.distinct_threshold")

from diversity_tuning.commands.distinct import main

if __name__ == "__main__":
    main()
