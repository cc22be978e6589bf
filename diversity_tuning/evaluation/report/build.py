"""A report: tables as Markdown, CSV and LaTeX, figures as PNG and PDF, and one page of HTML that holds it all."""

import os
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd

from diversity_tuning.data.schema import REDDIT_REWARD
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.csvfiles import write_csv
from diversity_tuning.evaluation.page import write_pages
from diversity_tuning.evaluation.rendering import NONE, Table, difference, interval, latex
from diversity_tuning.evaluation.report import figures, overview, tables
from diversity_tuning.evaluation.report.comparison import Comparison, control_tables, curve_tables
from diversity_tuning.evaluation.report.page_samples import samples_section
from diversity_tuning.evaluation.report.runs import Run, RunGroup, prompt_warning, read_runs, run_names
from diversity_tuning.runs import write_text, written_in_place

# What a report consists of; nothing else in its folder is touched.
FILES = (
    *("report.md", "report.html", "summary.txt", "models.csv", "differences.csv", "fronts.csv", "overview.tex", "counts.tex"),
    *("controls.csv", "controls-fronts.csv", "controls*.tex", "fronts.tex", "fronts-*.tex", "human.tex", "human_people.tex"),
    *("models.tex", "models-*.tex", "differences.tex", "differences-*.tex"),
    *("ablation.p*", "auxiliary.p*", "further.p*"),
)
# In provenance.json: what the report was asked for, of which runs, and where these are, seen from the report.
SETTINGS, RUNS, FOLDERS = "settings", "runs", "run_folders"
METHOD = """\
Means over prompts with 95% percentile bootstrap intervals, 10,000 draws: of prompts; over several seeds, of seeds and then of
prompts within each drawn seed where every seed has prompts of its own (the mean is that of the seeds), of both independently
where all seeds have the same prompts. With few seeds such an interval is rough; beside it, in differences over all seeds,
stands t: Student's interval over the seeds' means. p: two-sided, random sign flips of the paired differences per prompt. It is
conditional on the models that were trained: it speaks of other prompts, not of other seeds. No correction for the number of
comparisons.
"""
_UNDER_FIGURES = "Means over prompts with 95% intervals."
_EQUAL_LENGTH = """\
`…_equal_length`: diversity moved to the runs' common mean length along the slope of diversity on the log of words per response
within runs (regression keeps every prompt; matching would drop most). Slopes: {slopes}.
"""


def make_report(
    folders: list[Path | Run],
    output: Path,
    compare: list[str],
    anchor: str | None = None,
    figure: bool = True,
    ablation: bool = False,
    samples: int = 12,
    show: list[str] | None = None,
    further: Sequence[Table] = (),
    controls: list[str] | None = None,
    baselines: list[str] | None = None,
    note: str | None = None,
) -> str:
    """Write report.md, report.html, the tables as .csv and .tex, and the figures as .png and .pdf into ``output``.

    Returns the overview for a terminal, which summary.txt holds as well. Runs that differ in prompts are warned of.

    ``folders``: scored runs, published studies (all of their runs), or runs that were read before.
    ``ablation``: strengths are the most responses a prompt, drawn as the paper's figure 3. ``samples``: prompts whose samples
    the page shows, of the models in ``show`` (default: one per name). ``further``: tables of
    another source, such as a human study. ``controls``: methods that get tables of their differences to ``baselines``, and
    are grey in the figure; ``note``: what the figure says of the data;
    by default what their study says, where it is the same for all runs. The provenance says how to make the report again
    from the runs alone (:mod:`~.published`), so not where there are ``further`` tables.
    """
    runs = [run for one in folders for run in ([one] if isinstance(one, Run) else read_runs(one))]
    if warning := prompt_warning(runs):
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    compared = Comparison(runs, compare, anchor, controls, baselines)
    models, frames = compared.models, compared.frames()
    if note is None and len(said := {run.registered.data for run in runs}) == 1:
        note = said.pop()
    settings = {"compare": compare, "anchor": anchor, "figure": figure, "ablation": ablation}
    settings |= {"controls": controls, "baselines": baselines, "note": note}
    where = [os.path.relpath(run.folder, output) for run in runs]
    record = {} if further else {SETTINGS: settings, RUNS: run_names(runs), FOLDERS: where}
    names = (*FILES, *(f"{name}.p*" for name in registry.tradeoffs()))
    with written_in_place(output, "report", names, record) as before:
        for name, rows in frames.items():
            if len(rows):
                write_csv(output / f"{name}.csv", rows)
            else:
                (output / f"{name}.csv").unlink(missing_ok=True)
        drawn = write_figures(models, output, ablation, compared.drawn, compared.grey, note) if figure else []
        summary = overview.sentences(models, frames["differences"], warning)
        found = [
            overview.overview_table(models),
            *_model_tables(frames["models"], compared.columns, compared.slopes),
            _count_table(frames["models"]),
            *_difference_tables(frames["differences"]),
            *curve_tables(frames["fronts"], compared.anchor),
            *control_tables(frames["controls"], compared.control_pairs),
            *curve_tables(frames["controls-fronts"], compared.anchor, "controls-fronts"),
            *further,
        ]
        for old in [name for name in before if name.endswith(".tex") or not any(fnmatch(name, one) for one in names)]:
            (output / old).unlink(missing_ok=True)
        for table in found:
            write_text(output / f"{table.name}.tex", latex(table))
        opening = "".join(f"- {sentence}\n" for sentence in summary)
        write_text(output / "summary.txt", f"{overview.plain_table(found[0])}\n{opening}")
        metrics = [metric for metric in registry.every() if metric.column in compared.columns or metric.table == "counts"]
        sections = {"Samples": samples_section(models, samples, show)}
        write_pages(output, overview.page_title(models), found, drawn, summary, METHOD, sections, metrics, _UNDER_FIGURES)
    return (output / "summary.txt").read_text(encoding="utf-8")


def write_figures(
    models: list[RunGroup], output: Path, ablation: bool, pairs: list, controls: list[str], note: str | None
) -> list[tuple[Path, str]]:
    """The figures, and what each shows."""
    known = [column for column in registry.qualities() if any(model.has(column) for model in models)]
    qualities = _joined(known).capitalize()
    tradeoffs = figures.plot_tradeoffs(models, output, [] if ablation else pairs, controls, note)
    asked = [
        *((paths, f"{qualities} against {_joined(registry.tradeoffs()[name])}") for name, paths in tradeoffs.items()),
        (figures.plot_ablation(models, output) if ablation else [], "Most responses a prompt, kinds of weights"),
        (
            figures.plot_means(models, _drawn("main", "further"), output, "further", controls, note),
            "Distinct, equal length, good samples",
        ),
        (figures.plot_means(models, _drawn("auxiliary"), output, "auxiliary", controls, note), "Auxiliary metrics"),
    ]
    return [(paths[0], caption) for paths, caption in asked if paths]


def _joined(columns: list[str]) -> str:
    return " and ".join(map(registry.label, columns))


def _drawn(*shown: str) -> list[registry.Metric]:
    """The metrics of these tables that a figure of means shows: those with a better direction that no other figure shows."""
    elsewhere = (REDDIT_REWARD, *registry.DIVERSITIES)
    return [metric for metric in registry.in_table(*shown) if metric.better and metric.column not in elsewhere]


def _model_tables(rows: pd.DataFrame, columns: list[str], slopes: dict[str, float]) -> list[Table]:
    note = _EQUAL_LENGTH.format(slopes=", ".join(f"{name} {slope:+.3f}" for name, slope in slopes.items())) if slopes else ""
    made = []
    for name, title, part in _parts(columns, "models", "Models"):
        cells = [[*_who(row), row["prompts"], *(interval(row, f"{column}_") for column in part)] for _, row in rows.iterrows()]
        header = ["model", "seed", "prompts", *map(registry.heading, part)]
        adjusted = note if set(part) & set(slopes) else ""
        made.append(Table(name, title, adjusted, header, cells, overview.hints(part)))
    return made


def _count_table(rows: pd.DataFrame) -> Table:
    counts = [metric for metric in registry.in_table("counts") if metric.column in rows]
    cells = []
    for _, row in rows.iterrows():
        length = NONE if pd.isna(row.get("words_mean")) else f"{row['words_mean']:.1f}"
        cells.append([*_who(row), *(row[metric.column] for metric in counts), length])
    header = ["model", "seed", *(metric.label for metric in counts), registry.label("words")]
    return Table("counts", "Counts and lengths", "", header, cells, overview.hints([*registry.columns(counts), "words"]))


def _difference_tables(rows: pd.DataFrame) -> list[Table]:
    made = []
    columns = list(dict.fromkeys(rows["metric"])) if len(rows) else []
    for name, title, part in _parts(columns, "differences", "Paired differences"):
        cells = []
        for (label, seed), group in rows.groupby(["difference", "seed"], sort=False, dropna=False):
            by_metric = {row["metric"]: difference(row) for _, row in group.iterrows()}
            cells.append([label, tables.seed_word(seed), *(by_metric.get(metric, NONE) for metric in part)])
        header = ["difference", "seed", *map(registry.heading, part)]
        made.append(
            Table(name, title, "Mean [95%], p; over all seeds t [95%] after it.\n", header, cells, overview.hints(part))
        )
    return made


def _parts(columns: list[str], name: str, title: str) -> list[tuple[str, str, list[str]]]:
    """Main, further, auxiliary and unregistered metrics as tables of their own: more would not fit a page."""
    tables_of = {column: metric.table if (metric := registry.find(column)) else "other" for column in columns}
    titles = {"main": "main metrics", "further": "further metrics", "auxiliary": "auxiliary metrics", "other": "diagnostics"}
    parts = [
        (name if kind == "main" else f"{name}-{kind}", f"{title}: {told}", [c for c in columns if tables_of[c] == kind])
        for kind, told in titles.items()
    ]
    return [part for part in parts if part[2]]


def _who(row: pd.Series) -> list:
    seed = row["seed"]  # a column with a missing seed holds the others as floats
    return [row["model"], NONE if pd.isna(seed) else int(seed) if isinstance(seed, float) else seed]
