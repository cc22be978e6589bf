r"""The report of the captions recipe: tables, one figure, and every value that they are computed from, without texts.

    python -m studies.captions.report --seeds runs/captions/seed0 runs/captions/seed1 --output runs/captions/report

Intervals are 95% bootstrap intervals over contests, and over seeds where there are several (all seeds have the same contests).
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.captions.report")

from pathlib import Path

from diversity_tuning.cli import command, parse_with_recipe
from studies.report import as_frames, report_parser, write_report


@command
def main(argv=None) -> None:
    args = parse_with_recipe(report_parser("studies.captions.report", __doc__, "captions"), argv)
    from studies.captions.report_data import read_results
    from studies.captions.report_figure import draw
    from studies.captions.report_tables import tables

    results = read_results(args.seeds, args.split)
    found = tables(results)
    told = write_report(
        args.output,
        "captions_report",
        {"split": args.split, "seeds": [Path(seed).name for seed in args.seeds]},
        "Captions of real contests",
        found,
        lambda folder: [(draw(results, folder / "captions"), "reward and diversity")],
        as_frames(found) | results.frames(),
        {"contests": len(results.contests)},
        page=False,
    )
    print(told, flush=True)


if __name__ == "__main__":
    main()
