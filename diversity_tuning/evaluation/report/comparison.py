"""What a report compares: pairs of models, controls, and diversity at equal quality; and the tables of it."""

from collections.abc import Sequence

import pandas as pd

from diversity_tuning.data.schema import REDDIT_REWARD
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation import diagnostics, registry
from diversity_tuning.evaluation.rendering import NONE, Table, interval, t_words
from diversity_tuning.evaluation.report import tables
from diversity_tuning.evaluation.report.runs import Run, RunGroup, add_equal_length, check_seeds, group_runs, shared_prompts
from diversity_tuning.evaluation.report.tables import ALL_SEEDS, align, matching, seed_word
from diversity_tuning.evaluation.statistics import overall_mean
from diversity_tuning.evaluation.tradeoff import difference_at_equal_quality
from diversity_tuning.partition import number_or_none

Pairs = list[tuple[RunGroup, RunGroup]]
_NOTE = """\
Diversity of a model minus the upper concave hull of the other method's models{anchor} at the same {quality}: what drawing one
of two of them at random for each prompt reaches. 2,000 draws of prompts (and seeds), the hull anew in each; a share in
brackets: of the draws in which the {quality} was within the hull's range, where not in all. t: Student's interval of the seeds'
own differences, of those seeds that lie within it. No correction for the number of comparisons.
"""
OUTSIDE = "outside the range"
_LAST = (REDDIT_REWARD, *registry.DIVERSITIES)  # of the columns of controls
OUTSIDE_VALUES = {**dict.fromkeys(("mean", "low", "high")), "covered": 0.0, "t_low": None, "t_high": None, "t_seeds": 0}


class Comparison:
    """Models of a report, with the pairs that are compared. Adds diversity at equal length to the runs.

    ``compare``, ``anchor``, ``controls``, ``baselines``: as :func:`~.build.make_report` takes them.
    """

    def __init__(
        self,
        runs: list[Run],
        compare: Sequence[str] = (),
        anchor: str | None = None,
        controls: Sequence[str] | None = None,
        baselines: Sequence[str] | None = None,
    ):
        diagnostics.check_same({str(run.folder): run.registered for run in runs})
        check_seeds(runs)
        self.slopes = add_equal_length(runs)
        self.models, self.columns, self.anchor = group_runs(runs), tables.metric_columns(runs), anchor
        self.pairs = tables.paired_models(self.models, list(compare))
        self.drawn: list[tuple[RunGroup, RunGroup]] = [] if "all" in compare else self.pairs  # with arrows, and as fronts
        against = list(baselines or [])
        self.control_pairs = control_pairs(self.models, list(controls), against) if controls else {}
        self.to_control = [pair for own in self.control_pairs.values() for pair in own]
        self.grey = [method for method in controls or [] if method not in {base.method for _, base in self.to_control}]

    def frames(self) -> dict[str, pd.DataFrame]:
        """Name of a .csv file without its ending -> rows, which may be none."""
        of_controls = [name for name in _control_columns() if name in self.columns]
        first = next(iter(self.control_pairs.values()), [])
        return {
            "models": tables.model_table(self.models, self.columns),
            "differences": tables.difference_table(self.pairs, self.columns),
            "fronts": front_table(self.models, self.drawn, self.anchor),
            "controls": tables.difference_table(self.to_control, of_controls),
            "controls-fronts": front_table(self.models, first, self.anchor, together=True),
        }


def control_pairs(models: list[RunGroup], methods: list[str], baselines: list[str]) -> dict[str, Pairs]:
    """For every baseline, the other baselines and every control with it: label of the baseline -> pairs.

    ``methods``: of the controls. That of a baseline stands for its other strengths (other β, earlier checkpoints).
    ``baselines``: labels, names or methods; of several strengths the model that :func:`main_models` names. A method or
    baseline that no model has is a :class:`UserError`.
    """
    against = [one for name in baselines for one in main_models(matching(models, name, f"baselines {name}"))]
    there = dict.fromkeys(model.method for model in models)
    if missing := [method for method in methods if method not in there]:
        raise UserError(f"--controls: no run of a method called '{missing[0]}'; there is {', '.join(there)}")
    controls = [model for method in methods for model in models if model.method == method and model not in against]
    return {base.label: [(one, base) for one in (*(one for one in against if one is not base), *controls)] for base in against}


def main_models(group: list[RunGroup]) -> list[RunGroup]:
    """Of the models of one method those of strength 1, which are trained to their end; all where none has it."""
    return [model for model in group if number_or_none(model.strength) == 1] or group


def control_tables(rows: pd.DataFrame, pairs: dict[str, Pairs]) -> list[Table]:
    """One table per baseline: control × differences, over all seeds that both have. ``rows``: of ``difference_table``."""
    made = []
    for place, (base, own) in enumerate(pairs.items()):
        cells, columns = [], [column for column in _control_columns() if len(rows) and column in set(rows["metric"])]
        for one, other in own:
            found = rows[rows["difference"] == f"{one.label} − {other.label}"] if len(rows) else rows
            if not len(found):
                continue
            seeds = [seed for seed in dict.fromkeys(found["seed"]) if seed != ALL_SEEDS]
            last = found[found["seed"] == (ALL_SEEDS if len(seeds) > 1 else seeds[0])]
            by_metric = {row["metric"]: interval(row, "", "+") for _, row in last.iterrows()}
            cells.append([one.label, len(seeds), *(by_metric.get(column, NONE) for column in columns)])
        note = f"Model minus {base}, mean over prompts and seeds [95%]; t-intervals and p are in controls.csv.\n"
        header = ["model", "seeds", *map(registry.heading, columns)]
        name = "controls" if place == 0 else f"controls-{place + 1}"
        made.append(Table(name, f"Controls: differences to {base}", note, header, cells))
    return [table for table in made if table.rows]


def _control_columns() -> list[str]:
    """Measures of single studies first, reward and distances of embeddings last."""
    own = [*registry.diversities(), *registry.qualities(), *registry.columns(registry.in_table("other"))]
    return [*(column for column in dict.fromkeys(own) if column not in _LAST), *_LAST]


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
        title = "Diversity" if name == "fronts" else "Controls: diversity"
        made.append(Table(f"{name}{suffix}", f"{title} at equal {word}", note, header, cells))
    return made


def _cell(row: pd.Series) -> str:
    if pd.isna(row["mean"]):
        return OUTSIDE
    return interval(row, "", "+") + (f" ({row['covered']:.0%})" if row["covered"] < 0.995 else "") + t_words(row)
