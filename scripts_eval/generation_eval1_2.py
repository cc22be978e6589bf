"""Add compression ratio, homogenization score and n-gram diversity to scored runs, per prompt."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.generation_eval1_2")

from diversity_tuning.commands.auxiliary import main

if __name__ == "__main__":
    main()
