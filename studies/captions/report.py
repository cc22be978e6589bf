r"""The report of the captions recipe: tables, one figure, and every value that they are computed from, without texts.

    python -m studies.captions.report --seeds runs/captions/seed0 runs/captions/seed1 --output runs/captions/report

Intervals are 95% bootstrap intervals over contests, and over seeds where there are several (all seeds have the same contests).
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.captions.report")

from pathlib import Path

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.runs import atomic_folder, provenance, write_provenance


@command
def main(argv=None) -> None:
    parser = Parser("studies.captions.report", __doc__)
    parser.add_argument("--seeds", nargs="+", required=True, help="seed folders of the captions recipe")
    parser.add_argument("--split", default=None, help="read the measures of another split than test")
    parser.add_argument("--output", required=True, help="folder for report.md, tables and the figure")
    args = parse_with_recipe(parser, argv)
    from diversity_tuning.evaluation.rendering import markdown
    from studies.captions.report_data import read_results
    from studies.captions.report_figure import draw
    from studies.captions.report_tables import tables
    from studies.results.publish import write_cells

    results = read_results(args.seeds, args.split)
    found = tables(results)
    with atomic_folder(args.output) as folder:
        draw(results, folder / "captions")
        written = {table.name: [table.header, *table.rows] for table in found}
        for name, lines in (written | {"contests": results.long(), "correlations": results.correlations()}).items():
            write_cells(folder / f"{name}.csv", lines)
        title = "# Captions of real contests\n\n![reward and diversity](captions.png)\n\n"
        (folder / "report.md").write_text(title + "\n".join(map(markdown, found)), encoding="utf-8")
        record = provenance("captions_report", {"split": args.split, "seeds": [Path(seed).name for seed in args.seeds]}, {})
        write_provenance(folder, record, contests=len(results.contests))
    print(f"{args.output}: {len(found)} tables, 1 figure", flush=True)


if __name__ == "__main__":
    main()
