"""Tables and the reward–diversity figure of scored runs (paper, figure 2). Needs neither a GPU nor torch.

python -m scripts_eval.report --results results --output results/report --compare ddpo-both:dpo dorpo-both:orpo
python -m scripts_eval.report --runs runs/miniature/eval/dpo runs/miniature/eval/ddpo-both --output runs/miniature/report

Writes report.md, models.csv, differences.csv, fronts.csv, reward_diversity.png and .pdf.
"""

import argparse
from pathlib import Path

from diversity_tuning.cli import command, parse_with_recipe
from diversity_tuning.errors import UserError


@command
def main(argv=None) -> None:
    parser = argparse.ArgumentParser(
        prog="scripts_eval.report",
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--runs", nargs="+", default=None, help="scored run folders, in the order of the table")
    parser.add_argument("--results", default=None, help="instead of --runs: every scored run below this folder")
    parser.add_argument("--output", required=True, help="folder to write to")
    parser.add_argument("--compare", nargs="+", default=[], metavar="ONE:OTHER", help="paired differences, by name or method")
    parser.add_argument("--anchor", default=None, help="model that counts as a point of every front, such as sft")
    parser.add_argument("--figure", action=argparse.BooleanOptionalAction, default=True, help="draw the figure")
    args = parse_with_recipe(parser, argv)
    if (args.runs is None) == (args.results is None):
        raise UserError("give either --runs or --results")
    from diversity_tuning.evaluation.report import make_report
    from diversity_tuning.evaluation.runsets import find_runs

    folders = [Path(run) for run in args.runs] if args.runs else find_runs(args.results)
    make_report(folders, Path(args.output), args.compare, args.anchor, args.figure)
    print(f"{args.output}: report of {len(folders)} runs", flush=True)


if __name__ == "__main__":
    main()
