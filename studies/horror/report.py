r"""The report of the horror recipe: tables and figures as one HTML page, Markdown and CSV.

python -m studies.horror.report --seeds runs/horror/seed0 runs/horror/seed1 \
        --output runs/horror/report
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.horror.report")

import base64
import csv
import html
from pathlib import Path

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.runs import atomic_folder, provenance, write_provenance

_SHOWN = 3  # specifications with a story of every model
_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --back: #fff; --soft: #f3f4f6; --line: #d4d7dc; --dim: #5c6370 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --back: #16181c; --soft: #22252b; --line: #3b4048; --dim: #a0a7b4 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); margin: 2rem auto; max-width: 80rem;
  padding: 0 1rem }
p { max-width: 60rem } figure { margin: 1.5rem 0 } figure img { max-width: 100%; background: #fff; padding: .5rem }
figcaption, small { color: var(--dim) } small { white-space: nowrap } .wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left } th { background: var(--soft) }
pre { white-space: pre-wrap; background: var(--soft); padding: .6rem .8rem; max-width: 60rem; font-family: Georgia, serif }
"""


@command
def main(argv=None) -> None:
    parser = Parser("studies.horror.report", __doc__)
    parser.add_argument("--seeds", nargs="+", required=True, help="seed folders of the horror recipe")
    parser.add_argument("--split", default=None, help="read the samples of another split than test")
    parser.add_argument("--output", required=True, help="folder for report.html, report.md, tables and figures")
    args = parse_with_recipe(parser, argv)
    from diversity_tuning.evaluation.csvfiles import write_cells
    from diversity_tuning.evaluation.rendering import markdown
    from studies.horror.report_data import read_results
    from studies.horror.report_figures import draw_all
    from studies.horror.report_tables import tables

    results = read_results(args.seeds, args.split)
    found = tables(results)
    with atomic_folder(args.output) as folder:
        drawn = draw_all(results, folder)
        for table in found:
            write_cells(folder / f"{table.name}.csv", [table.header, *table.rows])
        write_values(results, folder / "prompts.csv")
        text = "# Horror stories from specifications\n\n" + "\n".join(markdown(table) for table in found)
        (folder / "report.md").write_text(text, encoding="utf-8")
        (folder / "report.html").write_text(page(drawn, found, results.stories), encoding="utf-8")
        record = provenance("horror_report", {"split": args.split, "seeds": [Path(seed).name for seed in args.seeds]}, {})
        write_provenance(folder, record, counts={name: len(rows) for name, rows in results.stories.items()})
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


def page(drawn: list[tuple[Path, str]], found: list, stories: dict[str, list[dict]]) -> str:
    """The HTML page; figures are inside, every text is escaped."""
    from diversity_tuning.evaluation.rendering import page_table

    body = "".join(_figure(path, caption) for path, caption in drawn) + "".join(map(page_table, found)) + _stories(stories)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Horror stories from specifications</title>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        f"<body><h1>Horror stories from specifications</h1>{body}</body></html>\n"
    )


def _figure(path: Path, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def _stories(stories: dict[str, list[dict]]) -> str:
    """The first story of every model for the first specifications."""
    prompts = list(dict.fromkeys(row["prompt"] for row in stories["sft"]))[:_SHOWN]
    parts = ["<h2>Stories</h2>"]
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
