"""The correlation of deviation and votes, and what is said of it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from diversity_tuning.data.popularity import QUALITY_ALONE, Popularity, pooled, popularity

PROMPTS, RESPONSES = ["a"] * 4 + ["b"] * 4, list("wxyzwxyz")


def of(deviations, votes, prompts=PROMPTS, responses=RESPONSES):
    return popularity(prompts, responses, np.array(deviations, dtype=float), np.array(votes))


def test_by_hand():
    """Prompt a: ranks 1 2 3 4 against 4 3 2 1, so -1. Prompt b: 1 2 3 4 against 1 2 4 3, so 1 - 6 * 2 / 60 = .8."""
    found = of([0, 1, 1.5, 2, 0, 1, 1.5, 2], [40, 30, 20, 10, 1, 2, 4, 3])
    assert (found.mean, found.prompts) == (pytest.approx(-0.1), 2)
    assert (found.low, found.high) == (pytest.approx(-1), pytest.approx(0.8))


def test_what_has_no_correlation_is_left_out():
    assert of([0, 1, 1.5, 2] * 2, [5] * 8) is None
    assert of([1] * 8, range(8)) is None
    assert of([0, 2], [1, 2], ["a", "a"], ["x", "y"]) is None
    found = of([0, 1, 1.5, 2, 0, 2, 0, 2], [4, 3, 2, 1, 1, 2, 1, 2], responses=list("wxyzwxwx"))
    assert found.prompts == 1  # prompt b has two responses, each in two pairs
    assert found.mean == pytest.approx(-1)


@pytest.mark.parametrize(("sign", "expected"), [(-1, "favour the common"), (1, "favour the unusual"), (0, "No sign")])
def test_the_sentence_follows_the_interval(sign, expected):
    rng = np.random.default_rng(0)
    deviations, noise = rng.random((2, 400))
    votes = 100 * (sign * deviations + 0.3 * noise)
    prompts = np.repeat(np.arange(50), 8).tolist()
    told = of(deviations, votes, prompts, list(range(400))).sentences()
    assert expected in told[1]
    assert "50 prompts" in told[0]


def test_a_lean_no_greater_than_that_of_votes_for_craft_alone_is_no_preference():
    """An interval below 0 is not enough: with votes for craft alone the miniature has one as well."""
    for low, high, expected in (
        (-0.03, -0.01, "not surely more"),
        (-0.2, -0.05, "not surely more"),
        (-0.2, -0.1, "favour the common"),
    ):
        assert expected in Popularity((low + high) / 2, low, high, (0.0,), 9).sentences()[1]


def test_the_correlation_of_craft_alone_is_the_published_one():
    table = pd.read_csv(Path(__file__).parents[2] / "results" / "miniature-popularity" / "popularity.csv")
    found = table.loc[(table["popularity"] == 0) & (table["seed"] == "all"), "correlation_mean"]
    assert round(found.iloc[0], 2) == QUALITY_ALONE


def test_ties_are_as_in_scipy():
    deviations, votes = np.random.default_rng(1).integers(0, 5, (2, 30))
    found = of(deviations, votes, ["a"] * 30, list(range(30)))
    assert found.mean == pytest.approx(spearmanr(deviations, votes).statistic)


def test_splits_are_pooled_by_prompt():
    """Prompts count equally, whichever split they are in."""
    one, other = (
        of([0, 1, 1.5, 2] * 2, [4, 3, 2, 1] * 2),
        of([0, 1, 2] * 2, [1, 2, 3] * 2, ["c"] * 3 + ["c"] * 3, list("xyzxyz")),
    )
    both = pooled([one, other])
    assert (both.mean, both.prompts, both.responses) == (pytest.approx(-1 / 3), 3, 11)
