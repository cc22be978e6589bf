"""Reports of published studies: which there are, and their numbers again from the study's table."""

import tempfile
from pathlib import Path

import pandas as pd

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.report.build import RUNS, SETTINGS, make_report
from diversity_tuning.evaluation.report.comparison import Comparison
from diversity_tuning.evaluation.report.runs import Run, is_study, read_runs, read_study
from diversity_tuning.outputs import PROVENANCE
from studies.results.publish import copy_report

_COMPARED = ("compare", "anchor", "controls", "baselines")


def published_reports(results: Path) -> list[Path]:
    """The folders below ``results`` that hold a report of a published study."""
    studies = sorted(path.parent for path in results.rglob(PROVENANCE) if is_study(path.parent))
    asked = [(study / part, made) for study in studies for part, made in read_study(study)["reports"].items()]
    return sorted(report for report, made in asked if SETTINGS in made)


def _asked(report: Path) -> tuple[Path, dict]:
    """The study of a report, and what the report was asked for."""
    study = next((folder for folder in (report, *report.parents) if is_study(folder)), None)
    asked = read_study(study)["reports"].get(report.relative_to(study).as_posix()) if study else None
    if asked is None:
        raise UserError(f"{report}: no published report; publish it with scripts_eval.leaderboard --report")
    return study, asked


def runs_of(report: Path) -> list[Run]:
    """The published runs that a report was made of. :class:`UserError` where one is missing."""
    study, asked = _asked(report)
    known = {(run.name, run.method, run.strength, run.seed): run for run in read_runs(study)}
    wanted = [(model["name"], model["method"], model["strength"], seed) for model in asked[RUNS] for seed in model["seeds"]]
    if missing := [key for key in wanted if key not in known]:
        name, method, strength, seed = missing[0]
        raise UserError(f"{study}: no run {name} (method {method}, strength {strength}, seed {seed}) of {report}; publish it")
    return [known[key] for key in wanted]


def frames_again(report: Path) -> dict[str, pd.DataFrame]:
    """The tables of a report, computed from the published runs: name of a .csv file without its ending -> rows."""
    settings = _asked(report)[1][SETTINGS]
    return Comparison(runs_of(report), **{name: settings[name] for name in _COMPARED}).frames()


def make_again(report: Path) -> str:
    """Write a report anew, figures too, from the published runs and with the settings it had; returns its overview."""
    with tempfile.TemporaryDirectory() as folder:
        summary = make_report(runs_of(report), Path(folder) / "report", samples=0, **_asked(report)[1][SETTINGS])
        copy_report(Path(folder) / "report", report)
    return summary
