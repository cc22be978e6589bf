"""The opening of a report: the main metrics of every model in one table, what they say in words, and a table for a terminal."""

import textwrap
from pathlib import Path

import pandas as pd

from diversity_tuning.data.schema import REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.deviation_types import TYPES
from diversity_tuning.embeddings.encoder import cut_texts
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.diagnostics import REFERENCE
from diversity_tuning.evaluation.rendering import NONE, Table, difference, interval, p_value, t_words
from diversity_tuning.evaluation.report.runs import RunGroup, group_runs, number_of, read_run
from diversity_tuning.evaluation.report.styles import number_of_seeds
from diversity_tuning.evaluation.report.tables import ALL_SEEDS, model_table

_MOST_PAIRS = 8  # compared in words; the tables have all
WIDTH = 100
_NAME = 18  # most letters of a model's name
_FINISHED = "finished"
# Column of prompts.csv -> its head here and its digits: quality, then diversity.
_COLUMNS = {
    REDDIT_REWARD: ("reward", 2),
    "words": ("words", 0),
    _FINISHED: ("finished", 0),
    SEMANTIC_DIVERSITY: ("semantic", 2),
    STYLE_DIVERSITY: ("style", 2),
    "ngram_diversity_score": ("n-grams", 2),
    "compression_ratio": ("gzip", 2),
    registry.LOG_PROB: ("logp", 2),
}
_MEAN_ONLY = ("compression_ratio", registry.LOG_PROB)  # so that all fit into WIDTH


def page_title(models: list[RunGroup]) -> str:
    """What the report is about."""
    names = list(dict.fromkeys(model.runs[0].name for model in models))
    listed = f"{', '.join(names[:7])} and {len(names) - 7} more" if len(names) > 8 else _listed(names)
    return f"Quality and diversity of {listed}"


def overview_table(models: list[RunGroup]) -> Table:
    """One row per model, all seeds together, with the main metrics that any model has."""
    columns = registry.columns(registry.in_table("main"))
    values = {column: [model.mean(column) for model in models] for column in columns}
    known = [column for column in columns if any(not pd.isna(value["mean"]) for value in values[column])]
    rows = [[model.label, *(interval(values[column][i]) for column in known)] for i, model in enumerate(models)]
    note = "Means over prompts, 95% bootstrap intervals in brackets; ↑: higher is better, ↓: lower is better."
    return Table("overview", "Overview", note, ["model", *map(registry.heading, known)], rows, hints(known))


def hints(columns: list[str]) -> dict[str, tuple[str, str]]:
    """Heading -> definition and id in the glossary, for the columns that are registered."""
    known = [metric for metric in map(registry.find, columns) if metric]
    return {metric.heading: (metric.definition, metric.anchor) for metric in known}


def plain_table(table: Table) -> str:
    """The table as fixed-width text for a terminal: with six models and four metrics at most 100 columns."""
    cells = [[str(cell).replace("[0.", "[.").replace(" 0.", " .") for cell in row] for row in (table.header, *table.rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]]) + "\n"


def sentences(models: list[RunGroup], differences: pd.DataFrame, warning: str | None = None) -> list[str]:
    """What the numbers say: size of the evaluation, best model by each main metric, and the differences asked for."""
    told = [_size(models), *([f"Warning: {warning}."] if warning else []), *_cut(models)]
    trained = [model for model in models if model.method != REFERENCE] or models
    best = [text for metric in registry.in_table("main") if (text := _best(metric, trained))]
    if len(trained) > 1 and best:
        told.append(f"Best of the {len(trained)} models by {'; by '.join(best)}.")
    if len(differences):
        pairs = list(dict.fromkeys(differences["difference"]))
        told += [_difference(differences[differences["difference"] == pair]) for pair in pairs[:_MOST_PAIRS]]
        number = len(differences.drop_duplicates(["difference", "metric"]))
        told.append(f"In the tables: {number} differences of {len(pairs)} pairs, without a correction for their number.")
    return told


def _size(models: list[RunGroup]) -> str:
    seeds = {run.seed for model in models for run in model.runs if run.seed is not None}
    prompts = sorted({number_of(model.shared_prompts()) for model in models})
    among = str(prompts[0]) if len(prompts) == 1 else f"{prompts[0]} to {prompts[-1]}"
    responses = sum(run.counts.get("responses", 0) for model in models for run in model.runs)
    plural = "" if len(models) == 1 else "s"
    return f"{len(models)} model{plural}, {number_of_seeds(len(seeds) or 1)}, {among} prompts a model, {responses:,} responses."


def _cut(models: list[RunGroup]) -> list[str]:
    """Which encoders did not read all of the responses, and how many."""
    counts = [run.counts for model in models for run in model.runs]
    responses, told = sum(one.get("responses", 0) for one in counts), []
    for name, column in zip(TYPES, registry.TRUNCATED.values(), strict=True):
        if number := sum(one.get(column, 0) for one in counts):
            told.append(f"Warning: {cut_texts(number, responses, f'the {name} encoder')}.")
    return told


def _best(metric: registry.Metric, models: list[RunGroup]) -> str | None:
    means = {model.label: model.mean(metric.column)["mean"] for model in models}
    means = {label: mean for label, mean in means.items() if not pd.isna(mean)}
    if not means or metric.better is None:
        return None
    label = (max if metric.better == "higher" else min)(means, key=means.__getitem__)
    return f"{metric.label}, {label} ({means[label]:.3f})"


def _difference(rows: pd.DataFrame) -> str:
    """Of one pair, over all seeds where there are several: which main metrics are higher, lower, or not told apart."""
    pooled = rows[rows["seed"] == ALL_SEEDS]
    rows = pooled if len(pooled) else rows.drop_duplicates("metric")  # the first seed's
    main = [row for metric in registry.in_table("main") for _, row in rows[rows["metric"] == metric.column].iterrows()]
    clear = [_clear(row) for row in main if row["low"] > 0 or row["high"] < 0]
    unclear = [
        f"{registry.label(row['metric'])} ({difference(row)})" for row in main if not (row["low"] > 0 or row["high"] < 0)
    ]
    parts = [*clear, *([f"no clear difference in {_listed(unclear)}"] if unclear else [])]
    one, other = rows["difference"].iloc[0].split(" − ")
    return f"{one} compared with {other}: {'; '.join(parts)}."


def _clear(row: pd.Series) -> str:
    """``reward lower by 0.050 [0.038, 0.062] (p < .001)``; over seeds t, which alone makes it more than a direction."""
    sign = 1 if row["mean"] > 0 else -1
    low, high = sorted((sign * row["low"], sign * row["high"]))
    size = interval({"mean": abs(row["mean"]), "low": low, "high": high})
    said = p_value(row["p"]) + t_words(row) + (", a direction: t holds 0" if row["t_low"] * row["t_high"] <= 0 else "")
    return f"{registry.label(row['metric'])} {'higher' if sign > 0 else 'lower'} by {size} ({said})"


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def terminal_table(folders: list[Path]) -> str:
    """One line per run: quality (reward, words, finished), then diversity, each mean over prompts ± half its 95% interval.

    What no run was measured by is left out; definitions of the others follow. No line is longer than :data:`WIDTH`.
    """
    models = group_runs([read_run(folder) for folder in folders])
    means = model_table(models, list(_COLUMNS))
    columns = {name: registry.find(name) for name in _COLUMNS if means[f"{name}_mean"].notna().any()}
    heads = [f"{_COLUMNS[name][0]} {metric.arrow if metric else ''}".rstrip() for name, metric in columns.items()]
    names = [one if len(one) <= _NAME else f"{one[: _NAME // 2 - 1]}…{one[-_NAME // 2 :]}" for one in means["model"]]
    rows = [[called, *(_cell(row, name) for name in columns)] for called, (_, row) in zip(names, means.iterrows(), strict=True)]
    table = plain_table(Table("quick look", "", "", ["model", *heads], rows))
    notes = ["Means over prompts ± half the 95% interval; ↑: higher is better, ↓: lower is better."]
    finished = "Share of responses that ended before the limit of tokens."
    notes += [f"{_COLUMNS[name][0]}: {metric.definition if metric else finished}" for name, metric in columns.items()]
    return "\n".join([table, *(textwrap.fill(note, WIDTH, subsequent_indent="  ") for note in notes)])


def _cell(row: pd.Series, column: str) -> str:
    mean, low, high = (row[f"{column}_{part}"] for part in ("mean", "low", "high"))
    if pd.isna(mean):
        return NONE
    if column == _FINISHED:
        return f"{mean:.0%}"
    if column in _MEAN_ONLY:
        return f"{mean:.2f}" if abs(mean) < 10 else f"{mean:.1f}"
    digits = _COLUMNS[column][1]
    return f"{mean:.{digits}f} ±{(high - low) / 2:.{digits}f}"
