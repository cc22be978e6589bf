"""Tables and figures of scored runs (paper, figures 2 to 5), and a page to read them with samples. Needs neither GPU nor torch.

python -m scripts_eval.report --results runs/llama-3.1-8b/seed0/eval --output report --compare ddpo-both:dpo dorpo-both:orpo
python -m scripts_eval.report --runs runs/miniature/seed0/eval/{dpo,ddpo-both} --output runs/my-report --compare all

Writes report.md, report.html (one file, figures and samples inside), summary.txt, tables as .csv and .tex, figures as .png
and .pdf.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.report")

import argparse
from pathlib import Path

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.errors import UserError
from diversity_tuning.next_steps import print_next


@command
def main(argv=None) -> None:
    parser = Parser("scripts_eval.report", __doc__)
    parser.add_argument("--runs", nargs="+", default=None, help="scored run folders, in the order of the table")
    parser.add_argument("--results", default=None, help="instead of --runs: every scored run below this folder")
    parser.add_argument("--output", required=True, help="folder to write to")
    parser.add_argument(
        "--compare", nargs="+", default=[], metavar="ONE:OTHER", help="paired differences, by name or method; all: of any two"
    )
    parser.add_argument("--anchor", default=None, help="model that counts as a point of every front, such as sft")
    parser.add_argument("--figure", action=argparse.BooleanOptionalAction, default=True, help="draw the figures")
    parser.add_argument(
        "--ablation", action="store_true", help="strengths are the most responses a prompt: draw the paper's figure 3"
    )
    parser.add_argument("--samples", type=int, default=12, help="prompts whose samples the page shows")
    parser.add_argument(
        "--show", nargs="+", default=None, metavar="MODEL", help="models whose samples it shows; default: up to 6"
    )
    parser.add_argument(
        "--human",
        nargs="+",
        default=None,
        metavar="FOLDER",
        help="outputs of scripts_eval.human_eval_analysis: adds their tables",
    )
    parser.add_argument(
        "--controls",
        nargs="+",
        default=None,
        metavar="METHOD",
        help="methods for tables of differences to --baselines; grey points",
    )
    parser.add_argument("--baselines", nargs="+", default=None, metavar="MODEL", help="what the controls are compared with")
    parser.add_argument("--note", default=None, help='what the figure says of the data, such as "synthetic data"')
    args = parse_with_recipe(parser, argv)
    if (args.runs is None) == (args.results is None):
        raise UserError("give either --runs or --results")
    if (args.controls is None) != (args.baselines is None):
        raise UserError("--controls and --baselines: give both or none")
    from diversity_tuning.evaluation.report.build import make_report
    from diversity_tuning.evaluation.report.runs import find_runs
    from diversity_tuning.human_eval.report import human_tables

    folders = [Path(run) for run in args.runs] if args.runs else find_runs(args.results)
    options = {
        name: getattr(args, name)
        for name in ("compare", "anchor", "figure", "ablation", "samples", "show", "controls", "baselines", "note")
    }
    further = human_tables([Path(folder) for folder in args.human or []])
    summary = make_report(folders, Path(args.output), **options, further=further)
    print(f"{summary}\n{args.output}: report of {len(folders)} runs, with figures and samples", flush=True)
    print_next("report", args.output)


if __name__ == "__main__":
    main()
