"""A table of scored runs that fits a terminal of 100 columns."""

from pathlib import Path

import pandas as pd

from diversity_tuning.data.schema import REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.evaluation.rendering import NONE
from diversity_tuning.evaluation.report.runs import group_runs, read_run
from diversity_tuning.evaluation.report.tables import model_table

WIDTH = 100
_NAME = 22  # most letters of a model's name
# Column of prompts.csv -> its head, digits, and how to read it.
_COLUMNS = {
    REDDIT_REWARD: ("reward", 2, "reward: of the reward model, higher is better"),
    "words": ("words", 0, "words: of a response"),
    "finished": ("finished", 0, "finished: share of the responses that ended before --max_new_tokens"),
    SEMANTIC_DIVERSITY: ("semantic", 2, "semantic, style: mean cosine distance among a prompt's responses, in [0, 2]"),
    STYLE_DIVERSITY: ("style", 2, ""),
    "ngram_diversity_score": ("n-grams", 2, "n-grams: distinct / all n-grams, summed over n = 1 to 4, higher is more varied"),
    "compression_ratio": ("compression", 2, "compression: bytes before / after gzip, higher is more repetitive"),
}  # fmt: skip


def terminal_table(folders: list[Path]) -> str:
    """One line per run: quality (reward, words, finished), then diversity, each mean over prompts ± half its 95% interval.

    What no run was measured by is left out. No line is longer than :data:`WIDTH`.
    """
    models = group_runs([read_run(folder) for folder in folders])
    found = model_table(models, list(_COLUMNS))
    columns = [name for name in _COLUMNS if found[f"{name}_mean"].notna().any()]
    head = ["model", *(_COLUMNS[name][0] for name in columns)]
    lines = [head, *([_short(row["model"]), *(_cell(row, name) for name in columns)] for _, row in found.iterrows())]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    table = ["  ".join(_aligned(line, widths)).rstrip() for line in lines]
    notes = [note for name in columns if (note := _COLUMNS[name][2])]
    return "\n".join([table[0], "-" * len(table[0]), *table[1:], "", "mean over prompts ± half the 95% interval", *notes])


def _aligned(line: list[str], widths: list[int]) -> list[str]:
    return [
        cell.ljust(width) if place == 0 else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]


def _cell(row: pd.Series, column: str) -> str:
    mean, low, high = (row[f"{column}_{part}"] for part in ("mean", "low", "high"))
    if pd.isna(mean):
        return NONE
    if column == "finished":
        return f"{mean:.0%}"
    digits = _COLUMNS[column][1]
    return f"{mean:.{digits}f} ±{(high - low) / 2:.{digits}f}"


def _short(name: str) -> str:
    """A long name without its middle."""
    return name if len(name) <= _NAME else f"{name[: _NAME // 2 - 1]}…{name[-_NAME // 2 :]}"
