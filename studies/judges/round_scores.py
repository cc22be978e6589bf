"""What the rounds of path B are compared by: agreement with held-out labels, also balanced by length."""

import numpy as np

from diversity_tuning.evaluation.statistics import bounded
from diversity_tuning.judging import agreement

SELECTED = "accuracy_by_length"  # the figure that rounds are compared by
FIGURES = {"accuracy": agreement.accuracy, "f1": agreement.f1}  # of :func:`verdict_scores`


def balanced(figure, verdicts: np.ndarray, labels: np.ndarray, strata: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of a figure over the strata of length that hold both labels, each counting the same: ``(draws,)``.

    So a judge that knows length alone gains nothing from it between the strata. NaN where no stratum holds both labels.
    """
    parts = []
    for number in np.unique(strata):
        rows = strata == number
        if labels[rows].any() and not labels[rows].all():
            parts.append(figure(verdicts[rows], labels[rows], weights[:, rows]))
    if not parts:
        return np.full(len(weights), np.nan)
    known = ~np.isnan(parts)
    total = np.where(known, parts, 0.0).sum(axis=0)
    return np.divide(total, known.sum(axis=0), out=np.full(len(weights), np.nan), where=known.any(axis=0))


def verdict_scores(verdicts: list[int | None], labels: np.ndarray, strata: np.ndarray, weights: np.ndarray) -> dict:
    """Accuracy and F1 of "good", each also balanced by length: ``{"value", "low", "high"}``.

    Rows without a verdict (None) count as wrong, so that principles that a judge cannot apply are not flattered; they are
    counted, and ``judged_good`` is a share of the others. ``weights``: ``(draws, n)``, for the 95% intervals, of
    :func:`~diversity_tuning.evaluation.statistics.cluster_weights`.
    """
    judged = np.array([one is not None for one in verdicts])
    said = np.where(judged, np.array([bool(one) for one in verdicts]), ~np.asarray(labels, dtype=bool))
    good = float(said[judged].mean()) if judged.any() else float("nan")
    found = {"n": len(judged), "without_verdict": int((~judged).sum()), "judged_good": good}
    once = np.ones((1, len(said)))
    for name, figure in FIGURES.items():
        found[name] = bounded(figure(said, labels, once), figure(said, labels, weights))
        parts = (figure, said, labels, strata)
        found[f"{name}_by_length"] = bounded(balanced(*parts, once), balanced(*parts, weights))
    return found


def selected(found: dict) -> float:
    """What rounds are compared by: accuracy balanced by length; accuracy where no stratum has both labels."""
    value = found[SELECTED]["value"]
    return found["accuracy"]["value"] if value is None else value
