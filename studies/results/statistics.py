"""What the documents say of a family of comparisons: p values by Student and Holm, and how much of a gain remains."""

from collections.abc import Iterable

import numpy as np

from diversity_tuning.evaluation.statistics import DRAWS, bootstrap_means, overall_mean, seed_means, t_interval


def t_test_p(mean: float, low: float, high: float, seeds: int) -> float:
    """Two-sided p of Student's t test that belongs to a 95% t interval over this many seeds, at least 2."""
    from scipy import stats

    scale = stats.t.ppf(0.975, seeds - 1) / ((high - low) / 2)
    return float(2 * stats.t.sf(abs(mean) * scale, seeds - 1))


def holm(p: np.ndarray) -> np.ndarray:
    """p values of a family of comparisons, ``(n,)``, adjusted so that any false one among them has the level (Holm 1979)."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted


def share_t_interval(one: np.ndarray, full: np.ndarray, base: np.ndarray) -> tuple[float, float]:
    """95% t interval over seeds of :func:`share_of_gain`, by the delta method: NaN for one seed. Arguments as there, nested."""
    kept, gain = seed_means(one) - seed_means(base), seed_means(full) - seed_means(base)
    share = kept.mean() / gain.mean()
    low, high = t_interval((kept - share * gain)[:, None] / gain.mean())
    return share + low, share + high


def family(differences: Iterable[np.ndarray]) -> str:
    """What is left of a table's differences, each ``(seeds, prompts)``, as one family of t tests over seeds.

    Empty for one seed. Where all seeds differ by the same there is no t, and the difference counts as not shown.
    """
    from scipy import stats

    means = [seed_means(one) for one in differences]
    if max(map(len, means), default=0) < 2:
        return ""
    p = np.array([stats.ttest_1samp(one, 0).pvalue if len(one) > 1 and np.ptp(one) > 1e-9 else 1.0 for one in means])
    alone, together = (p < 0.05).sum(), (holm(p) < 0.05).sum()
    return f" Of {len(p)} differences t excludes 0 in {alone}; after Holm over all of them, in {together}."


def share_of_gain(
    one: np.ndarray, full: np.ndarray, base: np.ndarray, draws: int = DRAWS, seed: int = 0, nested: bool = False
) -> dict[str, float]:
    """How much of the gain of ``full`` over ``base`` remains in ``one``: ``(one − base) / (full − base)``, of the means.

    ``{"mean", "low", "high"}`` with the 95% percentile interval. All are ``(prompts,)`` or ``(seeds, prompts)``, the same
    prompts in the same order; ``nested`` as in ``bootstrap_means``. A prompt that one of them has no value for is left out.
    The share is NaN where there is no gain. A draw without a gain (0 or less) allows any share: it counts below the lower end
    and above the upper one. Where 2.5% or more of the draws are such, the ends would be infinite, and the interval is NaN
    (Fieller's interval, too, is unbounded where the divisor may be 0).
    """
    values = np.stack([np.atleast_2d(np.asarray(each, dtype=float)) for each in (one, full, base)])
    values[:, np.isnan(values).any(axis=0)] = np.nan
    kept, gain = values[0] - values[2], values[1] - values[2]
    divisor = overall_mean(gain, nested)
    mean = overall_mean(kept, nested) / divisor if divisor > 0 else float("nan")
    drawn = np.stack([bootstrap_means(each, draws, seed, nested) for each in (kept, gain)])  # of the same prompts and seeds
    drawn = drawn[:, ~np.isnan(drawn[1])]
    none = drawn[1] <= 0
    if np.isnan(mean) or none.mean() >= 0.025:
        return {"mean": mean, "low": float("nan"), "high": float("nan")}
    shares = np.divide(drawn[0], drawn[1], out=np.full(none.shape, np.inf), where=~none)
    low, high = np.quantile(np.where(none, -np.inf, shares), 0.025), np.quantile(shares, 0.975)
    return {"mean": mean, "low": float(low), "high": float(high)}
