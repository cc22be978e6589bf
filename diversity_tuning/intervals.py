"""The interval of a figure by its values over draws of a bootstrap."""

import numpy as np


def percentile_interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Lower and upper end of the percentile interval of ``draws``, any shape; both NaN where there is no draw.

    Draws that are NaN, in which the figure is not defined, are left out.
    """
    draws = np.asarray(draws, dtype=float)
    known = draws[~np.isnan(draws)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
