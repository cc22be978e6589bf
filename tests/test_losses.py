"""Losses: the released code's values, numbers by hand, properties, gradients."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diversity_tuning.losses import (
    ddpo_loss,
    dorpo_loss,
    dorpo_loss_released,
    dpo_loss,
    log1mexp,
    log_odds_ratio,
    odds_ratio_loss,
    orpo_loss,
    spl_loss,
)

ORACLE = json.loads((Path(__file__).parent / "oracle" / "released_code.json").read_text(encoding="utf-8"))
logps = st.floats(-500, -1e-3)
averages = st.floats(-20, -1e-6)
deltas = st.floats(0, 5)


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


def column(case, *names):
    return [t(*ORACLE[case][name]) for name in names]


def assert_equal(ours, theirs, tolerance=1e-12):
    torch.testing.assert_close(ours, torch.as_tensor(theirs, dtype=torch.float64), rtol=tolerance, atol=tolerance)


# The released code.


def test_dpo_and_ddpo_are_the_oracle():
    inputs = column("ddpo", "policy_chosen_logps", "policy_rejected_logps", "ref_chosen_logps", "ref_rejected_logps")
    (delta,) = column("ddpo", "delta")
    beta = ORACLE["ddpo"]["beta"]
    assert_equal(dpo_loss(*inputs, beta), ORACLE["ddpo"]["dpo_per_pair"])
    weighted = ddpo_loss(*inputs, beta, delta)
    assert_equal(weighted, ORACLE["ddpo"]["ddpo_per_pair"])
    assert_equal(weighted.mean(), ORACLE["ddpo"]["ddpo_loss"])


def test_orpo_and_dorpo_are_the_oracle():
    chosen, rejected, nll, delta = column("dorpo", "avg_chosen_logps", "avg_rejected_logps", "chosen_nll", "delta")
    lam = ORACLE["dorpo"]["lambda"]
    assert_equal(log_odds_ratio(chosen, rejected), ORACLE["dorpo"]["log_odds"])
    assert_equal(orpo_loss(nll, chosen, rejected, lam), ORACLE["dorpo"]["orpo_per_pair"])
    weighted = dorpo_loss(nll, chosen, rejected, lam, delta)
    assert_equal(weighted, ORACLE["dorpo"]["paper_per_pair"])
    assert_equal(weighted.mean(), ORACLE["dorpo"]["paper_loss"])


def test_released_dorpo_is_the_oracle():
    chosen, rejected, delta = column("dorpo", "avg_chosen_logps", "avg_rejected_logps", "delta")
    released = ORACLE["dorpo"]["released"]
    loss = dorpo_loss_released(t(released["batch_nll"]).squeeze(), chosen, rejected, ORACLE["dorpo"]["lambda"], delta)
    assert_equal(loss, released["loss"])


# By hand.


def test_dpo_by_hand():
    # h = (-10 - -12) - (-20 - -15) = 7; beta h = 0.7
    inputs = t(-10), t(-20), t(-12), t(-15)
    assert_equal(dpo_loss(*inputs, 0.1), [math.log(1 + math.exp(-0.7))])
    assert_equal(ddpo_loss(*inputs, 0.1, t(2.5)), [2.5 * math.log(1 + math.exp(-0.7))])
    smooth = 0.8 * math.log(1 + math.exp(-0.7)) + 0.2 * math.log(1 + math.exp(0.7))
    assert_equal(dpo_loss(*inputs, 0.1, label_smoothing=0.2), [smooth])


def test_odds_ratio_by_hand():
    # p = 1/2 has odds 1; p = 1/5 has odds 1/4: the odds ratio is 4, sigmoid(ln 4) = 4/5.
    chosen, rejected = t(math.log(0.5)), t(math.log(0.2))
    assert_equal(log_odds_ratio(chosen, rejected), [math.log(4)])
    assert_equal(odds_ratio_loss(chosen, rejected), [-math.log(0.8)])
    assert_equal(dorpo_loss(t(3.0), chosen, rejected, 0.25, t(2.0)), [2 * (3 - 0.25 * math.log(0.8))])
    # delta 2 inside the log-sigmoid: sigmoid(2 ln 4) = 16/17
    released = dorpo_loss_released(torch.tensor(3.0, dtype=torch.float64), chosen, rejected, 0.25, t(2.0))
    assert_equal(released, 2 * 3 - 0.25 * math.log(16 / 17))


def test_released_and_paper_agree_only_for_unit_weights():
    chosen, rejected, nll = column("dorpo", "avg_chosen_logps", "avg_rejected_logps", "chosen_nll")
    ones = torch.ones_like(nll)
    assert_equal(
        dorpo_loss_released(nll.mean(), chosen, rejected, 0.25, ones), dorpo_loss(nll, chosen, rejected, 0.25, ones).mean()
    )
    half = ones / 2
    difference = (
        dorpo_loss_released(nll.mean(), chosen, rejected, 0.25, half) - dorpo_loss(nll, chosen, rejected, 0.25, half).mean()
    )
    assert difference.abs() > 1e-3


# Properties.


@settings(max_examples=60, deadline=None)
@given(*[logps] * 4, st.floats(0.01, 1), deltas, st.floats(0, 4))
def test_delta_weighs_ddpo_linearly(chosen, rejected, ref_chosen, ref_rejected, beta, delta, factor):
    inputs = *map(t, (chosen, rejected, ref_chosen, ref_rejected)), beta
    one = ddpo_loss(*inputs, t(delta))
    assert (one >= 0).all()
    assert_equal(ddpo_loss(*inputs, t(factor * delta)), factor * one, 1e-10)
    assert torch.equal(ddpo_loss(*inputs, t(1.0)), dpo_loss(*inputs))
    assert ddpo_loss(*inputs, t(0.0)).item() == 0


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 20), averages, averages, st.floats(0, 2), deltas, st.floats(0, 4))
def test_delta_weighs_dorpo_linearly(nll, chosen, rejected, lam, delta, factor):
    inputs = t(nll), t(chosen), t(rejected), lam
    one = dorpo_loss(*inputs, t(delta))
    assert (one >= 0).all()
    assert_equal(dorpo_loss(*inputs, t(factor * delta)), factor * one, 1e-10)
    assert torch.equal(dorpo_loss(*inputs, t(1.0)), orpo_loss(*inputs))


@settings(max_examples=60, deadline=None)
@given(logps, logps, st.floats(0.01, 1), st.floats(0, 0.49))
def test_policy_at_its_reference_has_loss_ln_2(chosen, rejected, beta, smoothing):
    loss = dpo_loss(t(chosen), t(rejected), t(chosen), t(rejected), beta, smoothing)
    assert_equal(loss, [math.log(2)])


@settings(max_examples=60, deadline=None)
@given(*[logps] * 4, st.floats(0.01, 1), st.floats(0, 1))
def test_label_smoothing_is_symmetric(chosen, rejected, ref_chosen, ref_rejected, beta, smoothing):
    """Flipping a pair is flipping the label: smoothing e of the pair is 1 - e of the flipped pair."""
    pair = dpo_loss(t(chosen), t(rejected), t(ref_chosen), t(ref_rejected), beta, smoothing)
    flipped = dpo_loss(t(rejected), t(chosen), t(ref_rejected), t(ref_chosen), beta, 1 - smoothing)
    assert_equal(pair, flipped, 1e-9)


@settings(max_examples=60, deadline=None)
@given(averages, averages)
def test_flipped_pair_has_the_opposite_odds(chosen, rejected):
    assert_equal(log_odds_ratio(t(chosen), t(rejected)), -log_odds_ratio(t(rejected), t(chosen)), 1e-12)


# Numerical edges.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("exponent", range(-38, 5))
def test_log1mexp_and_its_gradient_are_finite(dtype, exponent):
    for mantissa in (1.0, 3.7, 9.99):
        x = torch.tensor(-mantissa * 10.0**exponent, dtype=dtype, requires_grad=True)
        y = log1mexp(x)
        y.backward()
        assert torch.isfinite(y), x
        assert torch.isfinite(x.grad), x
        assert y <= 0
        assert x.grad <= 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log1mexp_at_zero_is_finite(dtype):
    x = torch.zeros(3, dtype=dtype, requires_grad=True)
    log1mexp(x).sum().backward()
    assert torch.isfinite(log1mexp(x)).all()
    assert torch.isfinite(x.grad).all()


@settings(max_examples=200, deadline=None)
@given(st.floats(-600, -1e-12))
def test_log1mexp_is_accurate(x):
    from decimal import Decimal, getcontext

    getcontext().prec = 400
    exact = float((1 - Decimal(x).exp()).ln())
    assert log1mexp(t(x)).item() == pytest.approx(exact, rel=1e-12, abs=1e-300)


def test_log1mexp_is_continuous_where_the_branches_meet():
    around = t(*(-math.log(2) + step for step in (-1e-9, -1e-15, 0.0, 1e-15, 1e-9)))
    values = log1mexp(around)
    assert (values.diff() <= 0).all()
    assert_equal(values, [-math.log(2)] * 5, 3e-9)


def test_a_response_the_model_is_certain_of_has_a_finite_loss_and_gradient():
    chosen = torch.tensor([0.0, -1e-9], requires_grad=True)
    rejected = torch.tensor([-5.0, -90.0], requires_grad=True)
    loss = odds_ratio_loss(chosen, rejected).sum() + odds_ratio_loss(rejected, chosen).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(chosen.grad).all()
    assert torch.isfinite(rejected.grad).all()


# Gradients against finite differences.


def test_gradients():
    generator = torch.Generator().manual_seed(0)

    def draw(scale=2.0):
        return (-0.05 - scale * torch.rand(5, generator=generator, dtype=torch.float64)).requires_grad_()

    delta = torch.rand(5, generator=generator, dtype=torch.float64) * 2
    policy_chosen, policy_rejected, ref_chosen, ref_rejected = draw(30), draw(30), draw(30), draw(30)
    assert torch.autograd.gradcheck(
        lambda *x: ddpo_loss(*x, 0.1, delta, 0.1), (policy_chosen, policy_rejected, ref_chosen, ref_rejected)
    )
    nll, chosen, rejected = draw(), draw(), draw()
    assert torch.autograd.gradcheck(lambda *x: dorpo_loss(*x, 0.25, delta), (nll, chosen, rejected))
    assert torch.autograd.gradcheck(lambda n, c, r: dorpo_loss_released(n.mean(), c, r, 0.25, delta), (nll, chosen, rejected))
    assert torch.autograd.gradcheck(log1mexp, (draw(3),))


def test_the_gradient_of_ddpo_is_that_of_dpo_times_delta():
    chosen, rejected, delta = t(-3, -4, -5).requires_grad_(), t(-4, -4, -4), t(0.0, 1.0, 2.5)
    (weighted,) = torch.autograd.grad(ddpo_loss(chosen, rejected, t(-3, -3, -3), rejected, 0.1, delta).sum(), chosen)
    (plain,) = torch.autograd.grad(dpo_loss(chosen, rejected, t(-3, -3, -3), rejected, 0.1).sum(), chosen)
    assert_equal(weighted, delta * plain)


# SPL


def test_spl_by_hand():
    """α = 1, β = 2: log-ratios of 3 for the policy and 1 for the reference give −log σ(1·3 − 2·1)."""
    loss = spl_loss(t(-1.0), t(-4.0), t(-2.0), t(-3.0), alpha=1.0, beta=2.0)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))


@given(*[st.floats(-500, 0)] * 4, st.floats(0.01, 3))
def test_spl_of_one_strength_is_dpo_to_the_last_bit(chosen, rejected, ref_chosen, ref_rejected, beta):
    sides = [torch.tensor([value], requires_grad=True) for value in (chosen, rejected, ref_chosen, ref_rejected)]
    losses = spl_loss(*sides, beta, beta), dpo_loss(*sides, beta)
    assert torch.equal(*losses)
    gradients = [torch.autograd.grad(loss.sum(), sides[:2]) for loss in losses]
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_the_optimum_of_spl():
    """Over four responses, π ∝ π_ref^{β/α}·p^{1/α} has the least expected loss under Bradley and Terry's preferences."""
    alpha, beta = 0.5, 1.5
    strength = torch.tensor([1.0, 2.0, 4.0, 0.5], dtype=torch.float64)
    reference = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64).log()
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    first, second = torch.tensor([(i, j) for i in range(4) for j in range(4) if i != j]).T
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def expected_loss():
        optimizer.zero_grad()
        policy = logits.log_softmax(0)
        losses = spl_loss(policy[first], policy[second], reference[first], reference[second], alpha, beta)
        loss = (strength[first] / (strength[first] + strength[second]) * losses).sum()
        loss.backward()
        return loss

    optimizer.step(expected_loss)
    best = (beta / alpha * reference + strength.log() / alpha).softmax(0)
    torch.testing.assert_close(logits.detach().softmax(0), best, rtol=1e-5, atol=1e-7)
