"""The tables of the --rlaif report: every policy, paired differences, and diversity at equal reward and at equal craft."""

import pandas as pd

from diversity_tuning.data.schema import REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.evaluation.rendering import NONE, Table, difference, interval, t_words
from diversity_tuning.evaluation.report.comparison import OUTSIDE_VALUES
from diversity_tuning.evaluation.report.runs import RunGroup, shared_prompts
from diversity_tuning.evaluation.report.tables import ALL_SEEDS, align, matching
from diversity_tuning.evaluation.statistics import overall_mean
from diversity_tuning.evaluation.tradeoff import difference_at_equal_quality
from studies.miniature.rlaif.measures import MEASURES
from studies.report import titled

QUALITIES = {REDDIT_REWARD: "reward", "craft": "craft"}
DIVERSITIES = {
    SEMANTIC_DIVERSITY: "semantic", STYLE_DIVERSITY: "style", "distinct_direction": "plots", "distinct_voice": "voices",
}  # fmt: skip
SHOWN = {**QUALITIES, **DIVERSITIES, **{name: name.replace("_", " ") for name in MEASURES}}
_ANCHOR = "sft"  # step 0 of every training: a point of every curve


def equal_quality(models: list[RunGroup], pairs: list[str]) -> pd.DataFrame:
    """Diversity of the first method's models minus the hull of the second's, at equal reward and at equal craft.

    A row per model, quality, diversity and seed, in the columns of
    :func:`~diversity_tuning.evaluation.tradeoff.difference_at_equal_quality`; no ``mean`` outside the hull's range. The hull:
    of the second method's checkpoints and SFT, their start. Checkpoints that were not sampled in all seeds of a target are no
    point of it.
    """
    anchors = matching(models, _ANCHOR, f"anchor {_ANCHOR}")
    rows = []
    for one, other in (pair.split(":") for pair in pairs):
        targets = [model for model in models if model.method == one]
        curve = [*anchors, *(model for model in models if model.method == other)]
        for target in targets:
            seeds = {run.seed for run in target.runs}
            there = [model for model in curve if seeds <= {run.seed for run in model.runs}]
            for seed, (cut, *points) in align([target, *there]) if len(there) > 1 else []:
                rows += _differences(cut, points, {"model": target.label, "curve": other, "seed": seed})
    return pd.DataFrame(rows)


def _differences(target: RunGroup, points: list[RunGroup], label: dict) -> list[dict]:
    prompts = shared_prompts([target, *points])
    nested = isinstance(prompts, list)
    rows = []
    for quality in QUALITIES:
        for diversity in DIVERSITIES:
            own, *others = [(model.matrix(quality, prompts), model.matrix(diversity, prompts)) for model in (target, *points)]
            found = difference_at_equal_quality(own, others, nested=nested) or OUTSIDE_VALUES
            names = {"quality": QUALITIES[quality], "at": overall_mean(own[0], nested), "diversity": DIVERSITIES[diversity]}
            rows.append({**label, **names, "points": len(others), **found})
    return rows


def main_table(rows: pd.DataFrame, openings: dict[str, float]) -> Table:
    """Every policy, over all seeds where there are several. ``openings``: over all responses of a run, mean over seeds."""
    header = ["policy", *SHOWN.values(), "openings, all"]
    cells = [
        [row["model"], *(interval(row, f"{name}_") for name in SHOWN), f"{openings[row['model']]:.3f}"]
        for _, row in _pooled(rows, "model").iterrows()
    ]
    return titled(__file__, "policies", header, cells)


def seed_table(rows: pd.DataFrame) -> Table | None:
    """The means of each seed, where there are several."""
    rows = rows[rows["seed"] != ALL_SEEDS]
    if rows["seed"].nunique() < 2:
        return None
    cells = [[row["model"], f"{row['seed']}", *(f"{row[f'{name}_mean']:.3f}" for name in SHOWN)] for _, row in rows.iterrows()]
    return titled(__file__, "seeds", ["policy", "seed", *SHOWN.values()], cells)


def difference_rows(rows: pd.DataFrame) -> Table | None:
    """Paired differences, over all seeds where there are several."""
    if not len(rows):
        return None
    names = [name for name in SHOWN if name in set(rows["metric"])]
    cells = []
    for label, group in _pooled(rows, "difference").groupby("difference", sort=False):
        by_metric = {row["metric"]: difference(row) for _, row in group.iterrows()}
        cells.append([label, *(by_metric.get(name, NONE) for name in names)])
    return titled(__file__, "differences", ["difference", *(SHOWN[name] for name in names)], cells)


def equal_table(rows: pd.DataFrame) -> Table | None:
    """Differences at equal quality, over all seeds where there are several; one column per diversity."""
    if not len(rows):
        return None
    cells = []
    for key, group in _pooled(rows, "model", "curve").groupby(["model", "curve", "quality", "at"], sort=False):
        model, curve, quality, at = key
        if group["mean"].isna().all():
            continue
        found = {row["diversity"]: row for _, row in group.iterrows()}
        texts = [
            "outside the range" if pd.isna(row["mean"]) else interval(row, "", "+") + t_words(row) for row in found.values()
        ]
        covered = min(row["covered"] for row in found.values())
        points = "–".join(f"{number}" for number in sorted({row["points"] for row in found.values()}))
        cells.append([model, f"{curve} ({points} points)", quality, f"{at:.3f}", *texts, f"{covered:.0%}"])
    header = ["policy", "hull of", "at equal", "value", *DIVERSITIES.values(), "covered"]
    return titled(__file__, "equal", header, cells)


def _pooled(rows: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """Rows over all seeds; of what has one seed only, that one's."""
    pooled = rows["seed"] == ALL_SEEDS
    return rows[pooled | ~pooled.groupby([rows[key] for key in keys]).transform("any")]
