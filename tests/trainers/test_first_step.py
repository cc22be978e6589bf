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


def check(margins, dtype=torch.float32, mixed="no", step=0, training=True, off=1.0, rounded=False, beta=0.1, **args):
    """Run the check on two pairs of 4 and 16 tokens, with weights 1 and 3 and a mean loss of ``off`` x ln 2 x 2."""
    trainer = object.__new__(DDPOTrainer)
    trainer.model = torch.nn.Linear(1, 1).to(dtype).train(training)
    trainer.beta = beta
    trainer.args, trainer.state = SimpleNamespace(**args), SimpleNamespace(global_step=step)
    trainer.accelerator = SimpleNamespace(mixed_precision=mixed)
    log_probs = -10 * torch.rand(4, 8, generator=torch.Generator().manual_seed(0)) - 1
    log_probs[[0, 2], 2:] = 0
    log_probs = log_probs.bfloat16().float() if rounded else log_probs
    weights = torch.tensor([1.0, 3.0])
    if rounded:
        trainer.aux_loss_enabled = False
        given = {"input_ids": torch.zeros(4, 9, dtype=torch.long), "completion_mask": torch.ones(4, 9)}
        trainer._log_probs(lambda **_: SimpleNamespace(log_probs=log_probs), given)
    trainer._check_policy_is_reference(off * math.log(2) * weights, weights, torch.tensor(margins), log_probs)


def test_what_rounding_explains_passes():
    """Root mean square of two pairs: 1 + 1/√2 times .01 nats per square root of the tokens in float32, .25 in bfloat16.

    A single pair may be off by twice that.
    """
    for sign in (1, -1):
        check([sign * 0.034, sign * 0.068])
        check([sign * 0.039, 0.0])
        check([0.0, sign * 0.079])
        check([sign * 0.85, sign * 1.70], dtype=torch.bfloat16)
        check([sign * 0.99, 0.0], mixed="bf16")
    check([0.0, 0.0], off=1.04)
    check([0.0, 0.0], off=0.96)


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
        ([0.041, 0.0], {}, "0.041"),
        ([0.0, 0.081], {}, "0.081"),
        ([0.035, 0.069], {}, "0.035"),
        ([0.034, 0.0695], {}, "0.0695"),
        ([1.01, 0.0], {"dtype": torch.bfloat16}, "1.01"),
        ([0.84, 1.75], {"mixed": "bf16"}, "1.75"),
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
