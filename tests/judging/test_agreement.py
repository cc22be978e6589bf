"""Agreement by hand: AUC with ties, κ, F1, thresholds, length strata, weights of a bootstrap, position."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diversity_tuning.evaluation.statistics import cluster_weights
from diversity_tuning.judging import agreement

LABELS = np.array([True, True, False, False])


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([4, 3, 2, 1], 1.0),
        ([1, 2, 3, 4], 0.0),
        ([1, 1, 1, 1], 0.5),
        ([3, 1, 1, 0], (1 + 1 + 0.5 + 1) / 4),  # the second good one ties with the first bad one
        ([3, 1, 2, 0], 3 / 4),
    ],
)
def test_auc_by_hand(scores, expected):
    assert agreement.auc(np.array(scores), LABELS) == pytest.approx([expected])


def test_auc_of_one_class_is_not_defined():
    assert np.isnan(agreement.auc(np.arange(3), np.ones(3, dtype=bool))).all()


def test_auc_with_weights_is_that_of_rows_repeated():
    scores, labels, times = np.array([3.0, 1, 1, 0, 2]), np.array([1, 1, 0, 0, 0], dtype=bool), np.array([2, 0, 3, 1, 1])
    repeated = agreement.auc(scores.repeat(times), labels.repeat(times))
    assert agreement.auc(scores, labels, times[None, :].astype(float)) == pytest.approx(repeated)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_figures_are_scikit_learns(rows):
    from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, roc_auc_score

    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    verdicts = scores > 2
    assert agreement.accuracy(verdicts, labels)[0] == pytest.approx(accuracy_score(labels, verdicts))
    if labels.any():
        assert agreement.f1(verdicts, labels)[0] == pytest.approx(f1_score(labels, verdicts))
    if 0 < labels.sum() < len(labels):
        assert agreement.auc(scores, labels)[0] == pytest.approx(roc_auc_score(labels, scores))
        assert agreement.kappa(verdicts, labels)[0] == pytest.approx(cohen_kappa_score(labels, verdicts))


def test_accuracy_f1_kappa_by_hand():
    """Verdicts 1 1 0 0 1, labels 1 0 0 1 1: TP 2, FP 1, FN 1, TN 1; p_e = (3·3 + 2·2) / 25."""
    verdicts, labels = np.array([1, 1, 0, 0, 1], dtype=bool), np.array([1, 0, 0, 1, 1], dtype=bool)
    assert agreement.accuracy(verdicts, labels) == pytest.approx([3 / 5])
    assert agreement.f1(verdicts, labels) == pytest.approx([4 / 6])
    assert agreement.kappa(verdicts, labels) == pytest.approx([(0.6 - 0.52) / 0.48])


def test_kappa_of_judges_who_never_differ_is_not_defined():
    assert np.isnan(agreement.kappa(np.ones(3, dtype=bool), np.ones(3, dtype=bool))).all()


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 2.5),
        ([1, 2, 3, 4], [0, 1, 0, 1], 1.5),  # as good as 3.5: the lowest
        ([0, 0, 1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 1], 0.5),
        ([5, 6], [1, 1], 4.0),
        ([5, 6], [0, 0], 7.0),
    ],
)
def test_best_threshold_by_hand(scores, labels, expected):
    assert agreement.best_threshold(np.array(scores), np.array(labels, dtype=bool)) == expected


def test_a_threshold_is_not_learned_from_what_it_judges():
    """Noise: learned on the same rows, a threshold would agree with them by more than chance; two of four rows are enough."""
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=400), rng.random(400) < 0.5
    prompts = [f"p{i // 2}" for i in range(400)]
    verdicts, thresholds = agreement.cross_fitted_verdicts(scores, labels, prompts, seed=3)
    assert abs(agreement.accuracy(verdicts, labels)[0] - 0.5) < 0.06
    names = sorted(set(prompts))
    half = dict(zip(names, np.random.default_rng(3).permutation(len(names)) % 2, strict=True))
    side = np.array([half[prompt] for prompt in prompts])
    for number in (0, 1):
        assert thresholds[number] == agreement.best_threshold(scores[side != number], labels[side != number])
        assert (verdicts[side == number] == (scores[side == number] > thresholds[number])).all()


def test_one_prompt_has_the_threshold_0():
    verdicts, thresholds = agreement.cross_fitted_verdicts(np.array([-1.0, 1]), np.array([True, False]), ["p", "p"])
    assert (verdicts.tolist(), thresholds) == ([False, True], [0.0, 0.0])


def test_wins_and_their_mean():
    won = agreement.wins(np.array([2.0, 1, 1]), np.array([1.0, 1, 2]))
    assert won.tolist() == [1, 0.5, 0]
    weights = np.array([[1.0, 1, 1], [2, 0, 0], [0, 0, 0]])
    assert agreement.weighted_mean(won, weights) == pytest.approx([0.5, 1, np.nan], nan_ok=True)
    assert agreement.weighted_mean(np.array([1, np.nan, 0])) == pytest.approx([0.5])


def test_auc_within_a_difference_of_lengths(monkeypatch):
    """Good of 10 and 20 characters, bad of 10 and 19: differences 0, .47, .5, .05; scores favour the good but in one case."""
    monkeypatch.setattr(agreement, "_ROWS", 1)  # in parts
    scores, lengths = np.array([3.0, 1, 2, 0]), np.array([10, 20, 10, 19])
    near, n = agreement.auc_within(scores, LABELS, lengths, 0.0, 0.15)
    assert (near[0], n) == (1.0, 2)
    far, n = agreement.auc_within(scores, LABELS, lengths, 0.15, 1.1)
    assert (far[0], n) == (0.5, 2)
    weights = np.array([[1.0, 1, 0, 1], [1, 3, 1, 1]])
    drawn, _ = agreement.auc_within(scores, LABELS, lengths, 0.15, 1.1, weights)
    assert drawn == pytest.approx([1.0, 1 / 4])
    everything, n = agreement.auc_within(scores, LABELS, lengths, 0.0, 1.1)
    assert (everything, n) == (agreement.auc(scores, LABELS), 4)


def test_relative_difference():
    assert agreement.relative_difference(np.array([0, 10, 8]), np.array([0, 8, 10])).tolist() == [0, 0.2, 0.2]


def test_weights_of_whole_prompts():
    weights = cluster_weights(["a", "b", "a", "c"], draws=50, seed=1)
    assert weights.shape == (50, 4)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert len(np.unique(weights, axis=0)) > 5
