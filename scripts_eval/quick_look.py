"""A first look at models: sample a file of prompts, score the samples, and print quality and diversity as one table."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.quick_look")

from diversity_tuning.commands.look import main

if __name__ == "__main__":
    main()
