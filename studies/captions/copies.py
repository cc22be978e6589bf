"""Which sampled captions are copies of training captions, word for word or nearly so."""

import re

import numpy as np

_KEPT = re.compile(r"[^\W_]+")
_APOSTROPHES = re.compile("['’‘`]")
NEAR = 0.85  # similarity from which on a caption is a near copy


def normalised(text: str) -> str:
    """Lower case, words separated by single spaces, without punctuation: "Don't  STEP on me!" is "dont step on me"."""
    return " ".join(_KEPT.findall(_APOSTROPHES.sub("", text.lower())))


def similarity_to(texts: list[str], known: list[str]) -> np.ndarray:
    """The highest similarity of each text to one of ``known``, in [0, 1], (n,): 0 where there is none.

    Similarity of two normalised texts: 2 · LCS / (characters of one + characters of the other), with LCS the length of their
    longest common subsequence of characters. Values below :data:`NEAR` may be given as 0.
    """
    from rapidfuzz import process
    from rapidfuzz.distance import Indel

    ours, theirs = [normalised(text) for text in texts], sorted({normalised(text) for text in known} - {""})
    if not ours or not theirs:
        return np.zeros(len(ours))
    found = process.cdist(ours, theirs, scorer=Indel.normalized_similarity, score_cutoff=NEAR, dtype=np.float32)
    return np.where([bool(text) for text in ours], found.max(axis=1), 0.0)
