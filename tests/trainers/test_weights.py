"""Pair weights by hand: what is refused and in which words, what is raised, scaled and left alone."""

import numpy as np
import pytest
from datasets import Dataset

from diversity_tuning.errors import UserError
from diversity_tuning.trainers.weights import PairWeightArguments, floored_weights, prepare_weights, with_pair_weights

HINT = "; data in the released format needs --weight_offset 1"


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1.0, -0.5], "row 2: weight -0.5 (column 'deviation_chosen') is negative" + HINT),
        ([None, 1.0], "row 1: weight nan (column 'deviation_chosen') is not a finite number"),
        ([1.0, 2.0, float("inf")], "row 3: weight inf (column 'deviation_chosen') is not a finite number"),
        ([-1.0], "weight -1.0 (column 'deviation_chosen') is negative" + HINT),
        (["heavy"], "column 'deviation_chosen' does not hold numbers"),
    ],
)
def test_a_wrong_weight_in_full(column, message):
    """Of a stream, whose rows come one at a time, the row is not known."""
    with pytest.raises(UserError) as raised:
        floored_weights(column, PairWeightArguments())
    assert str(raised.value) == message


def test_weights_that_are_all_0_are_refused():
    with pytest.raises(UserError, match="rows 1 to 2: every weight in column 'deviation_chosen' is 0"):
        prepare_weights([0.0, 0.0], PairWeightArguments())


def test_weights_by_hand():
    """-1, 0 and 3 with offset 1 are 0, 1 and 4; a floor of .5 makes them .5, 1 and 4, whose mean is 11/6."""
    assert list(prepare_weights([-1, 0, 3], PairWeightArguments(weight_offset=1))) == [0, 1, 4]
    assert list(prepare_weights([-1, 0, 3], PairWeightArguments(weight_offset=1, min_weight=0.5))) == [0.5, 1, 4]
    divided = prepare_weights([-1, 0, 3], PairWeightArguments(weight_offset=1, min_weight=0.5, weight_normalisation="pairs"))
    assert divided == pytest.approx(np.array([3, 6, 24]) / 11)


def test_prepared_pairs_keep_the_weights_they_have():
    prepared = Dataset.from_dict({"pair_weight": [0.5, 2.0], "prompt_ids": [[1], [2]], "deviation_chosen": [1.0, 1.0]})
    assert with_pair_weights(prepared, PairWeightArguments()) is prepared


@pytest.mark.parametrize(("mean", "warned"), [(0.33, True), (0.34, False), (3.0, False), (3.01, True)])
def test_means_beyond_a_third_and_three_are_pointed_out(caplog, mean, warned):
    with_pair_weights(Dataset.from_dict({"deviation_chosen": [0.0, 2 * mean]}), PairWeightArguments())
    assert (f"are {mean:.3g} on average" in caplog.text) == warned
