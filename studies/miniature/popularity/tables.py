"""The tables of the sweep: differences and models at every popularity, and the correlations they stand against."""

import numpy as np
import pandas as pd

from diversity_tuning.data.schema import PROMPT_ID, REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.rendering import NONE, Table, interval, t_words
from diversity_tuning.evaluation.report.tables import ALL_SEEDS, difference_table, model_table, paired_models, seed_word
from studies.miniature.popularity.points import Mark, Point
from studies.miniature.recognise import REFERENCES

# Plots, voices and craft first: embeddings move apart where text is garbled, too.
COLUMNS = ("distinct_direction", "distinct_voice", "craft", SEMANTIC_DIVERSITY, STYLE_DIVERSITY, REDDIT_REWARD)
GAIN, NARROWING = "ddpo-both − dpo", "dpo − sft"
_PAIRS = ("ddpo-both:dpo", "dpo:sft", "ddpo-both:sft")


def differences(points: list[Point]) -> pd.DataFrame:
    """A row per popularity, difference, seed (and all) and metric, with the correlation of that popularity and seed."""
    parts = []
    for point in points:
        rows = difference_table(paired_models(point.models, list(_PAIRS)), list(COLUMNS))
        found = {seed: point.correlation(None if seed == ALL_SEEDS else seed) for seed in rows["seed"].unique()}
        for part in ("mean", "low", "high"):
            rows[f"correlation_{part}"] = [found[seed][part] for seed in rows["seed"]]
        rows.insert(0, "popularity", point.popularity)
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def overall(rows: pd.DataFrame, by: str | list[str] = "popularity") -> pd.DataFrame:
    """The rows over all seeds; of a group of ``by`` with one seed that seed's."""
    seeds = rows.groupby(by)["seed"].transform("nunique")
    return rows[(rows["seed"] == ALL_SEEDS) | (seeds == 1)]


def models(points: list[Point]) -> pd.DataFrame:
    """A row per popularity, model, seed (and all): per metric mean, low, high."""
    parts = []
    for point in points:
        rows = model_table(point.models, list(COLUMNS))
        rows.insert(0, "popularity", point.popularity)
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def prompts(points: list[Point]) -> pd.DataFrame:
    """Every value per popularity, model, seed and prompt: what all intervals of the differences come from; no texts."""
    parts = []
    for point in points:
        for model in point.models:
            for run in model.runs:
                rows = run.prompts.reindex(columns=[PROMPT_ID, *COLUMNS]).reset_index(drop=True)
                labels = {"popularity": point.popularity, "model": model.label, "seed": run.seed}
                parts.append(pd.concat([pd.DataFrame(labels, index=rows.index), rows], axis=1))
    return pd.concat(parts, ignore_index=True)


def correlations(points: list[Point]) -> pd.DataFrame:
    """Spearman's rho of every training prompt."""
    parts = [
        pd.DataFrame({"popularity": point.popularity, "seed": seed, "prompt": np.arange(len(values)), "rho": values})
        for point in points
        for seed, values in point.rho.items()
    ]
    return pd.concat(parts, ignore_index=True)


def difference_tables(rows: pd.DataFrame) -> list[Table]:
    """One table per difference, over all seeds, and one of every seed for the main one."""
    titles = {
        GAIN: "DDPO − DPO: what weights gain and cost",
        NARROWING: "DPO − SFT: what unweighted training gains and costs",
        "ddpo-both − sft": "DDPO − SFT",
    }
    whole = overall(rows)
    made = []
    for number, (label, title) in enumerate(titles.items(), start=1):
        cells = [_difference_row(group) for _, group in whole[whole["difference"] == label].groupby("popularity")]
        made.append(
            _table(
                f"popularity-{number}",
                title,
                "Mean [95%]; t: over seeds; δ and votes: Spearman within training prompts.\n",
                cells,
            )
        )
    by_seed = rows[(rows["difference"] == GAIN) & (rows["seed"] != ALL_SEEDS)]
    cells = [
        [row[0], seed_word(seed), *row[1:]]
        for (_, seed), group in by_seed.groupby(["popularity", "seed"])
        for row in [_difference_row(group)]
    ]
    made.append(_table("popularity-seeds", "DDPO − DPO, seed by seed", "", cells, ["seed"]))
    return made


def _difference_row(group: pd.DataFrame) -> list[str]:
    by_metric = {row["metric"]: interval(row, "", "+") + t_words(row) for _, row in group.iterrows()}
    return [
        f"{group.iloc[0]['popularity']:g}",
        interval(group.iloc[0], "correlation_", "+"),
        *(by_metric.get(column, NONE) for column in COLUMNS),
    ]


def _table(name: str, title: str, note: str, cells: list, more: list[str] = ()) -> Table:
    return Table(name, title, note, ["popularity", *more, "δ and votes", *map(registry.heading, COLUMNS)], cells)


def model_rows(rows: pd.DataFrame) -> Table:
    """Every model at every popularity, over all seeds."""
    whole = overall(rows, ["popularity", "model"])
    names = dict.fromkeys(("gold", "references"), REFERENCES)  # of runs that do not say what they are of
    cells = [
        [f"{row['popularity']:g}", names.get(row["model"], row["model"]), *(interval(row, f"{column}_") for column in COLUMNS)]
        for _, row in whole.iterrows()
    ]
    note = "Rewards of two popularities are of two reward models, each fitted to its own votes.\n"
    return Table("popularity-models", "Models", note, ["popularity", "model", *map(registry.heading, COLUMNS)], cells)


def mark_table(marks: list[Mark]) -> Table:
    """The correlations of real data sets."""
    cells = [[mark.name, interval(vars(mark), "", "+"), str(mark.prompts), str(mark.responses)] for mark in marks]
    header = ["data", "δ and votes", "prompts", "responses"]
    return Table("popularity-marks", "The same correlation in real votes", "Mean [95%] over prompts.\n", header, cells)
