"""Diversity at equal reward: a run against the reward–diversity front of another method at several strengths."""

import numpy as np

from diversity_tuning.evaluation.statistics import bootstrap_means, overall_mean

DRAWS = 2000


def interpolate_curve(reward: float, rewards: np.ndarray, diversities: np.ndarray) -> float:
    """Diversity of a curve at ``reward``: linear between neighbouring points in reward; NaN outside their range.

    ``rewards`` and ``diversities`` are ``(points,)``, at least 2, in any order.
    """
    order = np.argsort(rewards, kind="stable")
    return float(np.interp(reward, rewards[order], diversities[order], left=np.nan, right=np.nan))


def difference_at_equal_reward(
    target: tuple[np.ndarray, np.ndarray],
    front: list[tuple[np.ndarray, np.ndarray]],
    draws: int = DRAWS,
    seed: int = 0,
    nested: bool = False,
) -> dict[str, float] | None:
    """Diversity of ``target`` minus the curve's at the target's reward: ``{"mean", "low", "high", "covered"}``.

    Target and every point of the curve are a pair of reward and diversity, each ``(seeds, prompts)`` for the same seeds and
    prompts (``nested``: each seed its own); means over both are what is interpolated. The 95% interval resamples prompts and
    seeds (:func:`~.statistics.bootstrap_means`), the same ones for target and curve; ``covered`` is the share of draws in which
    the target lay within the curve's range (the others are left out).
    None when the target is outside the range, or the curve has fewer than 2 points.
    """
    if len(front) < 2:
        return None
    values = np.stack([np.stack(pair) for pair in (target, *front)]).astype(float)  # (runs, 2, seeds, prompts)
    values[..., np.isnan(values).any(axis=(0, 1)) if nested else np.isnan(values).any(axis=(0, 1, 2))] = np.nan
    point = _difference(np.array([[overall_mean(each, nested) for each in pair] for pair in values]))
    if np.isnan(point):
        return None
    means = np.array([[bootstrap_means(each, draws, seed, nested) for each in pair] for pair in values]).transpose(2, 0, 1)
    differences = np.array([_difference(draw) for draw in means])
    inside = differences[~np.isnan(differences)]
    low, high = np.quantile(inside, [0.025, 0.975]) if inside.size else (np.nan, np.nan)
    return {"mean": point, "low": float(low), "high": float(high), "covered": inside.size / draws}


def _difference(means: np.ndarray) -> float:
    """``means`` is ``(runs, 2)``: reward and diversity of the target, then of the curve's points."""
    reward, diversity = means[0]
    return diversity - interpolate_curve(reward, means[1:, 0], means[1:, 1])


def pareto_front(points: np.ndarray) -> np.ndarray:
    """Which points, ``(n, 2)`` with more being better in both, no other point beats or equals in both: bool ``(n,)``.

    Points with NaN are never on the front; equal points are on it together.
    """
    known = ~np.isnan(points).any(axis=1)
    one, other = points[:, None], points[None]
    beaten = ((other >= one).all(axis=2) & (other > one).any(axis=2) & known[None]).any(axis=1)
    return known & ~beaten
