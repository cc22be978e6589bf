"""One page about a source or the output of any stage: sizes, votes, lengths, deviations, duplicates, prompts in two splits."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_dataset_cleaner.describe")

from diversity_tuning.commands.describe import main

if __name__ == "__main__":
    main()
