"""Weights that are controls of stage 3: the deviations of the wrong pairs, or one number for all pairs."""

import zlib

import numpy as np

SCOPES = ("prompt", "all")


def permuted_rows(prompts: np.ndarray, scope: str, rng: np.random.Generator) -> np.ndarray:
    """Which row each row takes its deviations from: a uniformly random permutation of ``range(n)``, int ``(n,)``.

    ``prompts`` (n,) tells the rows of one prompt. ``scope`` ``"prompt"`` permutes among them only, ``"all"`` over all
    rows. A row may draw its own: a permutation without fixed points would make the weights of a prompt with few pairs
    *anti*-correlate with the deviations, which is information; by a uniform one every pair expects its prompt's mean.
    """
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {', '.join(SCOPES)}, not {scope!r}")
    if scope == "all":
        return rng.permutation(len(prompts))
    rows = np.empty(len(prompts), dtype=int)
    rows[np.argsort(prompts, kind="stable")] = np.lexsort((rng.random(len(prompts)), prompts))
    return rows


def permute(
    chosen: np.ndarray, rejected: np.ndarray, prompts: np.ndarray, scope: str, seed: int, split: str
) -> tuple[np.ndarray, np.ndarray, dict]:
    """Both columns of deviations, each (n,), moved to other pairs by one permutation, and what came of it.

    Each column keeps its multiset of values. The same seed permutes every split in its own way. The report counts pairs whose
    chosen deviation is what it was (their own row, or an equal one), and the correlation with the real ones.
    """
    rows = permuted_rows(prompts, scope, np.random.default_rng([seed, zlib.crc32(split.encode())]))
    moved = chosen[rows], rejected[rows]
    varies = len(chosen) > 1 and np.ptp(chosen) > 0
    correlation = round(float(np.corrcoef(chosen, moved[0])[0, 1]), 4) if varies else None
    return *moved, {"permuted": scope, "unchanged_pairs": int((moved[0] == chosen).sum()), "correlation_with_real": correlation}


def constant(chosen: np.ndarray, rejected: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict]:
    """Both columns replaced by their means, each (n,): steps as large as the real weights make them, and no choice of pairs."""
    means = [float(side.mean()) if len(side) else 1.0 for side in (chosen, rejected)]
    sides = (np.full(len(side), mean) for side, mean in zip((chosen, rejected), means, strict=True))
    return *sides, {"constant": means[0], "constant_rejected": means[1]}
