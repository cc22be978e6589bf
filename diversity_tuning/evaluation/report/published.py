"""Reports of published runs: which there are, and their numbers again from the prompts.csv of their runs."""

from pathlib import Path

import pandas as pd

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.files import METRICS
from diversity_tuning.evaluation.report.build import RUNS, SETTINGS, make_report
from diversity_tuning.evaluation.report.comparison import Comparison
from diversity_tuning.evaluation.report.runs import Run, read_run
from diversity_tuning.outputs import PROVENANCE, read_provenance

_COMPARED = ("compare", "anchor", "controls", "baselines")


def published_reports(results: Path) -> list[Path]:
    """The folders below ``results`` that hold a report with its settings; its runs are in ``runs``, there or further up."""
    return sorted(path.parent for path in results.rglob(PROVENANCE) if SETTINGS in read_provenance(path.parent))


def runs_of(report: Path) -> list[Run]:
    """The published runs that a report was made of. :class:`UserError` where one is missing."""
    home = next((folder for folder in (report, *report.parents) if (folder / RUNS).is_dir()), None)
    if home is None:
        raise UserError(f"{report}: no folder '{RUNS}' there or above; publish its runs with scripts_eval.leaderboard")
    there = [read_run(path.parent) for path in sorted((home / RUNS).glob(f"[!.]*/{METRICS}"))]
    known = {(run.name, run.method, run.strength, run.seed): run for run in there}
    wanted = [
        (model["name"], model["method"], model["strength"], seed)
        for model in read_provenance(report)[RUNS]
        for seed in model["seeds"]
    ]
    if missing := [key for key in wanted if key not in known]:
        name, method, strength, seed = missing[0]
        raise UserError(
            f"{home / RUNS}: no run {name} (method {method}, strength {strength}, seed {seed}) of {report}; publish it"
        )
    return [known[key] for key in wanted]


def frames_again(report: Path) -> dict[str, pd.DataFrame]:
    """The tables of a report, computed from the published runs: name of a .csv file without its ending -> rows."""
    settings = read_provenance(report)[SETTINGS]
    return Comparison(runs_of(report), **{name: settings[name] for name in _COMPARED}).frames()


def make_again(report: Path) -> str:
    """Write a report anew, figures too, from the published runs and with the settings it had; returns its overview."""
    folders = [run.folder for run in runs_of(report)]
    return make_report(folders, report, samples=0, **read_provenance(report)[SETTINGS])
