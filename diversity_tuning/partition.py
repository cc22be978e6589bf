"""Which texts are the same for a reader: classes joined by pairs that are near, and the calibrated threshold of "near"."""

import json
from pathlib import Path

import numpy as np

from diversity_tuning.errors import UserError

THRESHOLD_FILE = "threshold.json"  # what scripts_eval.distinct_threshold writes


def unit_vectors(embeddings: np.ndarray) -> np.ndarray:
    """``(n, d)`` as float64 of norm 1; a zero vector stays zero. :class:`ValueError` when a value is not finite."""
    vectors = np.asarray(embeddings, dtype=np.float64)
    if not np.isfinite(vectors).all():
        raise ValueError("embeddings must be finite")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)


def distances_of(embeddings: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Cosine distance of each pair of rows, ``(m,)`` in [0, 2]; ``pairs`` int ``(m, 2)``."""
    units = unit_vectors(embeddings)
    return np.clip(1 - np.einsum("md,md->m", units[pairs[:, 0]], units[pairs[:, 1]]), 0, 2)


def clusters(count: int, pairs: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Number of each of ``count`` rows' cluster, int ``(count,)``: rows joined by pairs that are ``same``, bool ``(m,)``.

    With the pairs of one prompt only, no cluster spans two prompts.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    linked = pairs[np.asarray(same, dtype=bool)]
    graph = coo_array((np.ones(len(linked)), (linked[:, 0], linked[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def near_classes(embeddings: np.ndarray, threshold: float) -> np.ndarray:
    """The class of each of the n responses to one prompt, int ``(n,)``: those at most ``threshold`` apart, also through others.

    ``embeddings`` (n, d), n >= 1; ``threshold`` a cosine distance.
    """
    count = len(embeddings)
    pairs = np.stack(np.triu_indices(count, k=1), axis=1)
    return clusters(count, pairs, distances_of(embeddings, pairs) <= threshold)


def share_outside_class(classes: np.ndarray, minimum: float = 0.0) -> np.ndarray:
    """The share of the other responses that are of another class than each one's own, float64 ``(n,)`` in [minimum, 1].

    .. math:: d_i = \\max\\Big(\\frac{n - |c(i)|}{n - 1}, \\text{minimum}\\Big)

    DARLING's diversity of a response (arXiv 2509.02534). Its published code has the floor .1. One response alone is given 1.
    """
    classes = np.asarray(classes)
    if len(classes) < 2:
        return np.ones(len(classes))
    sizes = np.bincount(classes)[classes]
    return np.maximum((len(classes) - sizes) / (len(classes) - 1), minimum)


def read_threshold(given: str | None, semantic_model: str) -> dict:
    """The threshold as a dict with ``threshold``: a number given, the file of a calibration for this encoder, or None."""
    if given is None:
        return {"threshold": None}
    number = number_or_none(given)
    if number is not None:
        if not 0 <= number <= 2:
            raise UserError(f"--distinct_threshold {given}: a cosine distance lies between 0 and 2")
        return {"threshold": number}
    path = Path(given) / THRESHOLD_FILE if Path(given).is_dir() else Path(given)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        made_for, threshold = content["semantic_model"], float(content["threshold"])
    except FileNotFoundError:
        raise UserError(
            f"--distinct_threshold {given}: neither a number nor an output of scripts_eval.distinct_threshold"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not written by scripts_eval.distinct_threshold ({error!r})") from None
    if made_for != semantic_model:
        raise UserError(f"{path}: calibrated for the encoder {made_for}, not for {semantic_model}; calibrate again")
    return {**content, "threshold": threshold}


def number_or_none(text: object) -> float | None:
    """The number in a text, or None."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
