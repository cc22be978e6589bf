"""The check before DPO's first update, by hand: how far a margin and the mean loss may be off."""

import math
from types import SimpleNamespace

import pytest
import torch
from trl import DPOConfig
from trl import DPOTrainer as TRLDPOTrainer

from diversity_tuning.errors import UserError
from diversity_tuning.trainers import DDPOConfig, DDPOTrainer, DPOTrainer
from tests.tiny import make_pairs
from tests.trainers.test_trainers import assert_same, build, loss_and_gradient, settings


def check(
    margins, dtype=torch.float32, mixed="no", step=0, training=True, off=1.0, rounded=False, beta=0.1, shares=None, **args
):
    """Run the check on pairs of 4, 16, 4, 16, … tokens, with weights 1, 3, … and a mean loss of ``off`` x ln 2 x their mean."""
    trainer, pairs = object.__new__(DDPOTrainer), len(margins)
    trainer.model = torch.nn.Linear(1, 1).to(dtype).train(training)
    trainer.beta, trainer._shares = beta, shares
    trainer.args, trainer.state = SimpleNamespace(**args), SimpleNamespace(global_step=step)
    trainer.accelerator = SimpleNamespace(mixed_precision=mixed)
    log_probs = -10 * torch.rand(2 * pairs, 8, generator=torch.Generator().manual_seed(0)) - 1
    log_probs.view(2, pairs, 8)[:, ::2, 2:] = 0
    log_probs = log_probs.bfloat16().float() if rounded else log_probs
    weights = torch.tensor([1.0, 3.0]).repeat(pairs)[:pairs]
    if rounded:
        trainer.aux_loss_enabled = False
        given = {"input_ids": torch.zeros(4, 9, dtype=torch.long), "completion_mask": torch.ones(4, 9)}
        trainer._log_probs(lambda **_: SimpleNamespace(log_probs=log_probs), given)
    trainer._check_policy_is_reference(off * math.log(2) * weights, weights, torch.tensor(margins), log_probs)


def test_what_rounding_explains_passes():
    """.01 nats per square root of the tokens in float32; in bfloat16 .25 times 1 + 1/n of n pairs, twice .25 of one."""
    for sign in (1, -1):
        check([sign * 0.019, sign * 0.039])
        for half in ({"dtype": torch.bfloat16}, {"mixed": "bf16"}):
            check([sign * 0.74, sign * 1.48], **half)
            check([sign * 0.99], **half)
            check([sign * 0.99, *7 * [0.0]], **half)
            check(4 * [sign * 0.56, sign * 1.12], **half)
    check([0.0, 0.0], off=1.04)
    check([0.0, 0.0], off=0.96)


def test_pairs_that_were_filled_in_are_not_counted():
    """One pair may be .98 off; eight of them may not. Seven are copies that fill the update, with no share in it."""
    margins = 4 * [0.98, 1.96]
    with pytest.raises(UserError, match="margin"):
        check(margins, dtype=torch.bfloat16)
    check(margins, dtype=torch.bfloat16, shares=torch.tensor([1.0, *7 * [0.0]]))


def test_rounding_of_the_mean_loss_grows_with_beta():
    """Mean weight × margin (1 × .4 + 3 × .9) / 2 = 1.55: at β .4 the mean loss may be .62 + 5% off, at β .1 .155 + 5%."""
    rounded, mean = [0.4, 0.9], 2 * math.log(2)
    for beta, far in ((0.4, 0.62), (0.1, 0.155)):
        within, beyond = (1 + (far + 0.05 * mean + more) / mean for more in (-0.001, 0.001))
        check(rounded, dtype=torch.bfloat16, beta=beta, off=within)
        with pytest.raises(UserError, match="the mean loss is"):
            check(rounded, dtype=torch.bfloat16, beta=beta, off=beyond)
    with pytest.raises(UserError, match="the mean loss is"):
        check([0.0, 0.0], beta=4.0, off=1.06)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("margins", "options", "found"),
    [
        ([0.021, 0.0], {}, "0.021"),
        ([0.021, 0.039], {}, "0.021"),
        ([0.019, 0.041], {}, "0.041"),
        ([1.01], {"dtype": torch.bfloat16}, "1.01"),
        ([1.01, *7 * [0.0]], {"dtype": torch.bfloat16}, "1.01"),
        ([0.76, 1.51], {"mixed": "bf16"}, "0.76"),
        ([0.45, 1.95], {"mixed": "bf16"}, "1.95"),  # too far in root mean square alone: each is within 2, their mean within 1.5
        ([0.5701, *3 * [1.13, 0.57], 1.13], {"dtype": torch.bfloat16}, "0.5701"),
        ([math.nan, 0.0], {}, "nan"),
        ([0.0, math.inf], {}, "inf"),
    ],
)
def test_a_margin_that_rounding_does_not_explain_stops(sign, margins, options, found):
    with pytest.raises(UserError, match=f"a pair has the margin -?{found} nats"):
        check([sign * margin for margin in margins], **options)
    for without in ({"step": 1}, {"training": False}, {"check_first_step": False}):
        check([sign * margin for margin in margins], **options, **without)


@pytest.mark.parametrize("off", [0.94, 1.06])
def test_a_mean_loss_that_is_not_ln_2_stops(off):
    with pytest.raises(UserError, match=r"the mean loss is 1\.\d+, not ln 2 x mean weight = 1\.3863"):
        check([0.0, 0.0], off=off)


def test_rounded_log_probabilities_stop():
    with pytest.raises(UserError, match="rounded to bfloat16"):
        check([0.0, 0.0], rounded=True)


def test_another_loss_than_the_sigmoid_is_trls(tmp_path):
    ours, theirs = (
        build(kind, DPOConfig(**settings(tmp_path, loss_type=["hinge"], beta=0.3)), make_pairs(4))
        for kind in (DPOTrainer, TRLDPOTrainer)
    )
    assert_same(loss_and_gradient(ours), loss_and_gradient(theirs))


def test_a_reference_off_by_the_same_on_both_sides_has_no_margin(tmp_path):
    trainer = build(DDPOTrainer, DDPOConfig(**settings(tmp_path)), make_pairs(2))
    original = trainer.compute_ref_log_probs
    trainer.compute_ref_log_probs = lambda *given: tuple(side + 8 for side in original(*given))
    trainer.train()


@pytest.mark.parametrize("changed", [{"use_weighting": True}, {"ld_alpha": 0.5}, {"f_divergence_type": "js_divergence"}])
def test_each_option_that_changes_the_sigmoid_loss_leaves_it_to_trl(changed):
    trainer = object.__new__(DPOTrainer)
    trainer.loss_types = ["sigmoid"]
    vars(trainer).update({"use_weighting": False, "ld_alpha": None, "f_divergence_type": "reverse_kl"})
    assert trainer._has_sigmoid_loss_only()
    vars(trainer).update(changed)
    assert not trainer._has_sigmoid_loss_only()
