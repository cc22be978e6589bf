"""Score the samples of a run folder, again or for the first time; nothing is sampled."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.score")

from diversity_tuning.commands.score import main

if __name__ == "__main__":
    main()
