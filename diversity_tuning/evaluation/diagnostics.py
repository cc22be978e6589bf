"""What a diagnostics module registers: metrics, what figures say of its data, and what the data's own responses are called.

The module (``--diagnostics``) has, beside ``diagnose``, any of ``METRICS`` (a list of :class:`~.registry.Metric`, of columns of
its own: a number ``x``, or ``distinct_x`` of a label ``x``), ``DATA`` (such as "synthetic data") and ``REFERENCES`` (such as
"people"). Scoring writes them into metrics.json, where a later report finds them without the module.
"""

import re
from dataclasses import asdict, dataclass, fields

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.registry import Metric

REFERENCE = "gold"  # method and default name of the data's own responses: no model, so never the best, nor on the Pareto front
KEY = "registered"  # in metrics.json
_OTHER_FIGURES = ("ablation", "auxiliary", "further")
_TEXTS = [field.name for field in fields(Metric) if field.name not in ("function", "released")]


@dataclass(frozen=True)
class Registered:
    """What a diagnostics module registers; by default nothing."""

    metrics: tuple[Metric, ...] = ()
    data: str | None = None
    references: str | None = None

    def record(self) -> dict:
        """For metrics.json; functions are left out, for their values are in prompts.csv."""
        metrics = [{name: asdict(metric)[name] for name in _TEXTS} for metric in self.metrics]
        return {"metrics": metrics, "data": self.data, "references": self.references}


def by_module(module) -> Registered:
    """What an imported diagnostics module registers; its metrics are in the registry from here on."""
    found = (getattr(module, "METRICS", ()), getattr(module, "DATA", None), getattr(module, "REFERENCES", None))
    return _taken_in(Registered(tuple(found[0]), *found[1:]), f"--diagnostics {module.__name__}")


def by_record(record: dict | None, where: object) -> Registered:
    """The same from what :meth:`Registered.record` gave; ``where`` it was read. No record: nothing."""
    if record is None:
        return Registered()
    try:
        found = Registered(tuple(Metric(**one) for one in record["metrics"]), record["data"], record["references"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{where}: '{KEY}' was not written by scripts_eval ({error!r}); score the run again") from None
    return _taken_in(found, str(where))


def _taken_in(found: Registered, where: str) -> Registered:
    for metric in found.metrics:
        if not re.fullmatch(r"\w+", metric.column) or not re.fullmatch(r"\w*", metric.figure):
            raise UserError(f"{where}: metric {metric.column!r}: column and figure are letters, digits and _")
        if metric.figure in _OTHER_FIGURES:
            raise UserError(f"{where}: figure '{metric.figure}' is another figure of the report; choose another name")
        try:
            registry.take_in(metric)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
    return found


def check_same(runs: dict[str, Registered]) -> None:
    """Refuse runs (name -> what their module registered) that mean different things by one column: :class:`UserError`."""
    meant: dict[str, tuple[Metric, str]] = {}
    for run, found in runs.items():
        for metric in found.metrics:
            other, before = meant.setdefault(metric.column, (metric, run))
            if other != metric:
                raise UserError(f"{before} and {run}: they mean different things by '{metric.column}'; leave one out")


def shown_name(content: dict, found: Registered) -> str | None:
    """A run's name in tables and figures: its own (``content``: metrics.json), but for the data's responses by default."""
    name = content.get("name")
    if name != REFERENCE or content.get("method") != REFERENCE:
        return name
    return found.references or "references"
