"""Titles and votes."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diversity_tuning.data.score import clean_title, score_batch, transform_votes

ORACLE = json.loads((Path(__file__).parents[1] / "oracle" / "released_code.json").read_text())


@pytest.mark.parametrize(
    ("title", "clean"),
    [
        ("[WP] A door opens.", "A door opens."),
        ("[TT]A door opens.", "A door opens."),
        ("[wp] [EU] A door", "A door"),
        ("[WP][TT]  A door ", "A door"),
        ("  [WP] A door", "A door"),
        ("A [red] door", "A [red] door"),
        ("A door [WP]", "A door [WP]"),
        ("[WP]", ""),
        ("", ""),
        ("[WP A door", "[WP A door"),
        ("[Prompt Inspired] Ünïcode ✨", "Ünïcode ✨"),
        ("[WP]\nTwo lines", "Two lines"),
    ],
)
def test_clean_title(title, clean):
    assert clean_title(title) == clean


@pytest.mark.parametrize("case", ORACLE["transform_scores"]["cases"])
def test_votes_equal_the_published_code(case):
    found = transform_votes(case["votes"], case["min"], case["max"], case["compression_factor"])
    np.testing.assert_allclose(found, case["expected"], atol=1e-6)


def test_votes_by_hand():
    # log 2 = 0, log 4 = 1, log 3 between: f(x) = log(x + 1) once, with min 0, so x = v + 1.
    found = transform_votes([0, 1, 2], 0, 2, compression_factor=1)
    middle = 2 * (np.log(3) - np.log(2)) / (np.log(4) - np.log(2)) - 1
    np.testing.assert_allclose(found, [-1, middle, 1])


def test_equal_votes_are_all_zero():
    assert transform_votes([3, 3], 3, 3).tolist() == [0, 0]


@pytest.mark.parametrize("votes", [[0], [11], [float("nan")]])
def test_votes_outside_the_range(votes):
    with pytest.raises(ValueError, match="between"):
        transform_votes(votes, 1, 10)


def test_negative_factor():
    with pytest.raises(ValueError, match="compression_factor"):
        transform_votes([1], 1, 2, compression_factor=-1)


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=50), st.integers(0, 200))
def test_always_in_range_and_monotone(votes, factor):
    found = transform_votes(sorted(votes), min(votes), max(votes), factor)
    assert ((found >= -1) & (found <= 1)).all()
    assert (np.diff(found) >= 0).all()
    if min(votes) < max(votes):
        assert found[0] == -1
        assert found[-1] == 1


@pytest.mark.parametrize("sizes", [[0], [3, 0, 1, 17, 250]])
def test_a_batch_has_the_values_of_each_of_its_rows(sizes):
    rng = np.random.default_rng(0)
    votes = [rng.integers(0, 900, size=size).tolist() for size in sizes]
    batch = {"post_title": ["t"] * len(sizes), "post_text": [None] * len(sizes), "comment_scores": votes}
    found = score_batch(batch, [], 0, 900, 100)["transformed_score"]
    assert found == [transform_votes(row, 0, 900).tolist() for row in votes]
