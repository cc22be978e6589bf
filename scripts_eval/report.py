"""Tables and figures of scored runs (paper, figures 2 to 5), and a page to read them with samples."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.report")

from diversity_tuning.commands.report import main

if __name__ == "__main__":
    main()
