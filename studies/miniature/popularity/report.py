r"""The report of --popularity: what weights gain and cost against how far votes favour the common.

python -m studies.miniature.popularity.report --points 0=runs/miniature/seed0/popularity-0 1.5=runs/miniature/seed0 \
        --mark caption_contest=results/popularity/caption_contest.json --output runs/miniature/report-popularity
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.miniature.popularity.report")

from diversity_tuning.cli import Parser, command, parse_with_recipe

TITLE = "What weights do where votes favour the common more or less"
METHOD = """\
The texts are the same at every popularity; only the votes differ, and with them pairs, deviations, reward model, DPO and DDPO.
SFT is the same model with the same samples. Correlation: Spearman of δ and votes within a training prompt, mean over prompts,
as `describe` prints it. Intervals: 95% percentile bootstrap of seeds, then of prompts within each drawn seed; of one seed, of
prompts. With few seeds they are rough. No correction for the number of comparisons.
"""


@command
def main(argv=None) -> None:
    parser = Parser("studies.miniature.popularity.report", __doc__)
    parser.add_argument(
        "--points", nargs="+", required=True, metavar="P=FOLDER", help="popularity and folder of a seed; several seeds each"
    )
    parser.add_argument(
        "--mark", nargs="*", default=[], metavar="NAME=FILE.json", help="other data, from describe --correlation: on the axis"
    )
    parser.add_argument("--split", default="", help="split of the evaluations (default: the recipe's)")
    parser.add_argument("--output", required=True, help="folder for report.html, report.md, the figure and .csv tables")
    args = parse_with_recipe(parser, argv)
    print(write_report(args.points, args.mark, args.output, args.split), flush=True)


def write_report(points: list[str], marks: list[str], output: str, split: str = "") -> str:
    """Write everything into ``output``; returns what to print."""
    from diversity_tuning.evaluation import diagnostics
    from studies import report as study
    from studies.miniature import recognise
    from studies.miniature.popularity import figure, tables
    from studies.miniature.popularity.points import read_marks, read_points

    diagnostics.by_module(recognise)
    marked, read = read_marks(marks), read_points(points, split)
    frames = {
        "popularity": tables.differences(read),
        "means": tables.models(read),
        "prompts": tables.prompts(read),
        "correlations": tables.correlations(read),
    }
    found = [*tables.difference_tables(frames["popularity"]), tables.model_rows(frames["means"])]
    found += [tables.mark_table(marked)] if marked else []
    caption = f"Gain and loss against the correlation of δ and votes, synthetic data. {figure.RAISED}"
    return study.write_report(
        output,
        "popularity_report",
        {"points": points, "split": split, "marks": marks},
        TITLE,
        found,
        lambda folder: [(figure.plot(frames["popularity"], marked, folder)[0], caption)],
        frames,
        {f"{point.popularity:g}": len(point.rho) for point in read},
        lines=[figure.RAISED],
        method=METHOD,
    )


if __name__ == "__main__":
    main()
