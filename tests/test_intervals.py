"""The percentile interval by hand."""

import math

import numpy as np
import pytest

from diversity_tuning.intervals import percentile_interval


def test_the_middle_95_percent_of_the_draws_that_are_defined():
    draws = np.array([math.nan, *range(101), math.nan])
    assert percentile_interval(draws) == pytest.approx((2.5, 97.5))
    assert percentile_interval(draws, level=0.5) == pytest.approx((25, 75))


@pytest.mark.parametrize("draws", [[], [math.nan, math.nan]])
def test_without_a_draw_there_is_no_interval(draws):
    assert all(map(math.isnan, percentile_interval(draws)))
