r"""Measure the data's own responses, of people or synthetic authors, like a model's samples: the reference row of a report.

python -m scripts_eval.generation_eval2 --source data/filtered --reward_model runs/reward --output results/gold
R=runs/miniature/seed0; python -m scripts_eval.generation_eval2 --source $R/data/filtered --start 0 --output runs/my-authors \
    --reward_model $R/reward --semantic_model builtin:minilm --style_model builtin:stylometry:$R/stylometry

gold.csv has the published names: data_semantic_diversity, data_style_diversity, gold_reddit_reward, gold_vote.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.generation_eval2")

import argparse

from diversity_tuning.cli import Parser, at_least, command, from_flags, parse_with_recipe
from diversity_tuning.evaluation.sampling.run import add_output_arguments
from diversity_tuning.evaluation.scoring.references import ReferenceConfig, gold_run
from diversity_tuning.evaluation.scoring.run import add_scoring_arguments, scoring_config


@command
def main(argv=None) -> None:
    parser = Parser("scripts_eval.generation_eval2", __doc__)
    parser.add_argument("--source", required=True, help="folder with the cleaned data: output of data stage 0 or 1")
    parser.add_argument("--split", default=ReferenceConfig.split, help="split of it")
    parser.add_argument("--start", type=int, default=ReferenceConfig.start, help="first row")
    parser.add_argument(
        "--num_prompts", type=int, default=ReferenceConfig.num_prompts, help="rows from there on; fewer where the split ends"
    )
    parser.add_argument(
        "--draw",
        type=at_least(1),
        default=ReferenceConfig.draw,
        help="responses a prompt that distinct labels are counted among",
    )
    parser.add_argument("--seed", type=at_least(0), default=ReferenceConfig.seed, help="decides that draw")
    parser.add_argument("--trust_remote_code", action=argparse.BooleanOptionalAction, default=False, help="run the hub's code")
    add_scoring_arguments(parser)
    add_output_arguments(parser)
    parser.set_defaults(name="gold")
    args = parse_with_recipe(parser, argv)
    gold_run(from_flags(ReferenceConfig, args, scoring=scoring_config(args)))


if __name__ == "__main__":
    main()
