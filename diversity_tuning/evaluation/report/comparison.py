"""What a report compares, and the numbers of it: the tables that are written as .csv."""

from collections.abc import Sequence

import pandas as pd

from diversity_tuning.evaluation.report import controls as control_report
from diversity_tuning.evaluation.report import tables
from diversity_tuning.evaluation.report.curves import front_table
from diversity_tuning.evaluation.report.runs import Run, RunGroup, add_equal_length, check_seeds, group_runs


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
        check_seeds(runs)
        self.slopes = add_equal_length(runs)
        self.models, self.columns, self.anchor = group_runs(runs), tables.metric_columns(runs), anchor
        self.pairs = tables.paired_models(self.models, list(compare))
        self.drawn: list[tuple[RunGroup, RunGroup]] = [] if "all" in compare else self.pairs  # with arrows, and as fronts
        against = list(baselines or [])
        self.control_pairs = control_report.control_pairs(self.models, list(controls), against) if controls else {}
        self.to_control = [pair for own in self.control_pairs.values() for pair in own]
        self.grey = [method for method in controls or [] if method not in {base.method for _, base in self.to_control}]

    def frames(self) -> dict[str, pd.DataFrame]:
        """Name of a .csv file without its ending -> rows, which may be none."""
        of_controls = [name for name in control_report.COLUMNS if name in self.columns]
        first = next(iter(self.control_pairs.values()), [])
        return {
            "models": tables.model_table(self.models, self.columns),
            "differences": tables.difference_table(self.pairs, self.columns),
            "fronts": front_table(self.models, self.drawn, self.anchor),
            "controls": tables.difference_table(self.to_control, of_controls),
            "controls-fronts": front_table(self.models, first, self.anchor, together=True),
        }
