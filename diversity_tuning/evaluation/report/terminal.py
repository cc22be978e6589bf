"""A table of scored runs that fits a terminal of 100 columns."""

import textwrap
from pathlib import Path

import pandas as pd

from diversity_tuning.data.schema import REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.rendering import NONE, Table
from diversity_tuning.evaluation.report.overview import plain_table
from diversity_tuning.evaluation.report.runs import group_runs, read_run
from diversity_tuning.evaluation.report.tables import model_table

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
}


def terminal_table(folders: list[Path]) -> str:
    """One line per run: quality (reward, words, finished), then diversity, each mean over prompts ± half its 95% interval.

    What no run was measured by is left out; definitions of the others follow. No line is longer than :data:`WIDTH`.
    """
    models = group_runs([read_run(folder) for folder in folders])
    means = model_table(models, list(_COLUMNS))
    columns = [name for name in _COLUMNS if means[f"{name}_mean"].notna().any()]
    rows = [[_short(row["model"]), *(_cell(row, name) for name in columns)] for _, row in means.iterrows()]
    table = plain_table(Table("quick look", "", "", ["model", *map(_head, columns)], rows))
    notes = ["Means over prompts ± half the 95% interval; ↑: higher is better, ↓: lower is better.", *map(_note, columns)]
    return "\n".join([table, *(textwrap.fill(note, WIDTH, subsequent_indent="  ") for note in notes)])


def _head(column: str) -> str:
    metric = registry.find(column)
    return f"{_COLUMNS[column][0]} {metric.arrow if metric else ''}".rstrip()


def _note(column: str) -> str:
    metric = registry.find(column)
    return (
        f"{_COLUMNS[column][0]}: {metric.definition if metric else 'Share of responses that ended before the limit of tokens.'}"
    )


def _cell(row: pd.Series, column: str) -> str:
    mean, low, high = (row[f"{column}_{part}"] for part in ("mean", "low", "high"))
    if pd.isna(mean):
        return NONE
    if column == _FINISHED:
        return f"{mean:.0%}"
    digits = _COLUMNS[column][1]
    return f"{mean:.{digits}f} ±{(high - low) / 2:.{digits}f}"


def _short(name: str) -> str:
    """A long name without its middle."""
    return name if len(name) <= _NAME else f"{name[: _NAME // 2 - 1]}…{name[-_NAME // 2 :]}"
