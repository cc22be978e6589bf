"""How the losses of pairs are averaged and logged, by hand: pairs that were filled in, responses that were cut away."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
import trl

from diversity_tuning.trainers import DDPOTrainer, DORPOTrainer, ORPOTrainer


def bare(trainer_class, shares=None, **args):
    """A trainer without model or data; ``shares`` are those of the pairs in the update."""
    trainer = object.__new__(trainer_class)
    trainer.args, trainer.model, trainer.beta = SimpleNamespace(**args), SimpleNamespace(training=True), 0.5
    trainer._shares = None if shares is None else torch.tensor(shares)
    trainer._metrics, trainer._weight_sums = {"train": defaultdict(list)}, defaultdict(lambda: 0.0)
    trainer.accelerator = SimpleNamespace(gather=lambda sums: sums)
    return trainer


# Two pairs of four tokens, chosen sides first; of the second chosen response nothing was left.
COMPLETIONS = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1]])
ATTENDED = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]])
LOG_PROBS = torch.tensor([[-1.0, -2, -4], [-3, 0, 0], [-1, -1, -4], [0, 0, -5]])


@pytest.mark.parametrize(
    ("target", "reduction", "shares", "nll"),
    [
        ("full", "pair", None, [7 / 3, 3.0]),
        ("full", "batch", None, [7 * 2 / 4, 3 * 2 / 4]),  # their mean is 10 over 4 tokens
        ("full", "batch", [1.0, 0.0], [7 / 3, 3 / 3]),  # the second pair does not count
        ("full", "batch", [0.0, 0.0], [0.0, 0.0]),
        ("completion", "pair", None, [6 / 2, 0.0]),
    ],
)
def test_nll_and_averages_by_hand(target, reduction, shares, nll):
    trainer = bare(ORPOTrainer, shares, nll_target=target, nll_reduction=reduction)
    given = {"completion_mask": COMPLETIONS, "attention_mask": ATTENDED}
    log_probs = LOG_PROBS * trainer._targets(given)[:, 1:]
    found, chosen, rejected = trainer._nll_and_averages(log_probs, given)
    assert found.tolist() == pytest.approx(nll)
    assert (chosen.tolist(), rejected.tolist()) == ([-3, 0], [-2, -5])


@pytest.mark.parametrize(
    ("shares", "logged"), [(None, [3, 0.25, 0.5, -1.5, -2]), ([1.0, 0.0], [2, 1, 1, -1, -3]), ([0.0, 0.0], [0] * 5)]
)
def test_logged_means_are_of_pairs_that_were_not_filled_in(shares, logged):
    trainer = bare(ORPOTrainer, shares)
    trainer._log_pairs(torch.tensor([2.0, 4.0]), torch.tensor([-1.0, -2.0]), torch.tensor([-3.0, -1.0]))
    names = ("nll_loss", "rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected")
    assert [trainer._metrics["train"][name] for name in names] == [[pytest.approx(value)] for value in logged]


@pytest.mark.parametrize(
    ("variant", "reduction", "shares", "loss"),
    [
        ("paper", "pair", None, (2 * (2 - math.log(3 / 4) / 2) + (4 - math.log(3 / 4) / 2)) / 2),
        ("paper", "pair", [1.0, 0.0], 2 * (2 - math.log(3 / 4) / 2)),
        ("released", "pair", None, 1.5 * 10 / 4 - (math.log(9 / 10) + math.log(3 / 4)) / 2 / 2),
        ("released", "batch", None, 1.5 * 3 - (math.log(9 / 10) + math.log(3 / 4)) / 2 / 2),
        ("released", "pair", [1.0, 0.0], 2 * 2 - math.log(9 / 10) / 2),
        ("released", "batch", [1.0, 0.0], 2 * 2 - math.log(9 / 10) / 2),
        ("released", "pair", [0.0, 0.0], 0.0),
    ],
)
def test_dorpo_by_hand(variant, reduction, shares, loss):
    """λ = 1/2, δ = 2 and 1, NLL = 2 and 4 over 3 tokens and 1. Odds of 1 and 1/3: σ(ln 3) = 3/4, σ(2 ln 3) = 9/10."""
    trainer = bare(DORPOTrainer, shares, loss_variant=variant, nll_reduction=reduction, nll_target="full")
    given = {"completion_mask": COMPLETIONS, "attention_mask": ATTENDED, "pair_weight": torch.tensor([2.0, 1.0])}
    half, quarter = torch.full((2,), 1 / 2).log(), torch.full((2,), 1 / 4).log()
    assert trainer._reduce(torch.tensor([2.0, 4.0]), half, quarter, given).item() == pytest.approx(loss)


def test_pairs_whose_weights_are_all_0_are_logged(monkeypatch):
    monkeypatch.setattr(trl.DPOTrainer, "log", lambda *_: None)
    trainer = bare(DDPOTrainer)
    trainer._log_weights(torch.zeros(2))
    trainer.log({})
    assert [trainer._metrics["train"][f"weights/{name}"] for name in ("sum", "mean", "effective")] == [[0]] * 3
