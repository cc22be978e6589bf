"""Make the items of a human study from two evaluated runs: two blinded sets of stories per prompt, summarised."""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.prepare_human_eval_data")

from diversity_tuning.commands.human_items import main

if __name__ == "__main__":
    main()
