"""What a study registers: its metrics, what figures say of its data, and what the data's own responses are called.

A diagnostics module (``--diagnostics``) has, beside ``diagnose``, any of ``METRICS`` (a list of :class:`~.registry.Metric`, of
columns of its own: a number ``x``, or ``distinct_x`` of a label ``x``), ``DATA`` (such as "synthetic data") and ``REFERENCES``
(such as "people"). Scoring writes them into metrics.json, where a later report finds them without the module.
"""

import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.registry import Metric

REFERENCE = "gold"  # method and default name of the data's own responses: no model, so never the best, nor on the Pareto front
KEY = "study"  # in metrics.json
FILE = "study.json"  # the same for all published runs below a folder
_OTHER_FIGURES = ("ablation", "auxiliary", "further")
_TEXTS = [field.name for field in fields(Metric) if field.name not in ("function", "released")]


@dataclass(frozen=True)
class Study:
    """What a diagnostics module registers; by default nothing."""

    metrics: tuple[Metric, ...] = ()
    data: str | None = None
    references: str | None = None

    def record(self) -> dict:
        """For metrics.json; functions are left out, for their values are in prompts.csv."""
        metrics = [{name: asdict(metric)[name] for name in _TEXTS} for metric in self.metrics]
        return {"metrics": metrics, "data": self.data, "references": self.references}


def of_module(module) -> Study:
    """What an imported diagnostics module registers; its metrics are in the registry from here on."""
    study = Study(tuple(getattr(module, "METRICS", ())), getattr(module, "DATA", None), getattr(module, "REFERENCES", None))
    _take_in(study, f"--diagnostics {module.__name__}")
    return study


def of_run(folder: Path, content: dict) -> Study:
    """What the study of a run registered: by its metrics.json (``content``), or a study.json further up (published runs)."""
    where, found = folder, content.get(KEY)
    try:
        if found is None:
            above = [path / FILE for path in folder.resolve().parents[:2]]
            where = next((path for path in above if path.is_file()), folder)
            found = json.loads(where.read_text(encoding="utf-8")) if where != folder else Study().record()
        study = Study(tuple(Metric(**one) for one in found["metrics"]), found["data"], found["references"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{where}: what its study registers was not written by scripts_eval ({error!r})") from None
    _take_in(study, str(where))
    return study


def _take_in(study: Study, where: str) -> None:
    for metric in study.metrics:
        if not re.fullmatch(r"\w+", metric.column) or not re.fullmatch(r"\w*", metric.figure):
            raise UserError(f"{where}: metric {metric.column!r}: column and figure are letters, digits and _")
        if metric.figure in _OTHER_FIGURES:
            raise UserError(f"{where}: figure '{metric.figure}' is another figure of the report; give the study's another name")
        try:
            registry.take_in(metric)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None


def check_same(studies: dict[str, Study]) -> None:
    """Refuse runs (name -> study) that mean different things by one column: :class:`UserError`."""
    meant: dict[str, tuple[Metric, str]] = {}
    for run, study in studies.items():
        for metric in study.metrics:
            other, before = meant.setdefault(metric.column, (metric, run))
            if other != metric:
                raise UserError(f"{before} and {run}: their studies mean different things by '{metric.column}'; leave one out")


def shown_name(content: dict, study: Study) -> str | None:
    """A run's name in tables and figures: its own (``content``: metrics.json), but for the data's responses by default."""
    name = content.get("name")
    if name != REFERENCE or content.get("method") != REFERENCE:
        return name
    return study.references or "references"
