"""Stage 4: DivPO pairs, the baseline: the most deviating well-voted against the least deviating badly-voted responses."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_dataset_cleaner.4_data_prep_divpo")

from diversity_tuning.commands.divpo import main

if __name__ == "__main__":
    main()
