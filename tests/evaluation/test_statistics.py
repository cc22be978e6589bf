"""Intervals that cover, differences that are found, lengths that are held equal, hulls."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from diversity_tuning.evaluation.statistics import (
    at_equal_length,
    bootstrap_means,
    concave_hull_at,
    mean_interval,
    overall_mean,
    paired_difference,
    sign_flip_p,
    t_interval,
)
from diversity_tuning.evaluation.tradeoff import difference_at_equal_quality, hull_band, hull_line
from studies.results.statistics import holm, share_of_gain, t_test_p


def test_interval_is_near_the_normal_one_and_seeded():
    values = np.random.default_rng(0).normal(2, 1, 400)
    found = mean_interval(values)
    assert found["mean"] == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert [found["low"], found["high"]] == pytest.approx([values.mean() - half, values.mean() + half], abs=0.01)
    assert mean_interval(values) == found


@pytest.mark.filterwarnings("error")
def test_missing_values_are_left_out():
    values = np.array([1.0, np.nan, 3.0])
    assert mean_interval(values)["mean"] == 2.0
    assert mean_interval(values)["high"] <= 3.0
    assert math.isnan(mean_interval(np.full(3, np.nan))["low"])
    assert math.isnan(mean_interval(np.empty(0))["mean"])


def test_the_interval_of_one_and_of_two_values():
    """Means of two draws of 0 and 1 are 0, .5, .5 and 1 with a quarter each, so their middle 40% are .5."""
    assert mean_interval(np.array([3.0])) == {"mean": 3.0, "low": 3.0, "high": 3.0}
    assert mean_interval(np.array([0.0, 1.0]), level=0.4) == {"mean": 0.5, "low": 0.5, "high": 0.5}


def test_a_mean_is_over_the_values_that_were_drawn():
    """Whatever is drawn of equal values has their mean; a draw without any value has none."""
    assert (bootstrap_means(np.full((2, 3), 2.0)) == 2).all()
    with np.errstate(invalid="raise"):
        means = bootstrap_means(np.array([5.0, np.nan]))
    assert np.isnan(means).mean() == pytest.approx(0.25, abs=0.02)
    assert (means[~np.isnan(means)] == 5).all()


def test_seeds_and_prompts_are_resampled():
    """Seeds (or prompts) at 0 and 1: half of the draws take both, a quarter each one of them twice."""
    for values in ([[0.0], [1.0]], [[0.0, 1.0]]):
        found, counts = np.unique(bootstrap_means(np.array(values)), return_counts=True)
        assert list(found) == [0, 0.5, 1]
        assert counts / 10_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    four = bootstrap_means(np.array([[0.0, 0.0], [0.0, 1.0]]))  # 1 in a draw of the second seed and prompt only: 1/4 · 1/4
    assert (four == 1).mean() == pytest.approx(1 / 16, abs=0.01)


def test_seeds_widen_the_interval():
    prompts = np.random.default_rng(0).normal(size=100)
    same, apart = np.stack([prompts, prompts]), np.stack([prompts - 1, prompts + 1])
    assert bootstrap_means(apart).std() > 3 * bootstrap_means(same).std()


def test_nested_by_hand():
    """Two seeds of one prompt each: 0 and 1 are drawn as 00, 01, 10, 11."""
    found, counts = np.unique(bootstrap_means(np.array([[0.0], [1.0]]), nested=True), return_counts=True)
    assert list(found) == [0, 0.5, 1]
    assert counts / 10_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    one_seed = np.array([[0.0, 1.0]])  # then prompts only
    assert np.array_equal(bootstrap_means(one_seed, nested=True), bootstrap_means(one_seed))


def test_nested_variance_is_that_of_seeds_and_prompts():
    """Of independent prompts: σ²/(seeds · prompts) within, the seeds' variance / seeds between; crossed adds to the first."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 400))
    within = values.var(axis=1).mean() / values.size
    between = values.mean(axis=1).var() / 6
    assert bootstrap_means(values, nested=True).var() == pytest.approx(within + between, rel=0.1)
    shifted = values + np.arange(6)[:, None]
    assert bootstrap_means(shifted, nested=True).var() == pytest.approx(shifted.mean(axis=1).var() / 6, rel=0.1)


def test_seeds_of_unequal_size_count_equally():
    values = np.array([[1.0, 1.0, 1.0], [4.0, np.nan, np.nan]])
    assert overall_mean(values, nested=True) == mean_interval(values, nested=True)["mean"] == 2.5
    assert overall_mean(values) == 1.75
    assert np.isnan(overall_mean(np.full((2, 2), np.nan), nested=True))


@pytest.mark.parametrize("nested", [False, True])
def test_the_same_prompts_and_seeds_are_drawn_for_both_sides(nested):
    one, other = np.random.default_rng(1).normal(size=(2, 3, 20))
    apart = bootstrap_means(one, nested=nested) - bootstrap_means(other, nested=nested)
    assert apart == pytest.approx(bootstrap_means(one - other, nested=nested), abs=1e-5)


def test_t_interval_is_scipys():
    values = np.array([[1.0, 3.0], [2.0, 2.0], [5.0, np.nan]])
    expected = ttest_1samp([2.0, 2.0, 5.0], 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((expected.low, expected.high))
    assert np.isnan(t_interval(values[:1])).all()
    found = paired_difference(values, np.zeros_like(values), nested=True)
    assert (found["t_low"], found["t_high"]) == pytest.approx((expected.low, expected.high))


def test_p_of_seeds_with_their_own_prompts_flips_every_prompt():
    """±3 ±1 ±1 of three prompts, one of them of another seed: 2 of 8 sums are as far from 0 as 5."""
    one = np.array([[3.0, 1.0], [1.0, np.nan]])
    assert paired_difference(one, np.zeros_like(one), nested=True)["p"] == pytest.approx(0.25, abs=0.02)


def test_paired_difference_agrees_with_the_t_test():
    rng = np.random.default_rng(3)
    base = rng.normal(0, 5, 80)
    one = base + rng.normal(0.1, 0.5, 80)
    found = paired_difference(one, base)
    assert found["p"] == pytest.approx(ttest_1samp(one - base, 0).pvalue, abs=0.02)
    assert found["low"] < found["mean"] < found["high"]


def test_no_difference_has_p_1_and_a_large_one_the_least():
    base = np.random.default_rng(0).normal(size=50)
    assert paired_difference(base, base)["p"] == 1.0
    assert paired_difference(base + 1, base)["p"] == pytest.approx(1 / 10_001)
    assert math.isnan(paired_difference(np.full(4, np.nan), np.ones(4))["p"])


@pytest.mark.filterwarnings("error")  # such as an overflow in float32
@pytest.mark.parametrize("sign", [1, -1])
def test_p_by_hand(sign):
    """Of the eight sums ±3 ±1 ±1 two are as far from 0 as 5. Neither unit nor a difference of 0 changes that."""
    assert sign_flip_p(sign * np.array([3.0, 1.0, 1.0])) == pytest.approx(0.25, abs=0.02)
    assert sign_flip_p(sign * 1e60 * np.array([3.0, 1.0, 1.0, 0.0])) == pytest.approx(0.25, abs=0.02)


def test_p_is_of_the_means_over_the_seeds_that_have_a_value():
    """±3 ±1 ±2 is 6, 2, 4 or 0 from 0: six of eight are at least 3 + 1 - 2."""
    one = np.array([[3.0, 1.0, -2.0], [np.nan, 1.0, -2.0]])
    assert paired_difference(one, np.zeros_like(one))["p"] == pytest.approx(0.75, abs=0.02)


def test_equal_length_takes_out_what_length_explains():
    rng = np.random.default_rng(0)
    lengths = [np.exp(rng.normal(4, 0.3, 500)), np.exp(rng.normal(4.5, 0.3, 500))]
    diversities = [0.9 - 0.1 * np.log(length) + rng.normal(0, 0.01, 500) for length in lengths]
    adjusted, slope = at_equal_length(diversities, lengths)
    assert slope == pytest.approx(-0.1, abs=0.005)
    assert abs(diversities[0].mean() - diversities[1].mean()) > 0.04
    assert adjusted[0].mean() == pytest.approx(adjusted[1].mean(), abs=0.003)


def test_equal_length_by_hand():
    """.1 per unit of log length, in which the runs lie at 0 and 2 (no words count as one) and at 2 and 4: all moved to 2."""
    lengths = [np.array([0.0, np.exp(2)]), np.exp([2.0, 4.0])]
    adjusted, slope = at_equal_length([np.array([0.5, 0.7]), np.array([0.7, 0.9])], lengths)
    assert slope == pytest.approx(0.1)
    assert np.concatenate(adjusted) == pytest.approx([0.7] * 4)


def test_a_difference_between_runs_is_not_taken_for_length():
    """Within each run length changes nothing; over both together longer texts are more varied: nothing is moved."""
    lengths, diversities = [np.exp([2.0, 4.0]), np.exp([4.0, 6.0])], [np.array([0.5, 0.5]), np.array([0.9, 0.9])]
    adjusted, slope = at_equal_length(diversities, lengths)
    assert slope == 0
    assert np.concatenate(adjusted).tolist() == [0.5, 0.5, 0.9, 0.9]


def test_holm_by_hand():
    """.01 · 3, then .02 · 2, then .03, which is not less than the one before; never above 1."""
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.6]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0


def test_p_of_a_t_interval_is_that_of_the_test():
    values = np.random.default_rng(3).normal(0.5, 1, 8)
    low, high = t_interval(values[:, None])
    assert t_test_p(values.mean(), low, high, 8) == pytest.approx(ttest_1samp(values, 0).pvalue)


def test_the_hull_by_hand():
    """Of (0, 0), (1, 2), (2, 1), (3, 1), (1, 0): 0 to 2 on the left, then the chord from (1, 2) to (3, 1), above (2, 1)."""
    x, y = np.array([2.0, 0, 3, 1, 1]), np.array([1.0, 0, 1, 2, 0])
    found = concave_hull_at(x, y, np.array([-0.1, 0, 0.5, 1, 1.5, 2, 2.5, 3, 3.1, math.nan]))
    assert found == pytest.approx([math.nan, 0, 1, 2, 1.75, 1.5, 1.25, 1, math.nan, math.nan], nan_ok=True)
    assert float(concave_hull_at(x, y, 2)) == pytest.approx(1.5)
    assert concave_hull_at([1.0], [3.0], [0.9, 1.0, 1.1]) == pytest.approx([math.nan, 3, math.nan], nan_ok=True)
    assert concave_hull_at([1.0, 1.0, math.nan], [2.0, 5.0, 9.0], [[1.0]]).tolist() == [[5.0]]
    assert np.isnan(concave_hull_at([], [], [0.0])).all()
    assert hull_line(np.stack([x, y], axis=1)) == [(1, 2), (3, 1)], "from the highest on"
    assert hull_line(np.empty((0, 2))) == []


numbers = st.floats(-100, 100).map(lambda value: round(value, 3))
point_sets = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12)


@given(point_sets, st.randoms(use_true_random=False))
def test_the_hull_is_concave_above_every_point_and_the_same_in_any_order(points, random):
    x, y = np.array(points).T
    grid = np.linspace(x.min(), x.max(), 41)
    found = concave_hull_at(x, y, grid)
    assert (concave_hull_at(x, y, x) >= y).all()
    assert found.max() <= y.max() + 1e-9
    if x.max() > x.min() + 0.1:  # else the grid's own rounding bends it
        assert (found[:-2] + found[2:] <= 2 * found[1:-1] + 1e-6).all()
    assert np.isnan(concave_hull_at(x, y, [x.min() - 1, x.max() + 1])).all()
    mixed = random.sample([*points, *points[:3]], k=len(points) + len(points[:3]))
    assert np.array_equal(concave_hull_at(*np.array(mixed).T, grid), found), "in another order, some of them twice"


def test_many_hulls_at_once_are_those_one_by_one():
    rng = np.random.default_rng(0)
    at, x, y = rng.random(300), rng.random((300, 5)).round(1), rng.random((300, 5))
    x[:, 1] = x[:, 0]  # two points of one quality
    found = concave_hull_at(x, y, at)
    assert found.tolist() == pytest.approx([float(concave_hull_at(x[i], y[i], at[i])) for i in range(300)], nan_ok=True)
    lines = concave_hull_at(x, y, np.repeat(at[:3, None], 300, axis=1))
    assert lines.shape == (3, 300)
    assert lines[1].tolist() == pytest.approx([float(concave_hull_at(x[i], y[i], at[1])) for i in range(300)], nan_ok=True)


def test_the_band_of_a_hull():
    """Around the hull, as wide as the interval of a point, and nowhere beyond the points."""
    rng = np.random.default_rng(0)
    x, noise = np.zeros((1, 100)), rng.normal(0, 0.1, (1, 100))
    points = [(x, 0.5 + noise), (x + 1, 0.3 + noise)]
    low, high = hull_band(points, np.array([-0.1, 0.0, 0.5, 1.0, 1.1]))
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [True, False, False, False, True]
    half = (high - low)[1:4] / 2
    assert half == pytest.approx([1.96 * noise.std() / 10] * 3, rel=0.1)
    assert ((high + low) / 2)[1:4] == pytest.approx([0.5 + noise.mean(), 0.4 + noise.mean(), 0.3 + noise.mean()], abs=0.004)


def test_front_difference_at_equal_reward():
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 0.05, (2, 100)) for _ in range(6)]
    front = [(0.2 + noise[0], 0.4 + noise[1] / 10), (0.8 + noise[2], 0.2 + noise[3] / 10)]
    found = difference_at_equal_quality((0.5 + noise[4], 0.35 + noise[5] / 10), front)
    assert found["mean"] == pytest.approx(0.05, abs=0.01)
    assert found["low"] < 0.05 < found["high"]
    assert found["low"] > 0
    assert found["covered"] == 1.0
    assert difference_at_equal_quality((1.5 + noise[4], noise[5]), front) is None
    assert difference_at_equal_quality((0.5 + noise[4], noise[5]), front[:1]) is None
    assert difference_at_equal_quality(front[0], front[:1]) is None, "one point is no hull, even where the target lies on it"


def test_a_bad_setting_does_not_lower_the_hull():
    """Between .2 and .8 of quality one at .5 that the second beats in both, and one below the chord: the chord is compared."""
    flat = np.zeros((1, 4))
    good, bad, best = (flat + 0.2, flat + 0.4), (flat + 0.5, flat + 0.1), (flat + 0.8, flat + 0.2)
    target = (flat + 0.5, flat + 0.35)
    assert difference_at_equal_quality(target, [good, best])["mean"] == pytest.approx(0.05)
    below = (flat + 0.5, flat + 0.25)
    assert difference_at_equal_quality(target, [good, bad, best, below])["mean"] == pytest.approx(0.05)


def test_t_over_seeds_is_of_the_seeds_own_differences():
    """.3, .5 and .4 above a flat hull, the fourth seed outside: mean .4, sd .1, half width 4.303 · .1 / √3."""
    apart, quality = np.array([[0.3], [0.5], [0.4], [9.0]]), np.array([[0.5], [0.5], [0.5], [1.1]])
    flat = np.zeros_like(apart)
    found = difference_at_equal_quality((quality, apart), [(flat, flat), (flat + 1, flat)], draws=50)
    assert found["t_seeds"] == 3
    assert (found["t_low"], found["t_high"]) == pytest.approx((0.4 - 0.24841, 0.4 + 0.24841), abs=1e-4)


@pytest.mark.parametrize("axis", [0, 1], ids=["seeds", "prompts"])
def test_the_interval_of_a_front_difference_resamples_seeds_and_prompts(axis):
    """Two seeds (or prompts) at .3 and .5 above a flat front: a draw gives .3, .4 or .5, an outer one every fourth time."""
    apart = np.array([[0.3], [0.5]]) if axis == 0 else np.array([[0.3, 0.5]])
    flat = np.zeros_like(apart)
    found = difference_at_equal_quality((flat + 0.5, apart), [(flat, flat), (flat + 1, flat)], draws=400)
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((0.4, 0.3, 0.5))


def test_draws_outside_the_front_are_counted_and_left_out():
    """Of two seeds one lies at the front's edge and one outside: the mean of both is inside, half of the draws are."""
    reward = np.array([[0.0], [1.0]])
    flat = np.zeros_like(reward)
    found = difference_at_equal_quality((reward, flat + 0.2), [(flat + 0.4, flat), (flat + 0.6, flat)], draws=4000)
    assert found["covered"] == pytest.approx(0.5, abs=0.03)
    assert (found["low"], found["high"]) == pytest.approx((0.2, 0.2))


@pytest.mark.filterwarnings("error")
def test_a_prompt_without_a_value_is_left_out_of_target_and_front():
    flat = np.zeros((1, 3))
    target = np.array([[0.2, 0.2, np.nan]])
    found = difference_at_equal_quality((flat + 0.5, target), [(flat, flat), (flat + 1, flat)], draws=50)
    assert found["mean"] == pytest.approx(0.2)
    none = np.full((1, 3), np.nan)
    assert difference_at_equal_quality((flat + 0.5, none), [(flat, flat), (flat + 1, flat)]) is None


def test_the_slope_on_length_is_of_whole_pairs_only():
    """A prompt without a diversity has no say in where length is centred."""
    length = np.exp([3.0, 5.8, 6.0, 6.2])
    diversity = 0.9 - 0.1 * np.log(length)
    diversity[0] = np.nan
    _, slope = at_equal_length([diversity], [length])
    assert slope == pytest.approx(-0.1)
    _, none = at_equal_length([np.full(3, np.nan)], [np.ones(3)])
    assert none == 0


def test_share_of_a_gain_that_is_kept():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(3, 50))
    gain = 1 + rng.normal(0, 0.1, (3, 50))
    exact = share_of_gain(base + 0.6 * gain, base + gain, base, nested=True)
    assert list(exact.values()) == pytest.approx([0.6] * 3, abs=1e-5)
    noisy = share_of_gain(base + 0.6 * gain + rng.normal(0, 0.5, base.shape), base + gain, base, nested=True)
    assert noisy["low"] < 0.6 < noisy["high"]
    missing = base.copy()
    missing[0, :10] = np.nan
    assert share_of_gain(base + 0.6, missing + 1, base)["mean"] == pytest.approx(0.6)


@pytest.mark.parametrize("losses", [5, 17, 22])
def test_a_draw_without_a_gain_allows_any_share(losses):
    """Gains of 1 and, ``losses`` times, of −1.001: no draw, 1.4% and 23% have no gain, where a quotient changes its sign."""
    kept, gain = np.linspace(0.2, 0.6, 50), np.where(np.arange(50) < losses, -1.001, 1.0)
    found = share_of_gain(kept, gain, np.zeros(50))
    assert found["mean"] == pytest.approx(kept.mean() / gain.mean())
    drawn = [bootstrap_means(each) for each in (kept, gain)]
    without = drawn[1] <= 0
    assert without.mean() == pytest.approx({5: 0, 17: 0.0141, 22: 0.2307}[losses], abs=1e-6)
    if losses == 22:
        assert np.isnan([found["low"], found["high"]]).all()
        return
    ratios = np.sort(drawn[0][~without] / drawn[1][~without])
    assert found["low"] == pytest.approx(ratios[250 - without.sum()], rel=1e-3)
    assert found["high"] == pytest.approx(ratios[9749], rel=1e-3)


def test_a_share_of_no_gain_is_none():
    """Three prompts, of which one has a gain: it is missing from a third of the draws."""
    rare = share_of_gain(np.array([0.5, 0, 0]), np.array([1.0, 0, 0]), np.zeros(3))
    assert rare["mean"] == pytest.approx(0.5)
    assert np.isnan([rare["low"], rare["high"]]).all()
    assert all(map(np.isnan, share_of_gain(np.ones(3), np.zeros(3), np.zeros(3)).values()))
    assert all(map(np.isnan, share_of_gain(np.ones(3), np.full(3, -1.0), np.zeros(3)).values())), "a loss is no gain"
