"""Stage 3: give both responses of every pair their deviation, the loss weight of DDPO and DORPO."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_dataset_cleaner.3_data_prep_for_diversified_training")

from diversity_tuning.commands.weigh import main

if __name__ == "__main__":
    main()
