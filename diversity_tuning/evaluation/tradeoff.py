"""Diversity at equal quality: a run against the quality–diversity curve of another method at several strengths."""

import numpy as np

from diversity_tuning.evaluation.statistics import bootstrap_means, overall_mean

DRAWS = 2000
LEAST_COVERED = 0.9  # share of draws that must reach a place of a curve for its band to be drawn there
Points = list[tuple[np.ndarray, np.ndarray]]  # quality and diversity of each, ``(seeds, prompts)``


def interpolate_curve(quality: float | np.ndarray, qualities: np.ndarray, diversities: np.ndarray) -> np.ndarray:
    """Diversity of curves at ``quality`` (...): linear between neighbouring points in quality; NaN outside their range.

    ``qualities`` and ``diversities`` are ``(..., points)``, at least 2 points, in any order; leading axes broadcast. Returns
    ``(...)``.
    """
    order = np.argsort(qualities, axis=-1, kind="stable")
    x, y = np.take_along_axis(qualities, order, axis=-1), np.take_along_axis(diversities, order, axis=-1)
    at = np.asarray(quality, dtype=float)[..., None]
    left = np.clip((x <= at).sum(axis=-1, keepdims=True) - 1, 0, x.shape[-1] - 2)
    x, y = (np.broadcast_to(each, (*left.shape[:-1], each.shape[-1])) for each in (x, y))
    (x0, y0), (x1, y1) = ([np.take_along_axis(each, place, axis=-1) for each in (x, y)] for place in (left, left + 1))
    share = np.divide(at - x0, x1 - x0, out=np.zeros_like(left, dtype=float), where=x1 > x0)
    inside = (at >= x[..., :1]) & (at <= x[..., -1:])
    return np.where(inside, y0 + share * (y1 - y0), np.nan)[..., 0]


def difference_at_equal_quality(
    target: tuple[np.ndarray, np.ndarray], front: Points, draws: int = DRAWS, seed: int = 0, nested: bool = False
) -> dict[str, float] | None:
    """Diversity of ``target`` minus the curve's at the target's quality: ``{"mean", "low", "high", "covered"}``.

    Target and every point of the curve are a pair of quality (reward, or another measure of it) and diversity, each
    ``(seeds, prompts)`` for the same seeds and prompts (``nested``: each seed its own); means over both are what is
    interpolated. The 95% interval resamples prompts and seeds (:func:`~.statistics.bootstrap_means`), the same ones for target
    and curve; ``covered`` is the share of draws in which the target lay within the curve's range (the others are left out).
    None when the target is outside the range, or the curve has fewer than 2 points.
    """
    if len(front) < 2:
        return None
    values = _whole([target, *front], nested)
    point = _difference(_means(values, nested)[None])[0]
    if np.isnan(point):
        return None
    differences = _difference(_resampled(values, draws, seed, nested))
    inside = differences[~np.isnan(differences)]
    low, high = np.quantile(inside, [0.025, 0.975]) if inside.size else (np.nan, np.nan)
    return {"mean": float(point), "low": float(low), "high": float(high), "covered": inside.size / draws}


def undominated(points: Points, nested: bool = False) -> Points:
    """The points of a curve whose means over prompts and seeds are on the Pareto front of all of them, in their order.

    Chosen once, by the means: a draw of the bootstrap keeps the same points.
    """
    if not points:
        return points
    kept = pareto_front(_means(_whole(points, nested), nested))
    return [point for point, keep in zip(points, kept, strict=True) if keep]


def curve_band(points: Points, grid: np.ndarray, draws: int = DRAWS, seed: int = 0, nested: bool = False) -> np.ndarray:
    """Lower and upper end of a curve's 95% interval at every quality of ``grid`` (n,): ``(2, n)``.

    NaN where fewer than :data:`LEAST_COVERED` of the draws reach. ``points``: as the curve of
    :func:`difference_at_equal_quality`, at least 2.
    """
    drawn = _resampled(_whole(points, nested), draws, seed, nested)  # (draws, points, 2)
    curves = interpolate_curve(np.repeat(grid[:, None], draws, axis=1), drawn[..., 0], drawn[..., 1])
    known = (~np.isnan(curves)).mean(axis=1) >= LEAST_COVERED
    band = np.full((2, len(grid)), np.nan)
    if known.any():
        band[:, known] = np.nanquantile(curves[known], [0.025, 0.975], axis=1)
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
    """``means`` is ``(draws, runs, 2)``: quality and diversity of the target, then of the curve's points. ``(draws,)``."""
    return means[:, 0, 1] - interpolate_curve(means[:, 0, 0], means[:, 1:, 0], means[:, 1:, 1])


def pareto_front(points: np.ndarray) -> np.ndarray:
    """Which points, ``(n, 2)`` with more being better in both, no other point beats or equals in both: bool ``(n,)``.

    Points with NaN are never on the front; equal points are on it together.
    """
    known = ~np.isnan(points).any(axis=1)
    one, other = points[:, None], points[None]
    beaten = ((other >= one).all(axis=2) & (other > one).any(axis=2) & known[None]).any(axis=1)
    return known & ~beaten
