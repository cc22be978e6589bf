r"""Stage 4: the final verdict on each response, in sight of the judge's; and a report on all stages.

python -m scripts_multi_agent.4_reflect_agent --source out/3_judge --output out/4_reflect --engine openai \
    --base_url http://localhost:8000/v1 --model MODEL --label_column label

Writes summary.json, summary.md and verdicts.png beside the rows: what was overturned, calls, tokens and cost of every stage
(with --price_input and --price_output) and, with labels, accuracy, F1 and kappa of judge and reflect with 95% intervals.
A killed run goes on by the same command. Responses without a usable reply are listed in the field `failed`.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_multi_agent.4_reflect_agent")

from diversity_tuning.cli import command, parse_with_recipe
from diversity_tuning.next_steps import print_next
from scripts_multi_agent.common import add_report_arguments, prices, stage_config, stage_parser

STAGE = "4_reflect_agent"


@command
def main(argv=None) -> None:
    parser = stage_parser(STAGE, __doc__)
    parser.add_argument("--no_debate", action="store_true", help="hide strengths and weaknesses from reflect")
    add_report_arguments(parser)
    args = parse_with_recipe(parser, argv)
    run(args, stage_config(args, debate=not args.no_debate))
    print_next(STAGE, args.output)


def run(args, config, engine=None) -> None:
    """The stage and the report; ``engine`` makes one."""
    from diversity_tuning.judging.stages import REFLECT, read_rows, run_stage
    from diversity_tuning.judging.verdict_report import check_labels, table, write_report

    check_labels(read_rows(config.source, ()), args.label_column)
    rows = run_stage(REFLECT, config, engine)
    model = config.engine.model or config.engine.base_model
    print(table(write_report(rows, config.output, args.label_column, prices(args), model=model)), flush=True)


if __name__ == "__main__":
    main()
