"""One page about a source or the output of any stage: sizes, votes, lengths, deviations, duplicates, prompts in two splits.

python -m scripts_dataset_cleaner.describe --source posts.jsonl.gz
python -m scripts_dataset_cleaner.describe --source out/pairs_div
python -m scripts_dataset_cleaner.describe --source out/filtered --output out/filtered_page
python -m scripts_dataset_cleaner.describe --source out/pairs_div --correlation out/correlation.json
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from diversity_tuning.cli import command
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.ranges import Flags


@dataclass(frozen=True)
class DescribeConfig(Flags):
    """What to describe."""

    source: str = flag("the output folder of any stage, or a source that stage 0 takes")
    output: str | None = flag("folder for the page (page.md) and histograms.png", default=None)
    correlation: str | None = flag(
        "of stage 3's output: file for the correlation of deviation and votes, to mark on a figure of several",
        default=None, metavar="FILE.json",
    )  # fmt: skip


@command
def main(argv=None) -> None:
    args = parse_flags(DescribeConfig, "scripts_dataset_cleaner.describe", __doc__, argv, extra="evaluation")
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
    from diversity_tuning.data import sources, tables

    if (Path(source) / "dataset_dict.json").is_file():
        return dict(sources.open_saved(source))
    return {"all": tables.load_source(source, work)}
