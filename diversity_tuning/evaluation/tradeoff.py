"""Diversity at equal quality: a model against the concave hull of other models, which mixtures of these reach."""

import numpy as np

from diversity_tuning.evaluation.statistics import bootstrap_means, concave_hull_at, overall_mean, t_interval

DRAWS = 2000
LEAST_COVERED = 0.9  # share of draws that must reach a place of a hull for its band to be drawn there
Points = list[tuple[np.ndarray, np.ndarray]]  # quality and diversity of each, ``(seeds, prompts)``


def difference_at_equal_quality(
    target: tuple[np.ndarray, np.ndarray], others: Points, draws: int = DRAWS, seed: int = 0, nested: bool = False
) -> dict[str, float] | None:
    """Diversity of ``target`` minus the hull's at the target's quality: mean, low, high, covered, t_low, t_high, t_seeds.

    The hull is the upper concave one (:func:`~.statistics.concave_hull_at`) of the other models' means; drawing a model at
    random for each prompt reaches it. Target and others are a pair of quality (reward, or another measure of it) and diversity,
    each ``(seeds, prompts)`` for the same seeds and prompts (``nested``: each seed its own). The 95% interval resamples prompts
    and seeds (:func:`~.statistics.bootstrap_means`), the same ones for all models, and takes the hull of each draw; ``covered``
    is the share of draws in which the target lay within the hull's range (the others are left out). ``t_low``, ``t_high``:
    Student's interval of the seeds' own differences, of the ``t_seeds`` seeds in which the target lay within the range.
    None when the target is outside the range, or there are fewer than 2 others.
    """
    if len(others) < 2:
        return None
    values = _whole([target, *others], nested)
    point = _difference(_means(values, nested)[None])[0]
    if np.isnan(point):
        return None
    differences = _difference(_resampled(values, draws, seed, nested))
    inside = differences[~np.isnan(differences)]
    low, high = np.quantile(inside, [0.025, 0.975]) if inside.size else (np.nan, np.nan)
    of_seeds = _difference(np.array([_means(values[:, :, [place]], nested) for place in range(values.shape[2])]))
    t_low, t_high = t_interval(of_seeds[:, None])
    found = {"mean": float(point), "low": float(low), "high": float(high), "covered": inside.size / draws}
    return found | {"t_low": t_low, "t_high": t_high, "t_seeds": int((~np.isnan(of_seeds)).sum())}


def hull_line(means: np.ndarray) -> list[tuple[float, float]]:
    """The corners of the upper concave hull of points ``(n, 2)`` from its highest on, in the order of quality.

    Left of the highest point nothing is gained: it has more of both.
    """
    points = sorted({tuple(map(float, point)) for point in means if not np.isnan(point).any()})
    if not points:
        return []
    x, y = np.array(points).T
    corners = []
    for place in range(int(np.argmax(y)), len(points)):
        rest = np.arange(len(points)) != place
        below = concave_hull_at(x[rest], y[rest], x[place])
        if not y[place] <= below:  # NaN at either end: a corner
            corners.append(points[place])
    return corners


def hull_band(points: Points, grid: np.ndarray, draws: int = DRAWS, seed: int = 0, nested: bool = False) -> np.ndarray:
    """Lower and upper end of a hull's 95% interval at every quality of ``grid`` (n,): ``(2, n)``.

    NaN where fewer than :data:`LEAST_COVERED` of the draws reach. ``points``: as the others of
    :func:`difference_at_equal_quality`, at least 2.
    """
    drawn = _resampled(_whole(points, nested), draws, seed, nested)  # (draws, points, 2)
    hulls = concave_hull_at(drawn[..., 0], drawn[..., 1], np.repeat(grid[:, None], draws, axis=1))
    known = (~np.isnan(hulls)).mean(axis=1) >= LEAST_COVERED
    band = np.full((2, len(grid)), np.nan)
    if known.any():
        band[:, known] = np.nanquantile(hulls[known], [0.025, 0.975], axis=1)
    return band


def _whole(points: Points, nested: bool) -> np.ndarray:
    """``(runs, 2, seeds, prompts)``, NaN in all where one has no value: of a prompt, or of a prompt of one seed."""
    values = np.stack([np.stack(pair) for pair in points]).astype(float)
    values[..., np.isnan(values).any(axis=(0, 1)) if nested else np.isnan(values).any(axis=(0, 1, 2))] = np.nan
    return values


def _means(values: np.ndarray, nested: bool) -> np.ndarray:
    """``(runs, 2)``"""
    return np.array([[overall_mean(each, nested) for each in pair] for pair in values])


def _resampled(values: np.ndarray, draws: int, seed: int, nested: bool) -> np.ndarray:
    """``(draws, runs, 2)``, the same prompts and seeds in all runs of a draw."""
    return np.array([[bootstrap_means(each, draws, seed, nested) for each in pair] for pair in values]).transpose(2, 0, 1)


def _difference(means: np.ndarray) -> np.ndarray:
    """``means`` is ``(draws, runs, 2)``: quality and diversity of the target, then of the others. ``(draws,)``."""
    return means[:, 0, 1] - concave_hull_at(means[:, 1:, 0], means[:, 1:, 1], means[:, 0, 0])
