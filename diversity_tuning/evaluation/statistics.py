"""Uncertainty over prompts: bootstrap intervals, paired differences, and diversity at equal length."""

import functools

import numpy as np

from diversity_tuning.intervals import percentile_interval

DRAWS = 10_000


def bootstrap_means(values: np.ndarray, draws: int = DRAWS, seed: int = 0, nested: bool = False) -> np.ndarray:
    """Means over resampled prompts and seeds: ``(draws,)``.

    ``values`` is ``(prompts,)`` or ``(seeds, prompts)``. Seeds with the same prompts (crossed): both axes are resampled with
    replacement and independently, so that a draw sees whole prompts and whole seeds (the pigeonhole bootstrap; Owen 2007).
    ``nested``: each seed has prompts of its own, rows of fewer prompts being filled up with NaN. Seeds are resampled, then
    prompts within each drawn seed, anew where a seed is drawn twice; seeds count equally.
    With one seed both are the plain bootstrap over prompts. NaN is left out of a mean. The same shape, ``draws`` and ``seed``
    draw the same prompts and seeds, so that differences of two results are differences within draws.
    """
    values = np.atleast_2d(np.asarray(values, dtype=float))
    if nested and len(values) > 1:
        return _nested_means(values, draws, seed)
    by_seed, by_prompt = (_times_drawn(size, draws, seed + i) for i, size in enumerate(values.shape))
    totals, counts = _totals(values, by_prompt)
    total, count = (by_seed * totals).sum(axis=1), (by_seed * counts).sum(axis=1)
    return np.divide(total, count, out=np.full(draws, np.nan), where=count > 0)


def _nested_means(values: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """One drawn seed after the other: its mean over prompts of its own draw, then the mean over the drawn seeds."""
    seeds, prompts = values.shape
    chosen = np.random.default_rng(seed).integers(0, seeds, (draws, seeds))
    means = np.full((draws, seeds), np.nan)
    for place in range(seeds):
        totals, counts = _totals(values, _times_drawn(prompts, draws, seed + 1 + place))
        of_seed = np.divide(totals, counts, out=np.full(totals.shape, np.nan, dtype=float), where=counts > 0)
        means[:, place] = of_seed[np.arange(draws), chosen[:, place]]
    known = ~np.isnan(means)
    number = known.sum(axis=1)
    return np.divide(np.where(known, means, 0.0).sum(axis=1), number, out=np.full(draws, np.nan), where=number > 0)


def _totals(values: np.ndarray, by_prompt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the drawn values of every seed, and how many there are: ``(draws, seeds)`` each."""
    known = ~np.isnan(values)
    return by_prompt @ np.where(known, values, 0.0).T.astype(np.float32), by_prompt @ known.T.astype(np.float32)


@functools.lru_cache(maxsize=12)
def _times_drawn(size: int, draws: int, seed: int) -> np.ndarray:
    """How often each of ``size`` things is drawn when ``size`` are drawn with replacement: float32 ``(draws, size)``."""
    drawn = np.random.default_rng(seed).integers(0, size, (draws, size))
    flat = drawn + size * np.arange(draws)[:, None]
    return np.bincount(flat.ravel(), minlength=draws * size).reshape(draws, size).astype(np.float32)


def cluster_weights(clusters: list, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each row counts when whole clusters (prompts) are drawn with replacement: float32 ``(draws, n)``.

    ``clusters``: n hashable names. For the interval of a figure that is no mean over prompts, such as a rate over responses.
    """
    number = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    return _times_drawn(len(number), draws, seed)[:, [number[name] for name in clusters]]


def bounded(value: np.ndarray, drawn: np.ndarray) -> dict[str, float | None]:
    """A figure ``(1,)`` with the 95% interval of its draws ``(draws,)``: ``{"value", "low", "high"}``, None where undefined."""
    figures = zip(("value", "low", "high"), (float(value[0]), *percentile_interval(drawn)), strict=True)
    return {name: one if np.isfinite(one) else None for name, one in figures}


@functools.lru_cache(maxsize=2)
def _signs(size: int, draws: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (draws, size), dtype=np.int8).astype(np.float32) * 2 - 1


def overall_mean(values: np.ndarray, nested: bool = False) -> float:
    """What :func:`bootstrap_means` resamples: the mean of all values, or, ``nested``, of the seeds' means. NaN where empty."""
    values = np.atleast_2d(np.asarray(values, dtype=float))
    if values.size == 0 or np.isnan(values).all():
        return float("nan")
    return float(np.mean(seed_means(values))) if nested else float(np.nanmean(values))


def seed_means(values: np.ndarray) -> np.ndarray:
    """The mean of each seed over its prompts, ``(seeds,)``, of the seeds that have a value; NaN is left out."""
    values = np.atleast_2d(np.asarray(values, dtype=float))
    return np.nanmean(values[~np.isnan(values).all(axis=1)], axis=1)


def mean_interval(
    values: np.ndarray, level: float = 0.95, draws: int = DRAWS, seed: int = 0, nested: bool = False
) -> dict[str, float]:
    """``{"mean", "low", "high"}``: the mean and its percentile bootstrap interval; all NaN when there is no value.

    ``values``, ``nested``: as in :func:`bootstrap_means`.
    """
    mean = overall_mean(values, nested)
    if np.isnan(mean):
        return dict.fromkeys(("mean", "low", "high"), float("nan"))
    low, high = percentile_interval(bootstrap_means(values, draws, seed, nested), level)
    return {"mean": mean, "low": low, "high": high}


def t_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean over seeds: ``mean ± t · sd / √seeds`` of the seeds' means; NaN for fewer than two.

    It speaks of seeds like these, and takes their means for normally distributed. ``values``: ``(seeds, prompts)``.
    """
    from scipy import stats

    means = seed_means(values)
    if len(means) < 2:
        return float("nan"), float("nan")
    half = stats.t.ppf((1 + level) / 2, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return float(means.mean() - half), float(means.mean() + half)


def paired_difference(
    one: np.ndarray, other: np.ndarray, draws: int = DRAWS, seed: int = 0, nested: bool = False
) -> dict[str, float]:
    """Mean of ``one − other`` over prompts: ``{"mean", "low", "high", "p", "t_low", "t_high"}``.

    Both are ``(prompts,)`` or ``(seeds, prompts)``, the same prompts in the same order; ``nested`` as in
    :func:`bootstrap_means`. ``p`` is two-sided, from random flips of the sign of each prompt's difference (where seeds share
    prompts, the mean over seeds, so that seeds are not taken for independent prompts); at least 1 / (draws + 1). It is
    conditional on the models trained: it speaks of other prompts, not of other seeds. ``t_low`` and ``t_high``
    (:func:`t_interval`) speak of other seeds.
    """
    difference = np.atleast_2d(np.asarray(one, dtype=float) - np.asarray(other, dtype=float))
    if nested:
        by_prompt = difference[~np.isnan(difference)]
    else:
        known = difference[:, ~np.isnan(difference).all(axis=0)]
        by_prompt = np.nanmean(known, axis=0) if known.size else np.empty(0)
    low, high = t_interval(difference)
    return {
        **mean_interval(difference, draws=draws, seed=seed, nested=nested),
        "p": sign_flip_p(by_prompt, draws, seed),
        "t_low": low,
        "t_high": high,
    }


def sign_flip_p(differences: np.ndarray, draws: int = DRAWS, seed: int = 0) -> float:
    """Two-sided p of "the differences, ``(n,)``, are symmetric around 0", by random sign flips; NaN for no difference."""
    if differences.size == 0:
        return float("nan")
    scaled = (differences / (np.abs(differences).max() or 1.0)).astype(np.float32)
    sums = np.abs(_signs(differences.size, draws, seed) @ scaled)
    at_least = int((sums >= abs(scaled.sum()) * (1 - 1e-5)).sum())  # an equal sum counts, whatever the rounding
    return (at_least + 1) / (draws + 1)


def at_equal_length(diversities: list[np.ndarray], lengths: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """Each run's diversity per prompt, moved to the runs' common mean length, and the slope it was moved along.

    Longer texts have nearer embeddings. Regression rather than matching, because every prompt is kept: the slope is that of
    diversity on the log of the mean words per response *within* runs (analysis of covariance), so that a difference between
    runs does not itself shape the slope. Arrays are ``(prompts,)`` per run and may differ in size; words of 0 count as 1.
    """
    logs = [np.log(np.maximum(np.asarray(length, dtype=float), 1.0)) for length in lengths]
    pairs = [np.stack([log, np.asarray(d, dtype=float)]) for log, d in zip(logs, diversities, strict=True)]
    pairs = [pair[:, ~np.isnan(pair).any(axis=0)] for pair in pairs]  # before the means: only whole pairs count
    x, y = np.concatenate(
        [pair - pair.mean(axis=1, keepdims=True) for pair in pairs if pair.size] or [np.empty((2, 0))], axis=1
    )
    spread = float((x**2).sum())
    slope = float((x * y).sum() / spread) if spread > 0 else 0.0
    common = float(np.mean([np.nanmean(log) for log in logs]))
    return [d - slope * (log - common) for d, log in zip(diversities, logs, strict=True)], slope


def concave_hull_at(x: np.ndarray, y: np.ndarray, at: float | np.ndarray) -> np.ndarray:
    """Height at ``at`` of the upper concave hull of the points ``(x, y)``; NaN left and right of all of them.

    The hull is what mixtures of the points reach: of two models, one of which is drawn at random for each prompt, any mean on
    the chord between theirs. ``x`` and ``y``: ``(..., n)``, points in any order, those with a NaN left out; ``at``: ``(...)``,
    which broadcasts against the axes before ``n`` (of one set of points: any shape). Returns ``(...)``.
    """
    x, y = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
    at = np.asarray(at, dtype=float)
    height = np.full(np.broadcast_shapes(at.shape, x.shape[:-1]), -np.inf)
    shape = (x.shape[-1], *(1,) * (height.ndim - x.ndim + 1), *x.shape[:-1])  # points first: the maximum over them is quick
    x, y = (np.ascontiguousarray(np.moveaxis(values, -1, 0)).reshape(shape) for values in (x, y))
    for x0, y0 in zip(x, y, strict=True):  # the hull is the highest of the chords between any two points
        apart = x != x0
        share = (at - x0) / np.where(apart, x - x0, 1.0)
        chord = np.where(share < 1, y0 + share * (y - y0), y)  # exact in both ends
        chord = np.where(apart, chord, np.maximum(y0, y))
        inside = (np.minimum(x0, x) <= at) & (at <= np.maximum(x0, x)) & ~np.isnan(y0 + y)
        height = np.maximum(height, np.where(inside, chord, -np.inf).max(axis=0))
    return np.where(np.isneginf(height), np.nan, height)
