r"""Mixtures within a prompt: samples of two models drawn for the same prompt, against one model, from labels of samples.

python -m studies.miniature.mixtures --study results/miniature-claims --output runs/miniature/mixtures

Drawing a model for each prompt reaches the chord between two models. Drawing for each *sample* can reach more: a prompt's
samples then come from two models that repeat different things. For every two of the rivals and every number k of a prompt's n
samples from the first, the number of distinct labels is the mean over all choices of the k; the hull of all these points is set
against the model at its own craft, seed by seed. Writes mixtures.csv (a row per label, seed and ``all``).
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.csvfiles import write_csv
from diversity_tuning.evaluation.report.runs import RUN, SAMPLES_TABLE, read_study, read_table
from diversity_tuning.evaluation.statistics import concave_hull_at, t_interval
from studies.miniature.claims import CONTROL, MODEL

LABELS = ("direction", "voice")  # plots and voices
_CRAFT = "craft"


@command
def main(argv=None) -> None:
    parser = Parser("studies.miniature.mixtures", __doc__)
    parser.add_argument("--study", required=True, help="folder of a published study with labels of samples")
    parser.add_argument("--output", required=True, help="folder for mixtures.csv")
    args = parse_with_recipe(parser, argv)
    rows = differences(*labels_of(Path(args.study)))
    Path(args.output).mkdir(parents=True, exist_ok=True)
    write_csv(Path(args.output) / "mixtures.csv", rows)
    for row in rows[rows["seed"] == "all"].to_dict("records"):
        line = "{label}: {mean:+.2f}, t over {seeds:.0f} seeds [{t_low:+.2f}, {t_high:+.2f}]; nearest on the hull: {mixture}"
        print(line.format(**row))


def labels_of(study: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Labels of the samples of the study's models, and of each run its ``seed`` and ``model``."""
    table = read_table(study, SAMPLES_TABLE)
    if not len(table):
        raise UserError(f"{study}: no labels of samples ({SAMPLES_TABLE})")
    runs = pd.DataFrame([{RUN: one[RUN], "seed": one["seed"], "model": one["name"], "strength": one["strength"]}
                         for one in read_study(study)["runs"]])  # fmt: skip
    runs["model"] += " (" + runs["strength"].astype(str) + ")"
    return table, runs.drop(columns="strength")


def differences(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Distinct labels of :data:`MODEL` minus the hull of mixtures within a prompt of the others, at equal craft.

    A row per label and seed: ``mean`` (NaN outside the hull's range), ``mixture``: the hull's point next in craft; and
    per label one row of all seeds with t and the most frequent mixture.
    """
    rows = []
    for label in LABELS:
        found = [_of_seed(table, own, label) for _, own in runs.groupby("seed")]
        rows += [{"label": label, **one} for one in found]
        values = np.array([one["mean"] for one in found])
        t_low, t_high = t_interval(values[~np.isnan(values)][:, None])
        nearest = pd.Series([one["mixture"] for one in found]).mode()[0]
        rows.append({"label": label, "seed": "all", "mean": np.nanmean(values), "t_low": t_low, "t_high": t_high,
                     "seeds": int((~np.isnan(values)).sum()), "mixture": nearest})  # fmt: skip
    return pd.DataFrame(rows)


def _of_seed(table: pd.DataFrame, runs: pd.DataFrame, label: str) -> dict:
    own = table.merge(runs, on=RUN)
    models = {model: _arrays(rows, label) for model, rows in own.groupby("model")}
    target = [values for model, values in models.items() if model.split(" ")[0] == MODEL]
    if len(target) != 1:
        raise UserError(f"seed {runs['seed'].iloc[0]}: {len(target)} models called {MODEL}, not one")
    rivals = {model: values for model, values in models.items() if not model.startswith((MODEL, CONTROL))}
    names, points = zip(*_mixtures(rivals), strict=True)
    x, y = np.array(points).T
    craft, distinct = _alone(*target[0])
    below = concave_hull_at(x, y, craft)
    on_hull = [i for i in range(len(x)) if y[i] >= concave_hull_at(x, y, x[i]) - 1e-12]
    nearest = min(on_hull, key=lambda i: abs(x[i] - craft))
    return {"seed": runs["seed"].iloc[0], "mean": float(distinct - below), "mixture": names[nearest]}


def _arrays(rows: pd.DataFrame, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and craft of a model: ``(prompts, n)``, in the order of prompts and samples."""
    counts = rows.groupby("prompt_id").size()
    if counts.nunique() != 1:
        raise UserError(f"{rows[RUN].iloc[0]}: prompts have {counts.min()} to {counts.max()} samples, not the same number")
    rows = rows.sort_values(["prompt_id", "sample"])
    shape = (len(counts), int(counts.iloc[0]))
    labels = rows[label].fillna("").astype(str).to_numpy(dtype=object).reshape(shape)
    return labels, rows[_CRAFT].to_numpy(dtype=float).reshape(shape)


def _alone(labels: np.ndarray, craft: np.ndarray) -> tuple[float, float]:
    return float(craft.mean()), float(np.mean([len(set(row) - {""}) for row in labels]))


def _mixtures(models: dict[str, tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[str, tuple[float, float]]]:
    """Every model alone and every k of n samples of one with the rest of another: name, and mean craft and distinct labels."""
    for name, values in models.items():
        yield name, _alone(*values)
    for (one, (labels, craft)), (other, (labels2, craft2)) in itertools.combinations(models.items(), 2):
        if labels.shape != labels2.shape:
            raise UserError(f"{one} and {other} have other prompts or numbers of samples")
        n = labels.shape[1]
        for k in range(1, n):
            distinct = np.mean([expected_distinct(first, second, k) for first, second in zip(labels, labels2, strict=True)])
            yield f"{k} of {n} {one}, else {other}", ((k * craft.mean() + (n - k) * craft2.mean()) / n, float(distinct))


def expected_distinct(first: np.ndarray, second: np.ndarray, k: int) -> float:
    """Mean number of distinct labels where ``k`` of the n samples are ``first``'s and the others ``second``'s; "" is none.

    Over all choices of the k places. Samples of one place share their random numbers in all models and are often alike, so
    that no place is taken from both.
    """
    places = range(len(first))
    counts = [
        len({*(first[place] if place in own else second[place] for place in places)} - {""})
        for own in map(set, itertools.combinations(places, k))
    ]
    return float(np.mean(counts))


if __name__ == "__main__":
    main()
