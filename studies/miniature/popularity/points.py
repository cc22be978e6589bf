"""The points of the sweep: for each popularity, the scored runs of all seeds and the correlation of deviation and votes."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.report.runs import Run, RunGroup, check_seeds, group_runs, read_run
from diversity_tuning.evaluation.statistics import mean_interval
from studies.report import folders_by_number, pair_correlations, stacked

RUNS = ("sft", "dpo", "ddpo-both")
AUTHORS = "gold"  # shown where it is there
_MEANS, _COUNTS = ("mean", "low", "high"), ("prompts", "responses")  # of all prompts, in a file of describe --correlation
_PAIRS = "data/pairs-both"  # what is trained on


@dataclass
class Point:
    """One popularity: its models, and Spearman's rho of every training prompt by seed."""

    popularity: float
    models: list[RunGroup] = field(default_factory=list)
    rho: dict[int, np.ndarray] = field(default_factory=dict)

    def correlation(self, seed: int | None = None) -> dict[str, float]:
        """``{"mean", "low", "high"}`` of one seed, over its prompts, or over all: seeds, then prompts within each."""
        own = list(self.rho.values()) if seed is None else [self.rho[seed]]
        return mean_interval(stacked(own), nested=True)


@dataclass(frozen=True)
class Mark:
    """The correlation of another data set, from a file of ``describe --correlation``: over all of its prompts."""

    name: str
    mean: float
    low: float
    high: float
    prompts: int
    responses: int


def read_points(words: list[str], split: str = "") -> list[Point]:
    """``P=FOLDER`` each: the main run of a seed or a folder below it; several of one popularity are several seeds.

    ``split``: evaluations on another split than the recipe's. Points come in the order of popularity. A word of another form,
    or a run that is not there, is a :class:`UserError`.
    """
    folders = folders_by_number(words, "POPULARITY")
    return [_read_point(value, own, f"eval-{split}" if split else "eval") for value, own in folders.items()]


def _read_point(value: float, folders: list[Path], evaluations: str) -> Point:
    point, runs = Point(value), []
    for folder in folders:
        there = folder / evaluations
        names = [*RUNS, *([AUTHORS] if (there / AUTHORS).is_dir() else [])]
        runs += [read_run(there / name) for name in names]
        seed = _seed_of(runs[-len(names) :], folder)
        if seed in point.rho:
            raise UserError(f"--points: popularity {value:g} has seed {seed} twice, again in {folder}")
        point.rho[seed] = pair_correlations(folder / _PAIRS)
    check_seeds(runs)
    point.models = group_runs(runs)
    return point


def _seed_of(runs: list[Run], folder: Path) -> int:
    seeds = {run.seed for run in runs if run.method in RUNS}
    if len(seeds) != 1 or None in seeds:
        raise UserError(f"{folder}: its runs are of seeds {sorted(map(str, seeds))}; expected one seed")
    return seeds.pop()


def read_marks(words: list[str]) -> list[Mark]:
    """``NAME=FILE.json`` each."""
    marks = []
    for word in words:
        name, equals, file = word.partition("=")
        if not (name and equals):
            raise UserError(f"--mark {word}: expected NAME=FILE.json, a file of describe --correlation")
        try:
            found = json.loads(Path(file).read_text(encoding="utf-8"))["all"]
            marks.append(Mark(name, *(_finite(found[key]) for key in _MEANS), *(int(found[key]) for key in _COUNTS)))
        except OSError as error:
            raise UserError(f"--mark {word}: {str(error.strerror).lower()}; describe --correlation writes it") from None
        except (ValueError, KeyError, TypeError):
            raise UserError(f"--mark {word}: not written by describe --correlation; give its file, or no mark") from None
    return marks


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(value)
    return float(value)
