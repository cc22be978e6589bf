"""Votes of a contest as numbers that can be compared between contests, and captions dealt to the parts of the experiment."""

import numpy as np

PARTS = ("train", "other", "validation", "test")


def standardised(votes) -> np.ndarray:
    """``(log(1 + v) − mean) / standard deviation`` of the votes of one contest, (n,); zeros where all votes are equal.

    The spread is that of all n captions (divided by n). One unit is one standard deviation of the contest's log votes.
    """
    logs = np.log1p(np.asarray(votes, dtype=np.float64))
    centred = logs - logs.mean() if logs.size else logs
    spread = centred.std() if logs.size else 0.0
    return centred / spread if spread > 0 else np.zeros_like(centred)


def deal(count: int, shares: dict[str, float], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Indices of ``count`` captions dealt to parts at random, no index twice, each part ascending.

    ``shares``: name -> share of all; ``floor(share · count)`` captions go to every part but the first, which gets the rest.
    """
    order = rng.permutation(count)
    first, *others = shares
    sizes = {name: int(shares[name] * count + 1e-9) for name in others}
    ends = np.cumsum([0, *sizes.values()])
    dealt = {name: np.sort(order[start:end]) for name, start, end in zip(others, ends[:-1], ends[1:], strict=True)}
    return {first: np.sort(order[ends[-1] :])} | dealt
