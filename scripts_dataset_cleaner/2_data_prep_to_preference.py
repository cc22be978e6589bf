"""Stage 2: draw preference pairs within each prompt."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_dataset_cleaner.2_data_prep_to_preference")

from diversity_tuning.commands.pair import main

if __name__ == "__main__":
    main()
