"""The points of the sweep: for each popularity, the scored runs of all seeds and the correlation of deviation and votes."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diversity_tuning.data import describe
from diversity_tuning.data.tables import read_split
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.report.runs import Run, RunGroup, check_seeds, group_runs, read_run
from diversity_tuning.evaluation.statistics import mean_interval

RUNS = ("sft", "dpo", "ddpo-both")
AUTHORS = "gold"  # shown where it is there
_MEANS, _COUNTS = ("mean", "low", "high"), ("prompts", "responses")  # of all prompts, in a file of describe --correlation
_PAIRS, _SPLIT = "data/pairs-both", "train"  # what is trained on


@dataclass
class Point:
    """One popularity: its models, and Spearman's rho of every training prompt by seed."""

    popularity: float
    models: list[RunGroup] = field(default_factory=list)
    rho: dict[int, np.ndarray] = field(default_factory=dict)

    def correlation(self, seed: int | None = None) -> dict[str, float]:
        """``{"mean", "low", "high"}`` of one seed, over its prompts, or over all: seeds, then prompts within each."""
        own = list(self.rho.values()) if seed is None else [self.rho[seed]]
        matrix = np.full((len(own), max(map(len, own))), np.nan)
        for row, values in zip(matrix, own, strict=True):
            row[: len(values)] = values
        return mean_interval(matrix, nested=True)


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
    folders: dict[float, list[Path]] = {}
    for word in words:
        value, equals, folder = word.partition("=")
        if not equals or not _is_number(value):
            raise UserError(f"--points {word}: expected POPULARITY=FOLDER, such as 0.5=runs/miniature/seed0/popularity-0.5")
        folders.setdefault(float(value), []).append(Path(folder))
    return [_read_point(value, folders[value], f"eval-{split}" if split else "eval") for value in sorted(folders)]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _read_point(value: float, folders: list[Path], evaluations: str) -> Point:
    point, runs = Point(value), []
    for folder in folders:
        there = folder / evaluations
        names = [*RUNS, *([AUTHORS] if (there / AUTHORS).is_dir() else [])]
        runs += [read_run(there / name) for name in names]
        seed = _seed_of(runs[-len(names) :], folder)
        if seed in point.rho:
            raise UserError(f"--points: popularity {value:g} has seed {seed} twice, again in {folder}")
        point.rho[seed] = _correlations(folder / _PAIRS)
    check_seeds(runs)
    point.models = group_runs(runs)
    return point


def _seed_of(runs: list[Run], folder: Path) -> int:
    seeds = {run.seed for run in runs if run.method in RUNS}
    if len(seeds) != 1 or None in seeds:
        raise UserError(f"{folder}: its runs are of seeds {sorted(map(str, seeds))}; expected one seed")
    return seeds.pop()


def _correlations(pairs: Path) -> np.ndarray:
    """Spearman's rho of deviation and votes of every training prompt, as ``describe`` computes it."""
    found = describe.figures(read_split(str(pairs), _SPLIT), str(pairs)).popularity
    if found is None:
        raise UserError(f"{pairs}: no correlation of deviation and votes; expected the output of stage 3")
    return np.array(found.values)


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
