"""Deviation: how far a response lies from the other responses to its prompt, as a loss weight. Knows no files or models."""

from collections.abc import Sequence

import numpy as np

# Distances closer together than this are one value: embeddings are float32, whose rounding must not be stretched to [0, 1].
CONSTANT = 1e-7


def mean_cosine_distance(embeddings) -> np.ndarray:
    """Mean cosine distance of each response to the others.

    .. math:: d_i = \\frac{1}{n-1} \\sum_{j \\ne i} (1 - \\cos(e_i, e_j))

    ``embeddings`` (n, d), n >= 2, of any norm (a zero vector is at distance 1 from all). Returns float64 (n,) in [0, 2],
    in O(n d): the cosines of i to all others add up to one product with the sum of the unit vectors.
    Raises :class:`ValueError` for another shape or a value that is not finite.
    """
    vectors = np.asarray(embeddings, dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) < 2:
        raise ValueError(f"embeddings must be (n, d) with n >= 2, not {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError("embeddings must be finite")
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    vectors = np.divide(
        vectors, largest, out=np.zeros_like(vectors), where=largest > 0
    )  # so that squares neither over- nor underflow
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    cosines = units @ units.sum(axis=0) - (units * units).sum(axis=1)
    return np.clip(1 - cosines / (len(units) - 1), 0, 2)


def combine_distances(distances: Sequence) -> np.ndarray:
    """Geometric mean over types of the distances, each type scaled to [0, 1] by its minimum and maximum.

    One (n,) array per type. A type that is constant says nothing and is left out; ones when all are. Returns (n,) in [0, 1].
    """
    types = [np.asarray(one, dtype=np.float64) for one in distances]
    if not types or any(one.ndim != 1 or one.shape != types[0].shape or one.size == 0 for one in types):
        raise ValueError("expected one or more arrays of the same shape (n,), n >= 1")
    if not all(np.isfinite(one).all() for one in types):
        raise ValueError("distances must be finite")
    scaled = [(one - one.min()) / np.ptp(one) for one in types if np.ptp(one) > CONSTANT]
    if not scaled:
        return np.ones_like(types[0])
    return np.prod(scaled, axis=0) ** (1 / len(scaled))


def normalise_deviation(combined: np.ndarray) -> np.ndarray:
    """Divide by the mean; ones where every entry is 0, so that the prompt is not lost. (n,) to (n,), mean 1."""
    mean = combined.mean()
    return combined / mean if mean > 0 else np.ones_like(combined)


def deviation_weights(distances: Sequence) -> np.ndarray:
    """The loss weights delta of a prompt's responses: min-max per type, geometric mean over types, divided by the mean.

    ``distances`` holds one (n,) array per type, from :func:`mean_cosine_distance`. Returns float64 (n,), >= 0, mean 1.
    Where every product is 0 (possible with few responses; the published code then drops the prompt) all weights are 1.
    Source: arXiv 2503.17126, section 3; checked against the published code's figures. Raises :class:`ValueError`.
    """
    return normalise_deviation(combine_distances(distances))
