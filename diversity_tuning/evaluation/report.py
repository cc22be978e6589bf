"""A report: tables as Markdown and CSV, and the figure."""

from pathlib import Path

import pandas as pd

from diversity_tuning.data.schema import REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.evaluation.csvfiles import write_csv
from diversity_tuning.evaluation.figures import draw_reward_diversity
from diversity_tuning.evaluation.runsets import add_equal_length, align_seeds, group_runs, read_run
from diversity_tuning.evaluation.tables import ALL_SEEDS, difference_table, front_table, metric_columns, model_table
from diversity_tuning.runs import write_text

SHORT = {REDDIT_REWARD: "reward", SEMANTIC_DIVERSITY: "semantic", STYLE_DIVERSITY: "style"}
_METHOD = """\
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


def make_report(folders: list[Path], output: Path, compare: list[str], anchor: str | None, figure: bool = True) -> None:
    """Write report.md, models.csv, differences.csv, fronts.csv and the figure into ``output``."""
    runs = [read_run(folder) for folder in folders]
    align_seeds(runs)
    slopes = add_equal_length(runs)
    models, columns = group_runs(runs), metric_columns(runs)
    table = model_table(models, columns)
    differences = difference_table(models, compare, columns)
    fronts = front_table(models, compare, anchor)
    output.mkdir(parents=True, exist_ok=True)
    for name, rows in (("models", table), ("differences", differences), ("fronts", fronts)):
        if len(rows):
            write_csv(output / f"{name}.csv", rows)
        else:
            (output / f"{name}.csv").unlink(missing_ok=True)
    if figure:
        draw_reward_diversity(models, output)
    sections = [_models_section(table, columns, slopes, figure), _differences_section(differences)]
    sections.append(_fronts_section(fronts, anchor))
    write_text(output / "report.md", "\n".join(section for section in sections if section))


def _models_section(table: pd.DataFrame, columns: list[str], slopes: dict[str, float], figure: bool) -> str:
    header = ["model", "seed", "prompts", *(SHORT.get(name, name) for name in columns), "unfinished", "duplicates"]
    rows = []
    for _, row in table.iterrows():
        cells = [_interval(row, f"{name}_") for name in columns]
        seed = "–" if pd.isna(row["seed"]) else row["seed"]
        counts = [f"{row[name]} of {row['responses']}" for name in ("unfinished", "duplicates")]
        rows.append([row["model"], seed, row["prompts"], *cells, *counts])
    text = f"# Evaluation\n\n{_METHOD}\n## Models\n\n{markdown(header, rows)}"
    if slopes:
        text += "\n" + _EQUAL_LENGTH.format(slopes=", ".join(f"{name} {slope:+.3f}" for name, slope in slopes.items()))
    return text + ("\n![Reward against diversity](reward_diversity.png)\n" if figure else "")


def _differences_section(table: pd.DataFrame) -> str:
    if table.empty:
        return ""
    metrics = list(dict.fromkeys(table["metric"]))
    rows = []
    for (name, seed), group in table.groupby(["difference", "seed"], sort=False):
        cells = {row["metric"]: f"{_interval(row, '', '+')}, {_p(row['p'])}" for _, row in group.iterrows()}
        rows.append([name, _seed(seed), *(cells.get(metric, "–") for metric in metrics)])
    header = ["difference", "seed", *(SHORT.get(metric, metric) for metric in metrics)]
    return f"## Paired differences\n\nMean [95%], p.\n\n{markdown(header, rows)}"


def _fronts_section(table: pd.DataFrame, anchor: str | None) -> str:
    if table.empty:
        return ""
    rows = []
    for _, row in table.iterrows():
        outside = pd.isna(row["mean"])
        found = "outside the range" if outside else _interval(row, "", "+")
        covered = "–" if outside else f"{row['covered']:.0%}"
        label = [row["model"], f"{row['front']} ({row['points']} points)", _seed(row["seed"]), SHORT[row["metric"]]]
        rows.append([*label, f"{row['reward']:.3f}", found, covered])
    header = ["model", "front", "seed", "diversity", "reward", "difference [95%]", "covered"]
    note = _FRONT.format(anchor=f", with {anchor} as a point of every front" if anchor else "")
    return f"## Diversity at equal reward\n\n{note}\n{markdown(header, rows)}"


def _seed(seed: object) -> str:
    return "all seeds" if seed == ALL_SEEDS else str(seed)


def _interval(row: pd.Series, prefix: str, sign: str = "") -> str:
    mean, low, high = (row[f"{prefix}{part}"] for part in ("mean", "low", "high"))
    if pd.isna(mean):
        return "–"
    digits = 1 if abs(mean) >= 100 else 3
    return f"{mean:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def _p(p: float) -> str:
    return "p < .001" if p < 0.001 else f"p = {p:.3f}"


def markdown(header: list[str], rows: list[list]) -> str:
    """A Markdown table; a bar in a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)
