"""Agreement of a judge with people, as pure functions of its scores: accuracy, F1, AUC, Cohen's κ, pairs, length.

Every figure takes optional weights ``(draws, n)``, how often each row counts in each bootstrap draw
(:func:`diversity_tuning.evaluation.statistics.cluster_weights`), and returns ``(draws,)``; without weights, one draw in which
every row counts once, as an array of shape ``(1,)``. A figure that is not defined, such as AUC of one class, is NaN.
"""

import numpy as np

STRATA = 4  # of length: quarters
_ROWS = 512  # good responses compared with all bad ones at a time


def auc(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve: P(a good response scores above a bad one), a tie counts half.

    ``scores``: float ``(n,)``; ``labels``: bool ``(n,)``. From rank sums, O(n log n) (Mann–Whitney).
    """
    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool)
    weights = _weights(weights, len(scores))
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    good, bad = (np.where(rows, weights, 0.0)[:, order] for rows in (labels, ~labels))
    good, bad = (np.add.reduceat(side, starts, axis=1) for side in (good, bad))  # one column per distinct score
    below = np.cumsum(bad, axis=1) - bad
    return _ratio((good * (below + bad / 2)).sum(axis=1), good.sum(axis=1) * bad.sum(axis=1))


def auc_within(
    scores: np.ndarray, labels: np.ndarray, lengths: np.ndarray, low: float, high: float, weights: np.ndarray | None = None
) -> tuple[np.ndarray, int]:
    """AUC over those good and bad responses whose lengths differ by [low, high), and the number of such comparisons.

    ``lengths``: ``(n,)``, the difference is that of :func:`relative_difference`. Shape of the AUC: ``(draws,)``.
    """
    scores, labels, lengths = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool), np.asarray(lengths, dtype=float)
    weights = _weights(weights, len(scores))
    good, bad = np.flatnonzero(labels), np.flatnonzero(~labels)
    won, compared, n = np.zeros(len(weights)), np.zeros(len(weights)), 0
    for start in range(0, len(good), _ROWS):  # the matrix of all comparisons may be too large for the memory
        rows = good[start : start + _ROWS]
        apart = relative_difference(lengths[rows][:, None], lengths[bad][None, :])
        near = (apart >= low) & (apart < high)
        above = (np.sign(scores[rows][:, None] - scores[bad][None, :]) + 1) / 2 * near
        won += (weights[:, rows] * (weights[:, bad] @ above.astype(weights.dtype).T)).sum(axis=1)
        compared += (weights[:, rows] * (weights[:, bad] @ near.astype(weights.dtype).T)).sum(axis=1)
        n += int(near.sum())
    return _ratio(won, compared), n


def relative_difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """|a − b| / max(a, b), from 0 to 1; 0 for two zeros."""
    longer = np.maximum(one, other)
    return np.abs(one - other) / np.where(longer > 0, longer, 1)


def accuracy(verdicts: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Share of verdicts that are the label; both bool ``(n,)``."""
    weights = _weights(weights, len(labels))
    return _ratio((weights * (verdicts == labels)).sum(axis=1), weights.sum(axis=1))


def f1(verdicts: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """F1 of "good": 2 TP / (2 TP + FP + FN)."""
    hit, false, missed, _ = _table(verdicts, labels, weights)
    return _ratio(2 * hit, 2 * hit + false + missed)


def kappa(verdicts: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Cohen's κ = (p_o − p_e) / (1 − p_e): agreement beyond that of two judges who draw by their own shares of "good"."""
    hit, false, missed, rest = _table(verdicts, labels, weights)
    total = hit + false + missed + rest
    expected = _ratio((hit + false) * (hit + missed) + (rest + false) * (rest + missed), total**2)
    return _ratio(_ratio(hit + rest, total) - expected, 1 - expected)


def best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The threshold with the highest balanced accuracy of "score > threshold is good"; half-way between two scores.

    Balanced accuracy is the mean of the shares of good and of bad responses that are judged so. Of equally good thresholds the
    lowest. With one class, a threshold outside the scores that puts all into it; with no rows NaN.
    """
    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool)
    if not len(scores):
        return float("nan")
    values = np.unique(scores)
    thresholds = np.concatenate([[values[0] - 1], (values[:-1] + values[1:]) / 2, [values[-1] + 1]])
    good, bad = np.sort(scores[labels]), np.sort(scores[~labels])
    above = 1 - np.searchsorted(good, thresholds, side="right") / max(len(good), 1)
    below = np.searchsorted(bad, thresholds, side="right") / max(len(bad), 1)
    return float(thresholds[np.argmax(above * bool(len(good)) + below * bool(len(bad)))])


def cross_fitted_verdicts(
    scores: np.ndarray, labels: np.ndarray, prompts: list[str], seed: int = 0
) -> tuple[np.ndarray, list[float]]:
    """Verdicts, bool ``(n,)``, by thresholds that were chosen without the rows they judge, and the two thresholds.

    The prompts are put into two halves by ``seed``; each half is judged by :func:`best_threshold` of the other. With one prompt
    there is one threshold, 0.
    """
    names = sorted(set(prompts))
    if len(names) < 2:
        return np.asarray(scores) > 0, [0.0, 0.0]
    half = dict(zip(names, np.random.default_rng(seed).permutation(len(names)) % 2, strict=True))
    side = np.array([half[prompt] for prompt in prompts])
    thresholds = [best_threshold(scores[side != number], labels[side != number]) for number in (0, 1)]
    return scores > np.array(thresholds)[side], thresholds


def wins(better: np.ndarray, worse: np.ndarray) -> np.ndarray:
    """For each pair 1 where the better one scores higher, 0 where lower, ½ for a tie: ``(m,)``; their mean is the accuracy."""
    return (np.sign(np.asarray(better, dtype=float) - np.asarray(worse, dtype=float)) + 1) / 2


def weighted_mean(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean of ``values`` ``(n,)`` for each draw; NaN values are left out."""
    known = ~np.isnan(values)
    weights = _weights(weights, len(values))[:, known]
    return _ratio(weights @ values[known], weights.sum(axis=1))


def length_strata(responses: list[str]) -> np.ndarray:
    """Each response's stratum, int ``(n,)``: the quarters of the responses by characters, fewer where many are equal."""
    sizes = [len(response) for response in responses]
    edges = np.unique(np.quantile(sizes, np.linspace(0, 1, STRATA + 1)))
    return np.clip(np.searchsorted(edges, sizes, side="left") - 1, 0, None)


def shown(figure: dict, digits: int = 3) -> str:
    """``{"value", "low", "high"}`` as a text, with dashes for what is not defined."""
    if figure["value"] is None:
        return "–"
    low, high = ("–" if figure[end] is None else f"{figure[end]:.{digits}f}" for end in ("low", "high"))
    return f"{figure['value']:.{digits}f} [{low}, {high}]"


def draw_figures(axis, spots: list[float], figures: list[dict], color: str, label: str, line: str = "o", size: int = 4) -> None:
    """Points of ``{"value", "low", "high"}`` at these places with their intervals; what is not defined is left out."""
    known = [(x, one) for x, one in zip(spots, figures, strict=True) if one["value"] is not None]
    for x, one in known:
        if one["low"] is not None:
            axis.plot([x, x], [one["low"], one["high"]], color=color, lw=1, alpha=0.6 if line != "o" else 1)
    axis.plot([x for x, _ in known], [one["value"] for _, one in known], line, ms=size, lw=1, color=color, label=label)


def _table(verdicts: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """True positives, false positives, false negatives, true negatives: ``(draws,)`` each."""
    verdicts, labels = np.asarray(verdicts, dtype=bool), np.asarray(labels, dtype=bool)
    weights = _weights(weights, len(labels))
    cells = (verdicts & labels, verdicts & ~labels, ~verdicts & labels, ~verdicts & ~labels)
    return tuple((weights * cell).sum(axis=1) for cell in cells)


def _weights(weights: np.ndarray | None, n: int) -> np.ndarray:
    return np.ones((1, n)) if weights is None else weights


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotient, NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)
