"""What a report compares: pairs of models, controls, and diversity at equal quality."""

from collections.abc import Sequence

import pandas as pd

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation import diagnostics, registry
from diversity_tuning.evaluation.rendering import NONE, Table, interval
from diversity_tuning.evaluation.report import tables
from diversity_tuning.evaluation.report.curves import front_table
from diversity_tuning.evaluation.report.runs import Run, RunGroup, add_equal_length, check_seeds, group_runs
from diversity_tuning.evaluation.report.tables import ALL_SEEDS, matching

Pairs = list[tuple[RunGroup, RunGroup]]


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
    return [model for model in group if _number(model.strength) == 1] or group


def _number(strength: str | None) -> float | None:
    try:
        return float(strength)
    except (TypeError, ValueError):
        return None


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
    first, *others = registry.qualities()
    of_studies = [column for column in registry.diversities() if column not in registry.DIVERSITIES]
    return [*of_studies, *others, first, *registry.DIVERSITIES]
