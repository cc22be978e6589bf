r"""Stage 1: the strengths of each response, with reasons.

python -m scripts_multi_agent.1_positive_agent --source out/0_retrieval --output out/1_positive --engine openai \
    --base_url http://localhost:8000/v1 --model MODEL

A killed run goes on by the same command. Responses without a usable reply are listed in the field `failed`; later stages leave
them out, --retry_failed asks again.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_multi_agent.1_positive_agent")

from diversity_tuning.cli import command, parse_with_recipe
from diversity_tuning.next_steps import print_next
from scripts_multi_agent.common import stage_config, stage_parser

STAGE = "1_positive_agent"


@command
def main(argv=None) -> None:
    args = parse_with_recipe(stage_parser(STAGE, __doc__), argv)
    from diversity_tuning.judging.stages import POSITIVE, run_stage

    run_stage(POSITIVE, stage_config(args))
    print_next(STAGE, args.output)


if __name__ == "__main__":
    main()
