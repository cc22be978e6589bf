"""Uncertainty over prompts: bootstrap intervals, paired differences, and diversity at equal length."""

import numpy as np

DRAWS = 10_000
_BLOCK = 500  # draws at once, to bound memory


def bootstrap_means(values: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Means over resampled prompts and seeds: ``(draws,)``.

    ``values`` is ``(prompts,)`` or ``(seeds, prompts)``. Both axes are resampled with replacement and independently, so that a
    draw sees whole prompts and whole seeds (the crossed, or pigeonhole, bootstrap; Owen 2007). With one seed this is the plain
    bootstrap over prompts. NaN is left out of a mean.
    """
    values = np.atleast_2d(np.asarray(values, dtype=float))
    rng = np.random.default_rng(seed)
    seeds, prompts = values.shape
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    means = []
    for start in range(0, draws, _BLOCK):
        size = min(_BLOCK, draws - start)
        by_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size)
        by_prompt = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size)
        total = ((by_seed @ filled) * by_prompt).sum(axis=1)
        weight = ((by_seed @ known) * by_prompt).sum(axis=1)
        means.append(np.divide(total, weight, out=np.full(size, np.nan), where=weight > 0))
    return np.concatenate(means)


def mean_interval(values: np.ndarray, level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> dict[str, float]:
    """``{"mean", "low", "high"}``: the mean and its percentile bootstrap interval; all NaN when there is no value.

    ``values``: as in :func:`bootstrap_means`.
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0 or np.isnan(values).all():
        return dict.fromkeys(("mean", "low", "high"), float("nan"))
    low, high = np.nanquantile(bootstrap_means(values, draws, seed), [(1 - level) / 2, (1 + level) / 2])
    return {"mean": float(np.nanmean(values)), "low": float(low), "high": float(high)}


def paired_difference(one: np.ndarray, other: np.ndarray, draws: int = DRAWS, seed: int = 0) -> dict[str, float]:
    """Mean of ``one − other`` over prompts: ``{"mean", "low", "high", "p"}``.

    Both are ``(prompts,)`` or ``(seeds, prompts)``, the same prompts in the same order. ``p`` is two-sided, from random flips
    of the sign of each prompt's difference (the mean over seeds), so that seeds are not taken for independent prompts; at
    least 1 / (draws + 1).
    """
    difference = np.atleast_2d(np.asarray(one, dtype=float) - np.asarray(other, dtype=float))
    by_prompt = difference[:, ~np.isnan(difference).all(axis=0)]
    by_prompt = np.nanmean(by_prompt, axis=0) if by_prompt.size else np.empty(0)
    return {**mean_interval(difference, draws=draws, seed=seed), "p": sign_flip_p(by_prompt, draws, seed)}


def sign_flip_p(differences: np.ndarray, draws: int = DRAWS, seed: int = 0) -> float:
    """Two-sided p of "the differences, ``(n,)``, are symmetric around 0", by random sign flips; NaN for no difference."""
    if differences.size == 0:
        return float("nan")
    rng = np.random.default_rng(seed)
    observed = abs(differences.sum()) * (1 - 1e-12)  # a flip that gives the same sum counts, whatever the rounding
    at_least = 0
    for start in range(0, draws, _BLOCK):
        signs = rng.integers(0, 2, (min(_BLOCK, draws - start), differences.size)) * 2 - 1
        at_least += int((np.abs(signs @ differences) >= observed).sum())
    return (at_least + 1) / (draws + 1)


def at_equal_length(diversities: list[np.ndarray], lengths: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """Each run's diversity per prompt, moved to the runs' common mean length, and the slope it was moved along.

    Longer texts have nearer embeddings. Regression rather than matching, because every prompt is kept: the slope is that of
    diversity on the log of the mean words per response *within* runs (analysis of covariance), so that a difference between
    runs does not itself shape the slope. Arrays are ``(prompts,)`` per run and may differ in size; words of 0 count as 1.
    """
    logs = [np.log(np.maximum(np.asarray(length, dtype=float), 1.0)) for length in lengths]
    x = np.concatenate([log - np.nanmean(log) for log in logs])
    y = np.concatenate([np.asarray(d, dtype=float) - np.nanmean(d) for d in diversities])
    known = ~(np.isnan(x) | np.isnan(y))
    spread = float((x[known] ** 2).sum())
    slope = float((x[known] * y[known]).sum() / spread) if spread > 0 else 0.0
    common = float(np.mean([np.nanmean(log) for log in logs]))
    return [d - slope * (log - common) for d, log in zip(diversities, logs, strict=True)], slope
