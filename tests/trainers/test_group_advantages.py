"""Advantages by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nan, tensor

from diversity_tuning.trainers.group_advantages import (
    DEVIATIONS,
    Group,
    combined_rewards,
    group_advantages,
    inverted,
    normalised,
    with_truncated,
)

ALL = torch.ones(4, dtype=torch.bool)
ONES = torch.ones(4)


def test_grpo_by_hand():
    """Rewards 1 2 3 6: mean 3, deviations −2 −1 0 3, sample standard deviation √(14/3)."""
    given_rewards = tensor([1.0, 2.0, 3.0, 6.0])
    expected = tensor([-2.0, -1.0, 0.0, 3.0])
    torch.testing.assert_close(group_advantages(given_rewards, ALL, ONES, 4, scale="none"), expected)
    torch.testing.assert_close(group_advantages(given_rewards, ALL, ONES, 4), expected / ((14 / 3) ** 0.5 + 1e-4))


def test_delta_multiplies_positive_advantages_only():
    """δ halves the good common completion; the group's sum is then (δ − 1) A of it: −1.5."""
    rewards, delta = tensor([1.0, 2.0, 3.0, 6.0]), tensor([2.0, 0.5, 1.0, 0.5])
    advantages = group_advantages(rewards, ALL, delta, 4, deviation="advantage", scale="none")
    torch.testing.assert_close(advantages, tensor([-2.0, -1.0, 0.0, 1.5]))
    assert advantages.sum() == pytest.approx((0.5 - 1) * 3)


def test_delta_multiplies_the_reward_above_the_groups_minimum():
    """r' = 1 + δ (r − 1): 1, 1.5, 3, 3.5; mean 2.25. Shifting all rewards changes nothing."""
    rewards, delta = tensor([1.0, 2.0, 3.0, 6.0]), tensor([2.0, 0.5, 1.0, 0.5])
    for shift in (0.0, -10.0):
        advantages = group_advantages(rewards + shift, ALL, delta, 4, deviation="reward", scale="none")
        torch.testing.assert_close(advantages, tensor([-1.25, -0.75, 0.75, 1.25]))
        assert advantages.sum().abs() < 1e-6


def test_the_plain_product():
    """DARLING: d × r is 2, 1, 3, 3; mean 2.25."""
    rewards, d = tensor([1.0, 2.0, 3.0, 6.0]), tensor([2.0, 0.5, 1.0, 0.5])
    advantages = group_advantages(rewards, ALL, d, 4, deviation="darling", origin="zero", scale="none")
    torch.testing.assert_close(advantages, tensor([-0.25, -1.25, 0.75, 0.75]))


@pytest.mark.parametrize("deviation", ["none", "reward", "advantage"])
def test_a_cut_completion_gets_the_minimum_of_the_finished_ones(deviation):
    """Its own reward of 9 is seen nowhere: 2 1 3 and it 1, so that finished ones keep their places."""
    finished = tensor([True, True, True, False])
    advantages = group_advantages(tensor([2.0, 1.0, 3.0, 9.0]), finished, ONES, 4, deviation=deviation, scale="none")
    torch.testing.assert_close(advantages, tensor([0.25, -0.75, 1.25, -0.75]))


def test_the_minimum_is_taken_after_the_product():
    """With the plain product and δ = 0 for the best, the minimum is 0, not 1: a cut one never stands above a finished one."""
    finished, delta = tensor([True, True, True, False]), tensor([0.0, 1.0, 2.0, 1.0])
    rewards = tensor([5.0, 1.0, 2.0, 9.0])
    advantages = group_advantages(rewards, finished, delta, 4, deviation="reward", origin="zero", scale="none")
    torch.testing.assert_close(advantages, tensor([0.0, 1.0, 4.0, 0.0]) - 1.25)


def test_a_stated_reward_for_cut_completions():
    finished = tensor([True, True, True, False])
    advantages = group_advantages(tensor([2.0, 1.0, 3.0, 9.0]), finished, ONES, 4, truncated=-2.0, scale="none")
    torch.testing.assert_close(advantages, tensor([1.0, 0.0, 2.0, -3.0]))


def test_a_group_with_nothing_finished_has_no_signal():
    rewards = tensor([2.0, 1.0, 3.0, 9.0])
    for truncated in (None, -1.0):
        assert group_advantages(rewards, ~ALL, ONES, 4, truncated=truncated).abs().max() == 0


def test_a_failed_reward_leaves_the_group():
    """1, failed, 3, 5: mean 3 of three; scored as 0 it would be 2.25, and the failed one would be punished."""
    rewards = tensor([1.0, nan, 3.0, 5.0])
    torch.testing.assert_close(group_advantages(rewards, ALL, ONES, 4, scale="none"), tensor([-2.0, 0.0, 0.0, 2.0]))
    torch.testing.assert_close(group_advantages(rewards, ALL, ONES, 4), tensor([-2.0, 0.0, 0.0, 2.0]) / (2 + 1e-4))
    assert group_advantages(tensor([nan, nan, 3.0, nan]), ALL, ONES, 4).abs().max() == 0
    weighted = group_advantages(rewards, ALL, tensor([1.0, 2.0, 2.0, 1.0]), 4, deviation="reward", scale="none")
    torch.testing.assert_close(weighted, tensor([1.0, nan, 5.0, 5.0]).sub(11 / 3).nan_to_num(0))


def test_a_sum_with_a_failed_part_has_failed():
    """TRL's sum leaves the part out, which is a score of 0; a part of weight 0 is only logged."""
    parts = tensor([[1.0, 2.0, nan], [1.0, nan, 0.0]])
    assert combined_rewards(parts, tensor([0.7, 0.3, 0.0])).tolist() == [pytest.approx(1.3), pytest.approx(nan, nan_ok=True)]


def test_groups_are_apart_and_the_batch_scale_is_over_all():
    rewards = tensor([0.0, 2.0, 10.0, 14.0])
    torch.testing.assert_close(normalised(rewards, 2, "none"), tensor([-1.0, 1.0, -2.0, 2.0]))
    torch.testing.assert_close(normalised(rewards, 2, "batch"), tensor([-1.0, 1.0, -2.0, 2.0]) / (rewards.std() + 1e-4))
    assert with_truncated(rewards, tensor([True, False, True, False]), 2, None).tolist() == [0, 0, 10, 10]


numbers = st.floats(-5, 5, width=32)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(numbers, st.booleans(), st.floats(0, 4, width=32)), min_size=4, max_size=4))
def test_what_holds_for_any_group(rows):
    rewards, finished, delta = (tensor(column) for column in zip(*rows, strict=True))
    rewards, delta = rewards.float(), delta.float()
    plain = group_advantages(rewards, finished, torch.ones(4), 4, scale="none")
    for deviation in ("reward", "advantage"):
        unit = group_advantages(rewards, finished, torch.ones(4), 4, deviation=deviation, scale="none")
        torch.testing.assert_close(unit, plain, atol=1e-5, rtol=1e-5)
    weighted = group_advantages(rewards, finished, delta, 4, deviation="advantage", scale="none")
    assert torch.equal(weighted[plain <= 0], plain[plain <= 0])
    product = group_advantages(rewards, finished, delta, 4, deviation="reward", scale="none")
    assert product.sum().abs() < 1e-3
    if finished.any():
        assert product[~finished].numel() == 0 or product[~finished].max() <= product[finished].min() + 1e-6


TEXTS = ["a b c d", "a b c d", "x y z", "a b q"]
# Two copies, one at right angles to them, one between: cosines 1, 0, .6 and .8.
VECTORS = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
GROUP = Group(TEXTS, [VECTORS], threshold=0.1)


def test_dra_divides_by_how_much_of_the_group_lies_near():
    """Sums of cosines: 1 + 1 + 0 + .6 twice, 1 + .8, 1 + .6 + .6 + .8. Rewards 2.6 2.6 3.6 3 over them: 1 1 2 1."""
    weights = DEVIATIONS["dra"].of(GROUP)
    assert weights == pytest.approx(1 / np.array([2.6, 2.6, 1.8, 3.0]))
    rewards = tensor([2.6, 2.6, 3.6, 3.0])
    advantages = group_advantages(rewards, ALL, tensor(weights).float(), 4, "dra", "zero", scale="none")
    torch.testing.assert_close(advantages, tensor([1.0, 1.0, 2.0, 1.0]) - 1.25)


def test_dra_of_opposed_completions_stays_between_1_over_n_and_1():
    """Plain sums of cosines would be 0 here, and their inverse infinite."""
    opposed = Group(["a", "b"], [np.array([[1.0, 0.0], [-1.0, 0.0]])])
    assert DEVIATIONS["dra"].of(opposed).tolist() == [1.0, 1.0]
    copies = Group(["a"] * 4, [np.ones((4, 2))])
    assert DEVIATIONS["dra"].of(copies) == pytest.approx([0.25] * 4)


def test_dpwriter_pays_for_word_sequences_of_its_own():
    """Of 2 to 4 words: the copies have none of their own; x y z has 3 in 3 words; a b q has b q and a b q in 3.

    u = 0 0 1 2/3, min 0, max 1, so c = u; w = .4 + .6 c.
    """
    weights = DEVIATIONS["dpwriter"].of(GROUP)
    assert weights == pytest.approx([0.4, 0.4, 1.0, 0.8])
    rewards = tensor([10.0, 10.0, 5.0, 5.0])
    advantages = group_advantages(rewards, ALL, tensor(weights).float(), 4, "dpwriter", "zero", scale="none")
    torch.testing.assert_close(advantages, tensor([4.0, 4.0, 5.0, 4.0]) - 4.25)
    assert DEVIATIONS["dpwriter"].of(Group(TEXTS, [], share=0.0)).tolist() == [1.0] * 4
    assert DEVIATIONS["dpwriter"].of(Group(["a b c"] * 3, [])).tolist() == [1.0] * 3  # nothing tells them apart
    assert DEVIATIONS["dpwriter"].of(Group(["a b", "", "c"], [])) == pytest.approx([1.0, 0.4, 0.4])
    assert DEVIATIONS["dpwriter"].of(Group(["\u68ee\u306e\u5bb6", "\u6d77"], [])) == pytest.approx(
        [1.0, 0.4]
    )  # words of one character


def test_rarity_multiplies_every_advantage():
    """Classes of 2, 1 and 1: weights 1/2 1/2 1 1 of advantages -2 -1 0 3; to the power 2 a quarter."""
    weights = DEVIATIONS["rare"].of(GROUP)
    assert weights.tolist() == [0.5, 0.5, 1.0, 1.0]
    rewards = tensor([1.0, 2.0, 3.0, 6.0])
    advantages = group_advantages(rewards, ALL, tensor(weights).float(), 4, "rare", scale="none")
    torch.testing.assert_close(advantages, tensor([-1.0, -0.5, 0.0, 3.0]))
    assert DEVIATIONS["rare"].of(Group(TEXTS, [VECTORS], power=2, threshold=0.1)).tolist() == [0.25, 0.25, 1.0, 1.0]
    assert DEVIATIONS["rare"].of(Group(TEXTS, [VECTORS], minimum=0.75, threshold=0.1)).tolist() == [0.75, 0.75, 1.0, 1.0]


@pytest.mark.parametrize("deviation", [name for name in DEVIATIONS if name != "none"])
def test_every_deviation_leaves_failures_and_groups_of_equal_rewards_alone(deviation):
    """A failed reward has advantage 0 and counts in no mean; nothing finished, or nothing but failures: no signal."""
    weights, origin = tensor(DEVIATIONS[deviation].of(GROUP)).float(), DEVIATIONS[deviation].origin
    found = group_advantages(tensor([1.0, nan, 2.0, 3.0]), ALL, weights, 4, deviation, origin, scale="none")
    assert found[1] == 0
    assert found.isfinite().all()
    for rewards, finished in ((tensor([nan] * 4), ALL), (tensor([1.0, 2.0, 3.0, 4.0]), ~ALL), (torch.zeros(4), ALL)):
        assert group_advantages(rewards, finished, weights, 4, deviation, origin).abs().max() == 0
    unit = group_advantages(tensor([1.0, 2.0, 3.0, 6.0]), ALL, ONES, 4, deviation, origin)
    torch.testing.assert_close(unit, group_advantages(tensor([1.0, 2.0, 3.0, 6.0]), ALL, ONES, 4))


def test_negative_rewards_are_inverted_from_zero_and_not_from_the_minimum():
    """Three copies at -3 and a better one at -2.5, d = 1/3 1/3 1/3 1: the products are -1 -1 -1 -2.5, their mean -1.375."""
    copies = Group(["a"] * 3 + ["b"], [np.array([[1.0, 0]] * 3 + [[0, 1.0]])], threshold=0.1)
    rewards, weights = tensor([-3.0, -3.0, -3.0, -2.5]), tensor(DEVIATIONS["darling"].of(copies)).float()
    from_zero = group_advantages(rewards, ALL, weights, 4, "darling", "zero", scale="none")
    torch.testing.assert_close(from_zero, tensor([0.375, 0.375, 0.375, -1.125]))
    assert inverted(rewards, weights, ALL, "darling", "zero").tolist() == [True, True, True, False]
    from_minimum = group_advantages(rewards, ALL, weights, 4, "darling", "minimum", scale="none")
    torch.testing.assert_close(from_minimum, tensor([-0.125, -0.125, -0.125, 0.375]))
    for deviation, origin in (("darling", "minimum"), ("rare", "zero"), ("none", "zero")):
        assert not inverted(rewards, weights, ALL, deviation, origin).any()
    assert not inverted(tensor([nan, -1.0, 1.0, -1.0]), weights, tensor([True, False, True, True]), "dra", "zero").any()
