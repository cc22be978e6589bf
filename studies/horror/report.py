r"""The report of the horror recipe: tables and figures as one HTML page, Markdown and CSV.

python -m studies.horror.report --seeds runs/horror/seed0 runs/horror/seed1 \
        --output runs/horror/report
python -m scripts_eval.judge_samples --reward judge.yaml --runs runs/horror/seed0/samples/sft --output runs/judged
python -m studies.horror.report … --judged unsettling_end=runs/judged
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.horror.report")

import csv
import html
from pathlib import Path

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.runs import atomic_folder, provenance, write_provenance

_SHOWN = 3  # specifications with a story of every model


@command
def main(argv=None) -> None:
    parser = Parser("studies.horror.report", __doc__)
    parser.add_argument("--seeds", nargs="+", required=True, help="seed folders of the horror recipe")
    parser.add_argument("--split", default=None, help="read the samples of another split than test")
    parser.add_argument(
        "--judged", nargs="+", default=[], metavar="CONSTRAINT=FOLDER",
        help="print how a judge's verdicts (scripts_eval.judge_samples) on the first seed's stories agree with the rules",
    )  # fmt: skip
    parser.add_argument("--output", required=True, help="folder for report.html, report.md, tables and figures")
    args = parse_with_recipe(parser, argv)
    from diversity_tuning.evaluation.csvfiles import write_cells
    from diversity_tuning.evaluation.page import write_pages
    from diversity_tuning.evaluation.rendering import markdown
    from studies.horror import second_opinion
    from studies.horror.report_data import read_results
    from studies.horror.report_figures import draw_all
    from studies.horror.report_tables import tables

    results = read_results(args.seeds, args.split)
    judged = second_opinion.tables(results, args.judged)
    found = tables(results) + judged
    with atomic_folder(args.output) as folder:
        drawn = draw_all(results, folder)
        for table in found:
            write_cells(folder / f"{table.name}.csv", [table.header, *table.rows])
        write_values(results, folder / "prompts.csv")
        write_pages(folder, "Horror stories from specifications", found, drawn, sections={"Stories": _stories(results.stories)})
        record = provenance("horror_report", {"split": args.split, "seeds": [Path(seed).name for seed in args.seeds]}, {})
        write_provenance(folder, record, counts={name: len(rows) for name, rows in results.stories.items()})
    for table in judged:
        print(markdown(table), flush=True)
    print(f"{args.output}: {len(found)} tables, {len(drawn)} figures", flush=True)


def write_values(results, path: Path) -> None:
    """Every measure per seed, model and specification: what all means and intervals are computed from; no texts."""
    from studies.horror.report_data import MEASURES

    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["seed", "model", "specification", *MEASURES])
        for model, values in results.values.items():
            for seed, folder in enumerate(results.seeds):
                for place in range(values["all"].shape[1]):
                    numbers = (format(values[name][seed, place], ".6g") for name in MEASURES)
                    writer.writerow([folder.name, model, place, *numbers])


def _stories(stories: dict[str, list[dict]]) -> str:
    """The first story of every model for the first specifications."""
    prompts = list(dict.fromkeys(row["prompt"] for row in stories["sft"]))[:_SHOWN]
    parts = []
    for prompt in prompts:
        parts.append(f"<h3>{html.escape(prompt.splitlines()[1])}</h3><pre>{html.escape(prompt)}</pre>")
        for model, rows in stories.items():
            row = next(row for row in rows if row["prompt"] == prompt)
            failed = [name for name, holds in row["constraints"].items() if holds is False and name != "all"]
            note = f"fails: {', '.join(failed)}" if failed else "keeps every constraint"
            parts.append(f"<h4>{model} <small>{html.escape(note)}</small></h4><pre>{html.escape(row['story'])}</pre>")
    return "".join(parts)


if __name__ == "__main__":
    main()
