r"""Stage 5: verdicts to pairs: a good and a bad response of the same prompt.

python -m scripts_multi_agent.5_verdicts_to_preference --source out/4_reflect --output out/pairs --length_match 0.85 \
    --validation_share 0.1

The pairs (prompt, chosen, rejected) are what scripts_reward_modeling.pairwise_reward_model_train --source reads. Ties, prompts
with good or bad responses only, failed and repeated rows are counted, here and in provenance.json.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_multi_agent.5_verdicts_to_preference")

import argparse

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.next_steps import print_next
from scripts_multi_agent.common import add_pair_arguments, run_pairs

STAGE = "5_verdicts_to_preference"


@command
def main(argv=None) -> None:
    parser = Parser(f"scripts_multi_agent.{STAGE}", __doc__)
    parser.add_argument("--source", required=True, help="output folder of stage 4 (or 3, with --verdict judge)")
    parser.add_argument("--output", required=True, help="output folder")
    add_pair_arguments(parser)
    parser.add_argument("--seed", type=at_least(0), default=0, help="which pairs and prompts are drawn")
    parser.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="redo what is there")
    args = parse_with_recipe(parser, argv)
    run_pairs(args, args.source, args.output)
    print_next(STAGE, args.output)


if __name__ == "__main__":
    main()
