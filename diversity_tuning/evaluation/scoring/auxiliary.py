"""The auxiliary metrics of a finished run: compression, homogenization and n-gram diversity of each prompt's responses."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from diversity_tuning.data.schema import PROMPT_ID, RESPONSE
from diversity_tuning.evaluation import metrics
from diversity_tuning.evaluation.csvfiles import read_csv, write_csv
from diversity_tuning.evaluation.scoring.summary import DRAWN, METRICS, PROMPTS, SCORES, means, write_metrics

COLUMNS = list(metrics.AUXILIARY)


def auxiliary_metrics(rows: pd.DataFrame, variant: str = "whole", count: int = 0) -> pd.DataFrame:
    """One row per prompt: the three metrics of its responses, taken in the order of the rows.

    They grow or fall with the number of responses, so of human responses only the drawn ones count, where that is known, and
    prompts with fewer responses than ``count`` get NaN.
    """
    rows = rows[rows[DRAWN] == 1] if DRAWN in rows else rows
    table = []
    groups = rows.groupby(PROMPT_ID, sort=True)[RESPONSE]
    for prompt_id, texts in tqdm(groups, desc="auxiliary metrics", unit="prompt", leave=False):
        responses = list(texts)
        if len(responses) < count:
            table.append({PROMPT_ID: prompt_id, **dict.fromkeys(COLUMNS, np.nan)})
            continue
        values = (
            metrics.compression_ratio(responses),
            metrics.homogenization_score(responses, variant),
            metrics.ngram_diversity_score(responses),
        )
        table.append({PROMPT_ID: prompt_id, **dict(zip(COLUMNS, values, strict=True))})
    return pd.DataFrame(table)


def add_to_run(folder: Path, variant: str) -> None:
    """Add the metrics to a run folder's prompts.csv and metrics.json."""
    rows = read_csv(folder / SCORES, [PROMPT_ID, RESPONSE])
    prompts = read_csv(folder / PROMPTS, [PROMPT_ID])
    content = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    found = auxiliary_metrics(rows, variant, content.get("draw") or content.get("samples_per_prompt") or 0)
    prompts = prompts.drop(columns=COLUMNS, errors="ignore").merge(found, on=PROMPT_ID, how="left")
    content["means"].update(means(prompts[[PROMPT_ID, *COLUMNS]]))
    content["metrics_variant"] = variant
    write_csv(folder / PROMPTS, prompts)
    write_metrics(folder, content)
    report(folder, content["means"])


def add_to_file(path: Path, variant: str) -> None:
    """For a published CSV of scores: write the metrics per prompt beside it, as ``NAME.auxiliary.csv``."""
    table = auxiliary_metrics(read_csv(path, [PROMPT_ID, RESPONSE]), variant)
    beside = path.with_name(f"{path.stem}.auxiliary.csv")
    write_csv(beside, table)
    report(beside, means(table))


def report(where: Path, intervals: dict) -> None:
    """One line for people."""
    print(f"{where}: " + ", ".join(f"{name} {intervals[name]['mean']:.3f}" for name in COLUMNS), flush=True)
