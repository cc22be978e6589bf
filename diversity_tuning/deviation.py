"""Deviation: how far a response is from the other responses to its prompt, as a loss weight δ.

Arrays in, arrays out; only :func:`response_weights` may be given the name of an encoder to load.
"""

import functools
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
    # So that squares neither over- nor underflow.
    vectors = np.divide(vectors, largest, out=np.zeros_like(vectors), where=largest > 0)
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


def deviation_weights(distances: Sequence, *, power: float = 1.0, minimum: float = 0.0) -> np.ndarray:
    """The loss weights δ from distances: min-max per type, geometric mean over types, divided by the mean.

    ``distances`` holds one (n,) array per type, from :func:`mean_cosine_distance`. Returns float64 (n,), >= 0, mean 1.
    Where every product is 0 (possible with few responses; the published code then drops the prompt) all weights are 1.
    ``power`` and ``minimum``: as in :func:`response_weights`.
    Source: arXiv 2503.17126, section 3; checked against the published code's figures. Raises :class:`ValueError`.
    """
    if not power >= 0 or not minimum >= 0:
        raise ValueError(f"power and minimum must be at least 0, not {power} and {minimum}")
    combined = combine_distances(distances)
    combined = combined if power == 1 else combined**power
    mean = combined.mean()
    weights = combined / mean if mean > 0 else np.ones_like(combined)  # ones, so that the prompt is not lost
    return np.maximum(weights, minimum)


def response_weights(responses: Sequence, encoders, *, power: float = 1.0, minimum: float = 0.0) -> np.ndarray:
    """The loss weight δ of each response to one prompt: how far it is from the other responses, 1 on average.

    .. math:: \\delta_i \\propto \\Big(\\prod_t \\operatorname{minmax}(d_i^{(t)})\\Big)^{1/T}, \\qquad
              d_i = \\frac{1}{n-1} \\sum_{j \\ne i} (1 - \\cos(e_i, e_j)), \\qquad \\frac{1}{n} \\sum_i \\delta_i = 1

    ``responses``: n texts. ``encoders``: one or several, each a type of deviation (meaning, style, ...). An encoder is the
    name of one (``"builtin:minilm"``, a sentence-transformers id or folder), a callable that turns a list of texts into vectors
    (n, d), or the vectors themselves as an array (n, d), in the order of ``responses``. Vectors may have any norm.

    Returns float64 (n,), >= 0, mean 1. Distances are taken between distinct texts, and equal texts share a weight. One
    distinct text, or texts that no encoder tells apart, weigh 1 each. ``power`` τ replaces the product by its τ-th power before
    the mean is divided out (0: all weigh 1). ``minimum`` raises smaller weights to it at the end, so that with a minimum
    above 0 the mean may exceed 1, as with the paper's floor.

    Source: arXiv 2503.17126, section 3. Raises :class:`ValueError` for shapes that do not fit or values that are not finite.
    """
    texts = list(responses)
    if isinstance(responses, str) or not texts:
        raise ValueError("responses must be a sequence of at least one text")
    numbers: dict = {}
    distinct = [numbers.setdefault(text, len(numbers)) for text in texts]  # (n,): which distinct text each response is
    if len(numbers) < 2:
        return deviation_weights([np.zeros(len(texts))], power=power, minimum=minimum)
    first = np.unique(distinct, return_index=True)[1]
    distances = [mean_cosine_distance(_vectors(one, texts)[first]) for one in _each(encoders)]
    return deviation_weights([one[distinct] for one in distances], power=power, minimum=minimum)


@functools.lru_cache(maxsize=4)
def _load(name: str):
    """The encoder of this name, loaded once for all prompts."""
    from diversity_tuning.embeddings import load_encoder

    return load_encoder(name)


def _each(encoders) -> list:
    """One encoder or several as a list."""
    single = isinstance(encoders, str) or callable(encoders) or hasattr(encoders, "encode") or getattr(encoders, "ndim", 0) == 2
    listed = [encoders] if single else list(encoders)
    if not listed:
        raise ValueError("at least one encoder is needed")
    return listed


def _vectors(encoder, texts: list) -> np.ndarray:
    """The vectors (n, d) of ``texts`` from an encoder's name, an encoder, a callable, or the vectors themselves."""
    if isinstance(encoder, str):
        encoder = _load(encoder)
    if hasattr(encoder, "encode"):
        encoder = encoder.encode
    vectors = np.asarray(encoder(texts) if callable(encoder) else encoder)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise ValueError(f"vectors must be (n, d) for the n = {len(texts)} responses, not {vectors.shape}")
    return vectors
