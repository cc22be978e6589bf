"""CrPO's weights by hand, and as stage 3 makes them."""

import numpy as np
import pytest

from diversity_tuning.data.creativity import (
    Vocabulary,
    check_columns,
    creativity_weights,
    min_max,
    novelties,
    pair_creativity,
    parse_strengths,
    word_spread,
)
from diversity_tuning.errors import UserError
from tests.data.test_divpo import store_of
from tests.data.test_weigh import keys_of


def test_the_weight_counts_only_what_the_chosen_response_is_ahead_in():
    """λ 1 and 2: pair one is ahead by .5 and .25, pair two behind and ahead by .1, pair three nowhere."""
    chosen = {"diversity": np.array([1.0, 0.2, 0.0]), "novelty": np.array([0.5, 0.4, 0.3])}
    rejected = {"diversity": np.array([0.5, 0.9, 0.0]), "novelty": np.array([0.25, 0.3, 0.3])}
    weights = creativity_weights(chosen, rejected, {"diversity": 1.0, "novelty": 2.0})
    assert weights == pytest.approx([0.5 + 2 * 0.25, 2 * 0.1, 0])


def test_scores_go_from_0_to_1_and_equal_ones_are_a_half():
    assert min_max(np.array([3.0, 1.0, 2.0])).tolist() == [1, 0, 0.5]
    assert min_max(np.array([3.0, 3.0])).tolist() == [0.5, 0.5]


def test_the_spread_of_words_is_their_mean_distance():
    """Two equal words and one at right angles: distances 0, 1, 1."""
    assert word_spread(np.array([[1.0, 0], [1, 0], [0, 1]])) == pytest.approx(2 / 3)
    assert word_spread(np.array([[1.0, 0]])) == 0


def test_novelty_is_the_distance_from_the_spread_of_all():
    """Spreads 0 and 1; the four words have distances 0, 1 (four times), 0: mean 2/3."""
    units = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    found = novelties([np.array([0, 1]), np.array([0, 2]), np.array([1, 3])], units)
    assert found == pytest.approx([2 * 2 / 3, 2 / 3, 2 / 3])


PAIRS = [("p", "a b", "c"), ("p", "c", "a b"), ("q", "a", "b")]


def rows_of(pairs=PAIRS, **columns):
    from datasets import Dataset

    sides = {
        side: [[{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[place]}] for pair in pairs]
        for place, side in enumerate(("chosen", "rejected"), start=1)
    }
    return Dataset.from_dict({**sides, **columns})


def test_votes_and_columns_are_scores_too():
    """Within p the votes 9 3 5 1 go to 1 .25 .5 0; within q the smaller ones win: 0."""
    rows = rows_of(score_chosen=[9, 5, 1], score_rejected=[3, 1, 2], surprise_chosen=[0.0, 2, 7], surprise_rejected=[4.0, 1, 7])
    assert pair_creativity(rows, keys_of(PAIRS), None, {"quality": 1.0}) == pytest.approx([0.75, 0.5, 0])
    assert pair_creativity(rows, keys_of(PAIRS), None, {"surprise": 4.0}) == pytest.approx([0, 1, 0])


def test_diversity_and_novelty_come_from_the_embeddings():
    """Two responses are as far from each other: .5 both. a b has a spread of 1, c of 0, all three words of 2/3."""
    vectors = {"a b": [1.0, 0], "c": [0, 1.0], "a": [1.0, 0], "b": [0, 1.0]}
    store = store_of(list(vectors), np.array(list(vectors.values())))
    store.add = lambda texts: None
    assert pair_creativity(rows_of(), keys_of(PAIRS), store, {"diversity": 1.0}).tolist() == [0, 0, 0]
    assert pair_creativity(rows_of(), keys_of(PAIRS), store, {"novelty": 1.0}) == pytest.approx([0, 1, 0])
    assert len(Vocabulary([["a b", "B c"]], store).units) == 3


def test_rounding_is_no_lead():
    """Two responses are as far from each other, whatever the last digits of their distances say: .5 both, weight 0."""
    pairs = [(f"p{number}", f"a{number}", f"b{number}") for number in range(50)]
    texts = [text for pair in pairs for text in pair[1:]]
    store = store_of(texts, np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32))
    assert not pair_creativity(rows_of(pairs), keys_of(pairs), store, {"diversity": 1.0}).any()


def test_a_prompt_of_one_text_has_no_lead():
    """Both sides of a pair may be the same text, which training leaves out."""
    store = store_of(["a", "b", "c"], np.array([[1.0, 0], [0, 1], [1, 1]]))
    store.add = lambda texts: None
    pairs = [("p", "a", "a"), ("q", "b", "c")]
    assert pair_creativity(rows_of(pairs), keys_of(pairs), store, {"diversity": 1.0}).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("values", "said"),
    [([1.0, None, 2.0], "row 2, column 'surprise_rejected': null"), ([1.0, 2.0, np.nan], "row 3, .*: NaN or infinity"),
     ([np.inf, 2.0, 1.0], "row 1, .*: NaN or infinity"), (["1", "2", "3"], "expected a number, found string")],
)  # fmt: skip
def test_a_score_without_a_value_is_refused(values, said):
    """It would make every score of its prompt equal, and the weight 0."""
    rows = rows_of(surprise_chosen=[1, 2, 3], surprise_rejected=values)
    with pytest.raises(UserError, match=f"--creativity: pairs: .*{said}"):
        check_columns(rows, {"surprise": 1.0}, "pairs")
    check_columns(rows, {"novelty": 1.0}, "pairs")


@pytest.mark.parametrize(
    "given", [["novelty"], ["novelty=-1"], ["novelty=x"], ["novelty=1", "novelty=2"], ["novelty=0"], ["=1"]]
)
def test_strengths_that_mean_nothing_are_refused(given):
    with pytest.raises(UserError, match="--creativity"):
        parse_strengths(given)


def test_strengths():
    assert parse_strengths(["novelty=1", "quality=.5", "diversity=0"]) == {"novelty": 1.0, "quality": 0.5}
