"""Score responses that were sampled elsewhere: a table of prompts and responses, with or without a reward model."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.score_texts")

from diversity_tuning.commands.texts import main

if __name__ == "__main__":
    main()
