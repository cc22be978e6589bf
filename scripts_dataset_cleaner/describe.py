"""One page about a source or the output of any stage: sizes, votes, lengths, deviations, duplicates, prompts in two splits.

python -m scripts_dataset_cleaner.describe --source posts.jsonl.gz
python -m scripts_dataset_cleaner.describe --source out/pairs_div
python -m scripts_dataset_cleaner.describe --source out/filtered --output out/filtered_page
python -m scripts_dataset_cleaner.describe --source out/pairs_div --correlation out/correlation.json
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_dataset_cleaner.describe")

import tempfile
from pathlib import Path

from diversity_tuning.cli import Parser, command
from scripts_dataset_cleaner.common import parse


def build_parser() -> Parser:
    parser = Parser("scripts_dataset_cleaner.describe", __doc__)
    parser.add_argument("--source", required=True, help="the output folder of any stage, or a source that stage 0 takes")
    parser.add_argument("--output", default=None, help="folder for the page (page.md) and histograms.png")
    parser.add_argument(
        "--correlation", default=None, metavar="FILE.json",
        help="of stage 3's output: file for the correlation of deviation and votes, to mark on the figure of --popularity",
    )  # fmt: skip
    return parser


@command
def main(argv=None) -> None:
    args = parse(build_parser(), argv)
    from diversity_tuning.data import describe
    from diversity_tuning.data.storage import require_apart
    from diversity_tuning.outputs import check_ours

    require_apart(source=args.source, output=args.output)
    if args.output:
        check_ours(args.output, describe.FILES)
    if args.correlation:
        describe.check_correlation(args.correlation, args.output)
    with tempfile.TemporaryDirectory() as work:
        figures = {name: describe.figures(rows, f"{args.source}/{name}") for name, rows in read(args.source, work).items()}
    page = describe.page(args.source, figures)
    print(page)
    if args.output:
        describe.write(args.output, page, figures)
    if args.correlation:
        describe.write_correlation(args.correlation, args.source, figures)


def read(source: str, work: str) -> dict:
    """The splits of a stage's output, or a source as one split called ``all``."""
    from diversity_tuning.data import sources

    if (Path(source) / "dataset_dict.json").is_file():
        return dict(sources.open_saved(source))
    return {"all": sources.load_source(source, work)}


if __name__ == "__main__":
    main()
