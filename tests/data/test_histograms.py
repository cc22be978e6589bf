"""Bins and the figure."""

import numpy as np
import pytest

from diversity_tuning.data import describe


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [
        ([1, 2, 2, 7], False),
        ([0, 1, 1, 1, 5000], True),
        ([-40, 0, 3], False),
        ([0.1, 0.7], False),
        ([3], False),
        ([2.5], False),
    ],
)
def test_every_value_lies_in_a_bin(values, logarithmic):
    values = np.array(values, dtype=float)
    edges, grows = describe.bins(values)
    assert grows is logarithmic
    assert (np.diff(edges) > 0).all()
    assert np.histogram(values, edges)[0].sum() == len(values)


def test_whole_numbers_have_bins_of_the_same_number_of_values():
    edges, _ = describe.bins(np.arange(40, 95, dtype=float))
    assert set(np.diff(edges)) == {2}
    assert set(np.histogram(np.arange(40, 94), edges)[0]) == {2, 0}


def test_figure(tmp_path):
    splits = {"train": {"a": np.arange(5.0), "b": np.array([])}, "test": {"a": np.array([1.0]), "c": np.array([0.5])}}
    describe.draw_histograms(tmp_path / "one.png", splits, "title")
    describe.draw_histograms(tmp_path / "none.png", {"train": {}})
    assert (tmp_path / "one.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "none.png").exists()
