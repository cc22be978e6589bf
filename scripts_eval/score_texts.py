r"""Score responses that were sampled elsewhere: a table of prompts and responses, with or without a reward model.

python -m scripts_eval.score_texts --texts published.csv --reward_model runs/reward --output runs/published --name gpt-4o
python -m scripts_eval.score_texts --texts stories.jsonl --semantic_model builtin:minilm \
    --style_model builtin:stylometry:runs/stylometry --output runs/stories --split_by system

Columns prompt, response, perhaps prompt_id, and any others. With --split_by each value of that column gets a run folder;
diversities stay those of all responses to a prompt together.
Writes scores.csv, prompts.csv and metrics.json, as scripts_eval.score does.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.score_texts")

import argparse

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.evaluation.scoring.run import add_scoring_arguments, scoring_config
from diversity_tuning.evaluation.scoring.texts import COLUMNS, TextsConfig, score_texts


@command
def main(argv=None) -> None:
    parser = Parser("scripts_eval.score_texts", __doc__)
    parser.add_argument("--texts", required=True, help=f".csv, .jsonl or .jsonl.gz; {COLUMNS}")
    parser.add_argument("--split_by", default=None, metavar="COLUMN", help="one run folder per value of this column")
    add_scoring_arguments(parser, reward_required=False)
    parser.add_argument("--output", required=True, help="run folder, or folder of them")
    parser.add_argument("--device", default=None, help="cpu, cuda, …; default: cuda where there is one")
    parser.add_argument("--trust_remote_code", action=argparse.BooleanOptionalAction, default=False, help="run the hub's code")
    parser.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="score anew")
    args = parse_with_recipe(parser, argv)
    score_texts(TextsConfig(args.texts, scoring_config(args), args.split_by))


if __name__ == "__main__":
    main()
