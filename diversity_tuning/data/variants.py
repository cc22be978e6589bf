"""Experimental: other uses of the deviations, to find out whether DDPO can lose less (docs/LOG.md).

With the powers of ``--weight_power`` (:func:`~diversity_tuning.deviation.response_weights`) these are the flags of stage 3 that
stay only where they are found to help.
"""

import zlib

import numpy as np


def mix(chosen: np.ndarray, rejected: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray, dict]:
    """λ + (1 − λ)·δ for both columns, each (n,); λ = ``share`` in [0, 1]. Over a prompt's responses the mean stays 1.

    The loss is then λ times DPO's plus 1 − λ times DDPO's.
    """
    return *(share + (1 - share) * side for side in (chosen, rejected)), {"share_of_plain_loss": share}


def drawn_rows(chosen: np.ndarray, seed: int, split: str) -> np.ndarray:
    """As many rows as there are, drawn with replacement with probability in proportion to δ of the chosen; int (n,), ascending.

    All rows, each once, where every δ is 0. The same seed draws from every split in its own way.
    """
    total = chosen.sum()
    if not total > 0:
        return np.arange(len(chosen))
    rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
    return np.sort(rng.choice(len(chosen), size=len(chosen), p=chosen / total))


def resample(chosen: np.ndarray, rejected: np.ndarray, seed: int, split: str) -> tuple:
    """(rows, both columns (n,), what came of it): pairs drawn instead of weighted, all of the weight mean(δ).

    The expected sum of gradients is that of the weighted pairs: each is drawn n·δ/Σδ times and weighs Σδ/n.
    """
    rows = drawn_rows(chosen, seed, split)
    columns = [np.full(len(rows), side.mean() if len(side) else 1.0) for side in (chosen, rejected)]
    return rows, *columns, {"resampled": len(rows), "different_pairs": len(np.unique(rows))}
