r"""Score the samples of a run folder, again or for the first time; nothing is sampled.

python -m scripts_eval.score --reward_model runs/reward --output results/ddpo-both --name ddpo-both
R=runs/miniature/seed0; python -m scripts_eval.score --reward_model $R/reward --semantic_model builtin:minilm \
    --style_model builtin:stylometry:$R/stylometry --output runs/my-dpo --overwrite
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.score")

import argparse

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.evaluation.sampling.run import add_output_arguments
from diversity_tuning.evaluation.scoring.run import add_scoring_arguments, score_run, scoring_config


@command
def main(argv=None) -> None:
    parser = Parser("scripts_eval.score", __doc__)
    add_scoring_arguments(parser, reward_required=False)
    parser.add_argument("--trust_remote_code", action=argparse.BooleanOptionalAction, default=False, help="run the hub's code")
    add_output_arguments(parser)
    score_run(scoring_config(parse_with_recipe(parser, argv)))


if __name__ == "__main__":
    main()
