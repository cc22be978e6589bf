r"""Make the items of a human study from two evaluated runs: two blinded sets of stories per prompt, summarised.

python -m scripts_eval.prepare_human_eval_data --runs results/ddpo-both results/dpo --num_prompts 50 --seed 8231 \
    --engine openai --model gpt-4o-2024-11-20 --max_cost 5 --price_input 2.5 --price_output 10 --output runs/human/ddpo-dpo
python -m scripts_eval.prepare_human_eval_data --runs runs/miniature/seed0/eval/ddpo-both runs/miniature/seed0/eval/dpo \
    --num_prompts 25 --no_summaries --seed 8231 --output runs/miniature/human

Writes items.jsonl (for Potato, see human-eval/), key.csv (keep it from annotators) and report.json (what was left out).
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.prepare_human_eval_data")

import argparse

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.generation.engine import add_engine_arguments
from diversity_tuning.human_eval.study import StudyConfig, prepare_study, study_config


@command
def main(argv=None) -> None:
    parser = Parser("scripts_eval.prepare_human_eval_data", __doc__)
    parser.add_argument("--runs", nargs=2, required=True, metavar=("ONE", "OTHER"), help="two evaluated run folders")
    parser.add_argument("--names", nargs=2, default=None, metavar=("ONE", "OTHER"), help="condition names; default: the runs'")
    parser.add_argument("--output", required=True, help="folder to write to")
    parser.add_argument("--num_prompts", type=int, default=StudyConfig.num_prompts, help="items to make")
    parser.add_argument(
        "--skip", type=int, default=StudyConfig.skip, help="prompts to pass over, those that an earlier study has shown"
    )
    parser.add_argument(
        "--num_samples", type=int, default=StudyConfig.num_samples, help="stories per set; the two questions are made for 4"
    )
    parser.add_argument(
        "--seed",
        type=at_least(0),
        required=True,
        help="decides prompts, stories and which set is A; one that nobody guesses",
    )
    parser.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="redo what is there")
    group = parser.add_argument_group("summaries")
    group.add_argument("--no_summaries", action="store_true", help="show the full texts, in boxes that scroll")
    group.add_argument("--summary_words", type=int, default=StudyConfig.summary_words, help="length to ask for")
    group.add_argument(
        "--summary_tokens", type=int, default=StudyConfig.summary_tokens, help="a summary that is longer counts as failed"
    )
    group.add_argument("--temperature", type=float, default=StudyConfig.temperature, help="of the summaries")
    group.add_argument("--summaries", default=None, help="file that keeps them; default: OUTPUT.summaries.jsonl")
    group.add_argument("--device", default=None, help="local: cpu, cuda, cuda:1, …; default: cuda where there is one")
    add_engine_arguments(parser)
    prepare_study(study_config(parse_with_recipe(parser, argv)))


if __name__ == "__main__":
    main()
