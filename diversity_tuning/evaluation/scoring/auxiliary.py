"""Metrics of a scored run that are functions of each prompt's responses, such as their compression ratio."""

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from diversity_tuning.data.schema import PROMPT_ID, RESPONSE
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.csvfiles import read_csv, write_csv
from diversity_tuning.evaluation.files import METRICS, PROMPTS, SCORES, read_metrics
from diversity_tuning.evaluation.scoring.summary import DRAWN, means, nan_to_none
from diversity_tuning.runs import write_json


def auxiliary_metrics(rows: pd.DataFrame, variant: str = "whole", count: int = 0) -> pd.DataFrame:
    """One row per prompt: every metric of the registry that has a function, of its responses in the order of the rows.

    Such metrics grow or fall with the number of responses, so of the data's own only the drawn ones count, where that is
    known, and prompts with fewer responses than ``count`` get NaN.
    ``variant``: of :data:`~diversity_tuning.evaluation.metrics.VARIANTS`.
    """
    rows = rows[rows[DRAWN] == 1] if DRAWN in rows else rows
    chosen = registry.computed()
    functions = {m.column: getattr(m, variant, None) or m.function for m in chosen}
    table = []
    groups = rows.groupby(PROMPT_ID, sort=True)[RESPONSE]
    for prompt_id, texts in tqdm(groups, desc="auxiliary metrics", unit="prompt", leave=False):
        responses = list(texts)
        enough = len(responses) >= count
        values = {column: function(responses) if enough else np.nan for column, function in functions.items()}
        table.append({PROMPT_ID: prompt_id, **values})
    return pd.DataFrame(table)


def add_to_run(folder: Path, variant: str) -> None:
    """Add the metrics to a run folder's prompts.csv and metrics.json."""
    rows = read_csv(folder / SCORES, [PROMPT_ID, RESPONSE])
    prompts = read_csv(folder / PROMPTS, [PROMPT_ID])
    content = read_metrics(folder)
    table = auxiliary_metrics(rows, variant, content.get("draw") or content.get("samples_per_prompt") or 0)
    columns = registry.columns(registry.computed())
    prompts = prompts.drop(columns=columns, errors="ignore").merge(table, on=PROMPT_ID, how="left")
    content["means"].update(means(prompts[[PROMPT_ID, *columns]]))
    content["metrics_variant"] = variant
    write_csv(folder / PROMPTS, prompts)
    write_json(folder / METRICS, nan_to_none(content))
    report(folder, content["means"])


def add_to_file(path: Path, variant: str) -> None:
    """For a published CSV of scores: write the metrics per prompt beside it, as ``NAME.auxiliary.csv``."""
    table = auxiliary_metrics(read_csv(path, [PROMPT_ID, RESPONSE]), variant)
    beside = path.with_name(f"{path.stem}.auxiliary.csv")
    write_csv(beside, table)
    report(beside, means(table))


def report(where: Path, intervals: dict) -> None:
    """Print the means in one line."""
    names = registry.columns(registry.computed())
    print(f"{where}: " + ", ".join(f"{name} {intervals[name]['mean']:.3f}" for name in names), flush=True)
