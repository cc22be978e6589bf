"""Stage 1: leave out responses that are no story, and those too long for the model's context."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_dataset_cleaner.1_data_prep_filtering")

from diversity_tuning.commands.filter import main

if __name__ == "__main__":
    main()
