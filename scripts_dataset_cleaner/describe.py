"""One page about the output of any stage: sizes, votes, lengths, deviations, duplicates, prompts in several splits.

python -m scripts_dataset_cleaner.describe --source out/pairs_div
python -m scripts_dataset_cleaner.describe --source out/filtered --output out/filtered_page
"""

from diversity_tuning.cli import command
from scripts_dataset_cleaner.common import HelpFormatter, Parser, parse


def build_parser() -> Parser:
    parser = Parser(prog="python -m scripts_dataset_cleaner.describe", description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument("--source", required=True, help="the output folder of any stage")
    parser.add_argument("--output", default=None, help="folder for the page (page.md) and its histograms (PNG)")
    return parser


@command
def main(argv=None) -> None:
    args = parse(build_parser(), argv)
    from diversity_tuning.data import describe
    from diversity_tuning.data.sources import open_saved
    from diversity_tuning.data.storage import require_apart, require_stage

    require_stage(args.source, 0)
    require_apart(source=args.source, output=args.output)
    splits = dict(open_saved(args.source))
    figures = {name: describe.figures(rows, f"{args.source}/{name}") for name, rows in splits.items()}
    page = describe.page(args.source, figures)
    print(page)
    if args.output:
        describe.write(args.output, page, figures)


if __name__ == "__main__":
    main()
