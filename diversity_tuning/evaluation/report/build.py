"""A report: tables as Markdown, CSV and LaTeX, figures as PNG and PDF, and one page of HTML that holds it all."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from diversity_tuning.data.schema import REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.evaluation.csvfiles import write_csv
from diversity_tuning.evaluation.metrics import AUXILIARY
from diversity_tuning.evaluation.rendering import NONE, Table, interval, latex, markdown, p_value
from diversity_tuning.evaluation.report import figures, tables
from diversity_tuning.evaluation.report.html_page import write_page
from diversity_tuning.evaluation.report.runs import EQUAL_LENGTH, RunGroup, add_equal_length, align_seeds, group_runs, read_run
from diversity_tuning.runs import write_text

SHORT = {REDDIT_REWARD: "reward", SEMANTIC_DIVERSITY: "semantic", STYLE_DIVERSITY: "style"}
FURTHER = ("distinct_k", "semantic_equal_length", "style_equal_length", "semantic_diversity_good", "style_diversity_good")
_FIRST = (*SHORT, *EQUAL_LENGTH.values(), "distinct_k")  # the metrics of the first table; the others are in the second
METHOD = """\
Means over prompts with 95% percentile bootstrap intervals (10,000 draws of prompts; over several seeds, prompts and seeds are
both drawn, and with few seeds such an interval is rough). p: two-sided, random sign flips of the paired differences per prompt
(over several seeds, of their mean), so it speaks of these seeds and not of others. No correction for the number of comparisons.
"""
_EQUAL_LENGTH = """\
`…_equal_length`: diversity moved to the runs' common mean length along the slope of diversity on the log of words per response
within runs (regression keeps every prompt; matching would drop most). Slopes: {slopes}.
"""
_FRONT = """\
Diversity of a model minus that of the other method's front at the same reward; the front is linear between neighbouring
strengths{anchor}. 2,000 draws of prompts (and seeds); covered: share of draws in which the reward was within the front's range.
"""
_COUNTS = """\
Failed: asked for and not got. Duplicates: word for word an earlier sample of the prompt. Unfinished: no end token before the
limit. Truncated: longer than the encoder of that diversity reads, so that the rest of the text does not count.
"""


def make_report(
    folders: list[Path],
    output: Path,
    compare: list[str],
    anchor: str | None = None,
    figure: bool = True,
    ablation: bool = False,
    samples: int = 12,
    show: list[str] | None = None,
    further: Sequence[Table] = (),
) -> None:
    """Write report.md, report.html, the tables as .csv and .tex, and the figures as .png and .pdf into ``output``.

    ``ablation``: strengths are the most responses a prompt, drawn as the paper's figure 3. ``samples``: prompts whose samples
    the page shows, of the models in ``show`` (default: one per name). ``further``: tables of
    another source, such as a human study.
    """
    runs = [read_run(folder) for folder in folders]
    align_seeds(runs)
    slopes = add_equal_length(runs)
    models, columns = group_runs(runs), tables.metric_columns(runs)
    pairs = tables.paired_models(models, compare)
    frames = {
        "models": tables.model_table(models, columns),
        "differences": tables.difference_table(pairs, columns),
        "fronts": tables.front_table(models, [] if "all" in compare else pairs, anchor),
    }
    sections = [
        *_model_tables(frames["models"], columns, slopes),
        _count_table(frames["models"]),
        *_difference_tables(frames["differences"]),
        *_front_tables(frames["fronts"], anchor),
        *further,
    ]
    output.mkdir(parents=True, exist_ok=True)
    for name, rows in frames.items():
        _write_or_remove(output / f"{name}.csv", rows)
    for old in output.glob("*.tex"):
        old.unlink()
    for table in sections:
        write_text(output / f"{table.name}.tex", latex(table))
    drawn = write_figures(models, output, ablation) if figure else []
    pictures = "".join(f"![{caption}]({path.name})\n\n" for path, caption in drawn)
    write_text(output / "report.md", "\n".join([f"# Evaluation\n\n{METHOD}\n{pictures}", *map(markdown, sections)]))
    write_page(output / "report.html", METHOD, drawn, sections, models, samples, show)


def write_figures(models: list[RunGroup], output: Path, ablation: bool) -> list[tuple[Path, str]]:
    """The figures, and what each shows."""
    asked = [
        (figures.plot_reward_diversity(models, output), "Reward against diversity"),
        (figures.plot_ablation(models, output) if ablation else [], "Most responses a prompt, kinds of weights"),
        (figures.plot_means(models, list(AUXILIARY), output, "auxiliary"), "Auxiliary metrics"),
        (figures.plot_means(models, list(FURTHER), output, "further"), "Distinct samples, equal length, good samples"),
    ]
    return [(paths[0], caption) for paths, caption in asked if paths]


def _write_or_remove(path: Path, rows: pd.DataFrame) -> None:
    if len(rows):
        write_csv(path, rows)
    else:
        path.unlink(missing_ok=True)


def _model_tables(rows: pd.DataFrame, columns: list[str], slopes: dict[str, float]) -> list[Table]:
    note = _EQUAL_LENGTH.format(slopes=", ".join(f"{name} {slope:+.3f}" for name, slope in slopes.items())) if slopes else ""
    made = []
    for name, title, part in _parts(columns, "models", "Models"):
        cells = [[*_who(row), row["prompts"], *(interval(row, f"{column}_") for column in part)] for _, row in rows.iterrows()]
        made.append(Table(name, title, note if not made else "", ["model", "seed", "prompts", *_short(part)], cells))
    return made


def _count_table(rows: pd.DataFrame) -> Table:
    words = "words_mean" if "words_mean" in rows else None
    header = ["model", "seed", *(name.replace("_for_", ", ").replace("_diversity", "") for name in tables.COUNTS)]
    cells = []
    for _, row in rows.iterrows():
        length = NONE if words is None or pd.isna(row[words]) else f"{row[words]:.1f}"
        cells.append([*_who(row), *(row[name] for name in tables.COUNTS), length])
    return Table("counts", "Counts and lengths", _COUNTS, [*header, "words a response"], cells)


def _difference_tables(rows: pd.DataFrame) -> list[Table]:
    made = []
    for name, title, part in (
        _parts(list(dict.fromkeys(rows["metric"])), "differences", "Paired differences") if len(rows) else ()
    ):
        cells = []
        for (label, seed), group in rows.groupby(["difference", "seed"], sort=False, dropna=False):
            found = {row["metric"]: f"{interval(row, '', '+')}, {p_value(row['p'])}" for _, row in group.iterrows()}
            cells.append([label, _seed(seed), *(found.get(metric, NONE) for metric in part)])
        made.append(Table(name, title, "Mean [95%], p.\n", ["difference", "seed", *_short(part)], cells))
    return made


def _front_tables(rows: pd.DataFrame, anchor: str | None) -> list[Table]:
    cells = []
    for _, row in rows.iterrows():
        outside = pd.isna(row["mean"])
        found = "outside the range" if outside else interval(row, "", "+")
        covered = NONE if outside else f"{row['covered']:.0%}"
        label = [row["model"], f"{row['front']} ({row['points']} points)", _seed(row["seed"]), SHORT[row["metric"]]]
        cells.append([*label, f"{row['reward']:.3f}", found, covered])
    header = ["model", "front", "seed", "diversity", "reward", "difference [95%]", "covered"]
    note = _FRONT.format(anchor=f", with {anchor} as a point of every front" if anchor else "")
    return [Table("fronts", "Diversity at equal reward", note, header, cells)] if cells else []


def _parts(columns: list[str], name: str, title: str) -> list[tuple[str, str, list[str]]]:
    """The first metrics and the others, as two tables: more would not fit a page."""
    first = [column for column in columns if column in _FIRST]
    others = [column for column in columns if column not in _FIRST]
    both = [(name, title, first), (f"{name}-further", f"{title}: further metrics", others)]
    return [part for part in both if part[2]]


def _short(columns: list[str]) -> list[str]:
    return [SHORT.get(column, column) for column in columns]


def _who(row: pd.Series) -> list:
    return [row["model"], NONE if pd.isna(row["seed"]) else _whole(row["seed"])]


def _whole(seed: object) -> object:
    return int(seed) if isinstance(seed, float) else seed  # a column with a missing seed holds the others as floats


def _seed(seed: object) -> str:
    return "all seeds" if seed == tables.ALL_SEEDS else NONE if pd.isna(seed) else str(seed)
