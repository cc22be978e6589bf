"""Stage 0: titles without tags, votes mapped to [-1, 1], train and test splits."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_dataset_cleaner.0_data_prep_scoring")

from diversity_tuning.commands.votes import main

if __name__ == "__main__":
    main()
