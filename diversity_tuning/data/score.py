"""Stage 0: titles without tags, votes mapped to [-1, 1]."""

import re
from itertools import chain, islice

import numpy as np
import pyarrow.compute as pc

from diversity_tuning.data import schema
from diversity_tuning.data.validate import NUMBERS, TEXT

ADDED = {schema.POST_TITLE: TEXT, schema.POST_TEXT: TEXT, schema.TRANSFORMED_SCORE: NUMBERS}  # by :func:`score_batch`
_TAGS = re.compile(r"^(?:\s*\[[^\[\]]*\])+")


def clean_title(title: str) -> str:
    """``title`` without the bracketed tags at its start (``[WP]``, ``[TT]``, …) and without outer spaces."""
    return _TAGS.sub("", title).strip()


def transform_votes(votes, min_vote: int, max_vote: int, compression_factor: int = 100) -> np.ndarray:
    """Map votes to [-1, 1], flattening the heavy tail of upvotes.

    .. math:: 2 (f(v - min + 1) - f(1)) / (f(max - min + 1) - f(1)) - 1

    with f = log(x + 1) applied ``compression_factor`` times. ``min_vote`` and ``max_vote`` are those of the whole source;
    where they are equal every vote becomes 0. Shape (n,) in, float64 (n,) out. Equal to the published values when
    ``min_vote`` is 1. Raises :class:`ValueError` for votes outside [min_vote, max_vote], NaN or a negative factor.
    """
    votes = np.asarray(votes, dtype=np.float64)
    if compression_factor < 0:
        raise ValueError(f"compression_factor must not be negative, not {compression_factor}")
    if votes.size and not (np.all(votes >= min_vote) and np.all(votes <= max_vote)):
        raise ValueError(f"votes must lie between min_vote {min_vote} and max_vote {max_vote}")
    if min_vote == max_vote:
        return np.zeros_like(votes)
    values = np.concatenate([votes.ravel() - min_vote + 1, [1.0, float(max_vote) - min_vote + 1]])
    for _ in range(compression_factor):
        values = np.log1p(values)
    low, high = values[-2:]
    return np.clip(2 * (values[:-2] - low) / (high - low) - 1, -1, 1).reshape(votes.shape)


def vote_range(dataset) -> tuple[int, int]:
    """Smallest and largest vote of the whole source; (0, 0) when there is none."""
    low, high = None, None
    arrow = dataset.select_columns([schema.COMMENT_SCORES]).with_format("arrow")
    for batch in arrow.iter(1000):
        found = pc.min_max(pc.list_flatten(batch.column(0).combine_chunks())).as_py()
        if found["min"] is not None:
            low = found["min"] if low is None else min(low, found["min"])
            high = found["max"] if high is None else max(high, found["max"])
    return (0, 0) if low is None else (low, high)


def score_batch(batch: dict, indices: list[int], low: int, high: int, compression_factor: int) -> dict:
    """Clean the titles of a batch of rows and add their transformed votes."""
    votes = batch[schema.COMMENT_SCORES]
    values = iter(transform_votes(list(chain.from_iterable(votes)), low, high, compression_factor).tolist())
    return {
        schema.POST_TITLE: [clean_title(title) for title in batch[schema.POST_TITLE]],
        schema.POST_TEXT: [text or "" for text in batch[schema.POST_TEXT]],
        schema.TRANSFORMED_SCORE: [list(islice(values, len(row))) for row in votes],
    }
