"""Weighted models against the concave hull of an unweighted method's models, at equal quality, and the tables of it."""

import pandas as pd

from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.rendering import NONE, Table, interval, t_words
from diversity_tuning.evaluation.report.runs import RunGroup, shared_prompts
from diversity_tuning.evaluation.report.tables import align, matching, seed_word
from diversity_tuning.evaluation.statistics import overall_mean
from diversity_tuning.evaluation.tradeoff import difference_at_equal_quality

_NOTE = """\
Diversity of a model minus the upper concave hull of the other method's models{anchor} at the same {quality}: what drawing one
of two of them at random for each prompt reaches. 2,000 draws of prompts (and seeds), the hull anew in each; a share in
brackets: of the draws in which the {quality} was within the hull's range, where not in all. t: Student's interval of the seeds'
own differences, of those seeds that lie within it. No correction for the number of comparisons.
"""
OUTSIDE = "outside the range"
OUTSIDE_VALUES = {**dict.fromkeys(("mean", "low", "high")), "covered": 0.0, "t_low": None, "t_high": None, "t_seeds": 0}


def front_table(
    models: list[RunGroup], pairs: list[tuple[RunGroup, RunGroup]], anchor: str | None = None, together: bool = False
) -> pd.DataFrame:
    """Each weighted model against the hull of the unweighted method's models, at equal reward and every quality that all have.

    See :func:`diversity_tuning.evaluation.tradeoff.difference_at_equal_quality`. A row per model, seed, quality and measure of
    diversity; ``together``: over all seeds alone where there are several.

    The pairs give the methods; a method whose models have no strength (the data's own responses) has none. ``anchor``
    names a model, such as sft, that counts as a point of every hull. ``points`` counts the models.
    """
    anchors = matching(models, anchor, f"anchor {anchor}") if anchor else []
    methods = dict.fromkeys((one.method, other.method) for one, other in pairs)
    rows = []
    for weighted, unweighted in methods:
        own = [model for model in models if model.method == unweighted and model.strength is not None]
        points = [*own, *(model for model in anchors if model not in own)]
        targets = [model for model in models if model.method == weighted and model not in points]
        for target in targets if own and len(points) > 1 else []:
            rows += _rows(target, points, unweighted, together)
    return pd.DataFrame(rows)


def _rows(target: RunGroup, points: list[RunGroup], unweighted: str, together: bool) -> list[dict]:
    rows = []
    cuts = align([target, *points])
    for seed, (one, *front) in cuts[-1:] if together else cuts:
        prompts = shared_prompts([one, *front])
        nested = isinstance(prompts, list)
        known = {
            column: [model.matrix(column, prompts) for model in (one, *front)]
            for column in (*registry.qualities(), *registry.diversities())
            if all(model.has(column) for model in (one, *front))
        }
        for quality in (column for column in registry.qualities() if column in known):
            for column in (column for column in registry.diversities() if column in known):
                pairs = list(zip(known[quality], known[column], strict=True))
                difference = difference_at_equal_quality(pairs[0], pairs[1:], nested=nested) or OUTSIDE_VALUES
                label = {"model": target.label, "front": unweighted, "points": len(front), "seed": seed, "metric": column}
                rows.append({**label, "quality": quality, "at": overall_mean(pairs[0][0], nested), **difference})
    return rows


def curve_tables(rows: pd.DataFrame, anchor: str | None, name: str = "fronts") -> list[Table]:
    """One table per quality, a row per model and seed, a column per measure of diversity."""
    made = []
    for quality in dict.fromkeys(rows["quality"]) if len(rows) else ():
        own = rows[rows["quality"] == quality]
        columns = list(dict.fromkeys(own["metric"]))
        cells = []
        for (model, front, points, seed), group in own.groupby(["model", "front", "points", "seed"], sort=False):
            found = {row["metric"]: _cell(row) for _, row in group.iterrows()}
            label = [model, f"{front} ({points} points)", seed_word(seed), f"{group['at'].iloc[0]:.3f}"]
            cells.append([*label, *(found.get(column, NONE) for column in columns)])
        word = registry.label(quality)
        note = _NOTE.format(quality=word, anchor=f" and {anchor}" if anchor else "")
        header = ["model", "hull of", "seed", registry.short(quality), *map(registry.heading, columns)]
        suffix = "" if quality == registry.qualities()[0] else f"-{quality}"
        made.append(Table(f"{name}{suffix}", f"{_title(name)} at equal {word}", note, header, cells))
    return made


def _title(name: str) -> str:
    return "Diversity" if name == "fronts" else "Controls: diversity"


def _cell(row: pd.Series) -> str:
    if pd.isna(row["mean"]):
        return OUTSIDE
    return interval(row, "", "+") + (f" ({row['covered']:.0%})" if row["covered"] < 0.995 else "") + t_words(row)
