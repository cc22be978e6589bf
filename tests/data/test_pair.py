"""Drawing pairs: exact probabilities against enumeration, invariants, scale."""

import itertools
import time
from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from diversity_tuning.data import pair, schema
from diversity_tuning.data.pair import by_gap, distinct_responses, draw_pairs, row_rng


def enumerate_draws(votes, gap, strict) -> dict[tuple, float]:
    """The probability of every ordered sequence of pairs, by the definition."""
    outcomes: Counter = Counter()

    def step(free: frozenset, sequence: tuple, probability: float, least: float) -> None:
        pairs = [
            (i, j) for i, j in itertools.permutations(sorted(free), 2) if votes[i] > votes[j] and votes[i] - votes[j] >= least
        ]
        if pairs:
            for pair in pairs:
                step(free - set(pair), (*sequence, pair), probability / len(pairs), least)
        elif least > 0 and not strict:
            step(free, sequence, probability, 0)
        else:
            outcomes[sequence] += probability

    step(frozenset(range(len(votes))), (), 1.0, gap)
    return outcomes


@pytest.mark.parametrize(
    ("votes", "gap", "strict"),
    [
        ([1, 2, 3, 4], 1, False),
        ([0, 3, 6, 9, 12], 5, False),
        ([0, 3, 6, 9, 12], 5, True),
        ([5, 1, 1, 9], 4, False),
        ([2, 2, 2, 7], 5, True),
        ([10, 0, 10, 0, 5], 5, False),
        ([3, 3, 4, 4, 9], 2, False),
        ([1, 5, 6, 11, 12], 100, False),
        ([4, -4, 0, 2], 0, False),
    ],
)
def test_draws_are_uniform_at_every_step(votes, gap, strict):
    expected = enumerate_draws(votes, gap, strict)
    rng = np.random.default_rng(7)
    trials = 6000
    found = Counter(tuple(draw_pairs(votes, gap, rng, strict)) for _ in range(trials))
    assert set(found) <= set(expected)
    if len(expected) > 1:
        counts = [found[outcome] for outcome in expected]
        assert chisquare(counts, [trials * p for p in expected.values()]).pvalue > 1e-4


def test_all_pairs_are_drawn_uniformly():
    votes = list(range(40))  # 780 pairs, 100 drawn
    rng = np.random.default_rng(3)
    found = Counter(pair for _ in range(300) for pair in draw_pairs(votes, -1, rng))
    every = [(high, low) for low, high in itertools.combinations(range(40), 2)]
    assert set(found) <= set(every)
    # Drawing without replacement varies less than chance, so only a too large deviation can fail.
    assert chisquare([found[pair] for pair in every]).pvalue > 1e-4


def test_all_pairs_of_few_responses():
    pairs = draw_pairs([5, 1, 5, 2], -1, np.random.default_rng(0))
    assert sorted(pairs) == [(0, 1), (0, 3), (2, 1), (2, 3), (3, 1)]


def test_of_many_pairs_at_most_100_are_drawn():
    pairs = draw_pairs(range(16), -1, np.random.default_rng(0))  # 120 pairs
    assert len(set(pairs)) == 100
    assert {type(place) for pair in pairs for place in pair} == {int}


def test_votes_that_differ_by_less_than_one_differ():
    assert draw_pairs([0.0, 0.25], 5, np.random.default_rng(0)) == [(1, 0)]
    assert draw_pairs([0.0, 0.25], 5, np.random.default_rng(0), strict=True) == []
    assert draw_pairs([0.0, 0.25], -1, np.random.default_rng(0)) == [(1, 0)]


@given(st.lists(st.integers(-20, 20), max_size=40), st.integers(0, 15), st.booleans(), st.integers(0, 10**6))
def test_invariants(votes, gap, strict, seed):
    pairs = draw_pairs(votes, gap, np.random.default_rng(seed), strict)
    used = [place for pair in pairs for place in pair]
    assert len(used) == len(set(used))
    differences = [votes[chosen] - votes[rejected] for chosen, rejected in pairs]
    assert all(difference > 0 for difference in differences)
    wide = [difference >= gap for difference in differences]
    assert wide == sorted(wide, reverse=True)  # first those with the gap, then the others
    if strict:
        assert all(wide)
    rest = [votes[place] for place in range(len(votes)) if place not in used]
    spread = max(rest) - min(rest) if rest else 0
    assert spread < max(gap, 1) if strict else spread == 0


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(0, 10**6))
def test_all_pairs_invariants(votes, seed):
    pairs = draw_pairs(votes, -1, np.random.default_rng(seed))
    total = sum(votes[i] != votes[j] for i, j in itertools.combinations(range(len(votes)), 2))
    assert len(pairs) == len(set(pairs)) == min(total, 100)
    assert all(votes[chosen] > votes[rejected] for chosen, rejected in pairs)


@pytest.mark.parametrize("votes", [[], [3], [2, 2, 2]])
@pytest.mark.parametrize("gap", [-1, 0, 5])
def test_nothing_to_draw(votes, gap):
    assert draw_pairs(votes, gap, np.random.default_rng(0)) == []


@pytest.mark.parametrize(("votes", "gap"), [([1, float("nan")], 5), ([1, float("inf")], 5), ([[1, 2]], 5), ([1, 2], -2)])
def test_bad_arguments(votes, gap):
    with pytest.raises(ValueError, match=r"votes|gap"):
        draw_pairs(votes, gap, np.random.default_rng(0))


def test_thousands_of_responses():
    votes = np.random.default_rng(0).geometric(0.01, size=8000)
    start = time.perf_counter()
    pairs = draw_pairs(votes, 5, np.random.default_rng(0))
    assert len(pairs) > 3900
    assert time.perf_counter() - start < 10


def test_equal_texts_count_once_with_most_votes():
    assert distinct_responses(["a", "b", "a", "c", "a"], [1, 2, 9, 3, 9]) == [1, 2, 3]
    assert distinct_responses([], []) == []


def test_every_row_has_its_own_stream():
    draws = {row_rng(seed, split, row).integers(2**62) for seed in (1, 2) for split in ("train", "test") for row in range(50)}
    assert len(draws) == 200
    assert row_rng(1, "train", 3).integers(2**62) == row_rng(1, "train", 3).integers(2**62)


def test_the_stream_of_a_row_is_pinned():
    """A release that drew other pairs from the same data and seed would change results without a word."""
    assert [row_rng(42, "train", row).integers(1000) for row in range(4)] == [805, 948, 752, 367]


ROWS = {
    schema.POST_TITLE: ["One", "Two", "Three"],
    schema.POST_TEXT: ["more", "", None],
    schema.FILTERED_COMMENT_TEXTS: [["a", "b", "a", "c", "d"], ["x", "x"], ["p", "q"]],
    schema.FILTERED_COMMENT_SCORES: [[1, 2, 9, 3, 4], [1, 5], [4, 7]],
    schema.FILTERED_TRANSFORMED_SCORES: [[0.1, 0.2, 0.9, 0.3, 0.4], [0.1, 0.5], [0.4, 0.7]],
}


LOOSE = partial(by_gap, gap=5, strict_gap=False)


def test_a_batch_draws_places_among_all_responses_of_a_row():
    """Of the first row's equal texts place 2 counts: it is paired first, with 1, 3 or 4, then the two that are left."""
    drawn = pair.draw_batch(ROWS, [0, 1, 2], seed=0, split="train", select=LOOSE, max_pairs=None)
    first, second, third = drawn[pair.DRAWN]
    assert first in ([2, 1, 4, 3], [2, 3, 4, 1], [2, 4, 3, 1])
    assert (second, third) == ([], [1, 0])
    assert pair.draw_batch(ROWS, [0, 1, 2], 0, "train", LOOSE, 1)[pair.DRAWN] == [first[:2], [], [1, 0]]
    strict = partial(by_gap, gap=5, strict_gap=True)
    assert pair.draw_batch(ROWS, [0, 1, 2], 0, "train", strict, None)[pair.DRAWN] == [first[:2], [], []]


def test_a_batch_becomes_one_row_per_pair():
    made = pair.pair_batch({**ROWS, pair.DRAWN: [[2, 1, 4, 3], [], [1, 0]]}, [0, 1, 2])
    asked = [("One\nmore", "a", "b"), ("One\nmore", "d", "c"), ("Three\n", "q", "p")]
    assert made == {
        schema.CHOSEN: [schema.to_messages(prompt, chosen) for prompt, chosen, _ in asked],
        schema.REJECTED: [schema.to_messages(prompt, rejected) for prompt, _, rejected in asked],
        schema.SCORE_CHOSEN: [9, 4, 7],
        schema.SCORE_REJECTED: [2, 3, 4],
    }


def test_the_responses_that_were_drawn_come_once_and_in_their_order():
    assert pair.unpaired_batch({**ROWS, pair.DRAWN: [[4, 1, 2, 1], [], [1, 0]]}, [0, 1, 2]) == {
        schema.POSTTRAINING_COMMENT_TEXT: [["b", "a", "d"], [], ["p", "q"]],
        schema.POSTTRAINING_SCORE: [[2, 9, 4], [], [4, 7]],
        schema.POSTTRAINING_TRANSFORMED_SCORE: [[0.2, 0.9, 0.4], [], [0.4, 0.7]],
    }
    nine = {name: [list(range(9))] for name in ROWS}
    assert pair.unpaired_batch({**nine, pair.DRAWN: [[8, 1]]}, [0])[schema.POSTTRAINING_SCORE] == [[1, 8]]
