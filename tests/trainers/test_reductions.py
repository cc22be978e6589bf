"""How the losses of pairs are averaged and logged, by hand: pairs that were filled in, responses that were cut away."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
import trl
from transformers.trainer_pt_utils import LengthGroupedSampler

from diversity_tuning.errors import UserError
from diversity_tuning.trainers import DDPOConfig, DDPOTrainer, DORPOTrainer, ORPOConfig, ORPOTrainer
from diversity_tuning.trainers.batches import ResumableOrderMixin
from tests.tiny import make_pairs
from tests.trainers.test_trainers import build, settings


def bare(trainer_class, shares=None, processes=1, **args):
    """A trainer without model or data; ``shares`` are those of the pairs in the update. All processes have the same sums."""
    trainer = object.__new__(trainer_class)
    trainer.args, trainer.model, trainer.beta = SimpleNamespace(**args), SimpleNamespace(training=True), 0.5
    trainer._shares = None if shares is None else torch.tensor(shares)
    trainer._metrics, trainer._weight_sums = {"train": defaultdict(list)}, defaultdict(lambda: 0.0)
    trainer.accelerator = SimpleNamespace(gather=lambda sums: torch.cat([sums] * processes))
    return trainer


# Two pairs of four tokens, chosen sides first; of the second chosen response nothing was left.
COMPLETIONS = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]])
ATTENDED = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]])
LOG_PROBS = torch.tensor([[-1.0, -2, -4], [-3, 0, 0], [0, -1, -4], [0, 0, -5]])


@pytest.mark.parametrize(
    ("target", "reduction", "shares", "nll"),
    [
        ("full", "pair", None, [7 / 3, 3.0]),
        ("full", "batch", None, [7 * 2 / 4, 3 * 2 / 4]),  # their mean is 10 over 4 tokens
        ("full", "batch", [1.0, 0.0], [7 / 3, 3 / 3]),  # the second pair does not count
        ("full", "batch", [0.0, 1.0], [7 / 1, 3 / 1]),
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
    assert (chosen.tolist(), rejected.tolist()) == ([-3, 0], [-2.5, -5])


@pytest.mark.parametrize(
    ("shares", "logged"),
    [
        (None, [3, -0.75, -1, 0.25, 0.5, -1.5, -2]),
        ([1.0, 0.0], [2, -0.5, -1.5, 1, 1, -1, -3]),
        ([0.0, 0.0], [0] * 7),
    ],
)
@pytest.mark.parametrize("processes", [1, 2])
def test_logged_means_are_of_pairs_that_were_not_filled_in(processes, shares, logged):
    trainer = bare(ORPOTrainer, shares, processes)
    trainer._log_pairs(torch.tensor([2.0, 4.0]), torch.tensor([-1.0, -2.0]), torch.tensor([-3.0, -1.0]))
    rewards = ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies")
    names = ("nll_loss", *rewards, "logps/chosen", "logps/rejected")
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
    values, weights = (torch.tensor([2.0, 4.0]), half, quarter), trainer._take_weights(given)
    losses = weights * trainer.objective(*values)
    assert trainer._reduce(losses, values, weights, given).item() == pytest.approx(loss)
    assert trainer._weight_sums["train"][0] == (2 if shares is None else sum(shares))  # pairs


def test_pairs_whose_weights_are_all_0_are_logged(monkeypatch):
    monkeypatch.setattr(trl.DPOTrainer, "log", lambda *_: None)
    trainer = bare(DDPOTrainer)
    trainer._log_weights(torch.zeros(2))
    trainer.log({})
    assert [trainer._metrics["train"][f"weights/{name}"] for name in ("sum", "mean", "effective")] == [[0]] * 3


def test_logged_weights_are_those_of_all_processes_without_pairs_that_were_filled_in():
    trainer = bare(DDPOTrainer, [1.0, 0.0], processes=2)
    for weights in ([2.0, 4.0], [1.0, 9.0]):
        trainer._log_weights(torch.tensor(weights))
    assert trainer._weight_sums["train"].tolist() == [4, 6, 10]  # pairs, sum, sum of squares


@pytest.mark.parametrize(
    ("pairs", "left_over", "rank", "shares"),
    [
        (2, 3, 0, None),
        (2, 3, 1, [1, 0]),
        (2, 1, 0, [1, 0]),
        (2, 1, 1, [0, 0]),
        (3, 2, 0, [1 / 2, 1 / 2, 0]),
        (2, 0, 1, None),  # the last batches are full
        (2, -1, 1, None),  # their size is not known
    ],
)
def test_pairs_filled_into_the_last_batches_of_an_evaluation_have_no_share(pairs, left_over, rank, shares):
    def found(processes, last):
        trainer = bare(DDPOTrainer)
        state = SimpleNamespace(end_of_dataloader=last, remainder=left_over)
        trainer.accelerator = SimpleNamespace(num_processes=processes, process_index=rank, gradient_state=state)
        return trainer._evaluation_shares(torch.zeros(2 * pairs, 5))

    given = found(2, last=True)
    assert given is None if shares is None else given.tolist() == pytest.approx(shares)
    assert found(2, last=False) is None
    assert found(1, last=True) is None


@pytest.mark.parametrize("processes", [1, 2])
def test_the_evaluation_loss_is_the_mean_over_pairs(monkeypatch, processes):
    """1 and 3, then 5 beside a pair that was filled in: 3, where a mean of means is 3.5."""
    trainer = bare(DDPOTrainer, processes=processes, device="cpu")
    trainer.model.training = False

    def loop(self, *_):
        for losses, shares in batches:
            self._shares = shares
            self._mean_over_pairs(torch.tensor(losses))
        return SimpleNamespace(metrics={"eval_loss": -1.0})

    monkeypatch.setattr(trl.DPOTrainer, "evaluation_loop", loop)
    batches = [([1.0, 3.0], None), ([5.0, 99.0], torch.tensor([1.0, 0.0]))]
    assert trainer.evaluation_loop(None, "").metrics == {"eval_loss": 3.0}
    batches = []
    assert trainer.evaluation_loop(None, "").metrics == {"eval_loss": -1.0}


def test_a_pair_is_as_long_as_its_longer_side_up_to_the_limit(tmp_path):
    config = DDPOConfig(**settings(tmp_path, train_sampling_strategy="group_by_length", max_length=60))
    rows = build(DDPOTrainer, config, make_pairs(8)).train_dataset
    sides = zip(rows["prompt_ids"], rows["chosen_ids"], rows["rejected_ids"], strict=True)
    whole = [max(len(prompt + chosen), len(prompt + rejected)) for prompt, chosen, rejected in sides]
    assert min(whole) < 60 < max(whole)
    assert rows[config.length_column_name] == [min(length, 60) for length in whole]


def test_orpo_refuses_a_reference_and_logits():
    with pytest.raises(ValueError, match="ORPO has no reference model"):
        ORPOTrainer(model=None, ref_model=object(), args=SimpleNamespace())
    with pytest.raises(ValueError, match="leave compute_metrics out"):
        bare(ORPOTrainer)._compute_loss(None, {}, return_outputs=True)


def test_orpo_looks_for_rounding_at_the_first_step_of_training():
    trainer = bare(ORPOTrainer, nll_target="full")
    trainer.aux_loss_enabled, trainer.state = False, SimpleNamespace(global_step=0)
    rounded = SimpleNamespace(log_probs=(-10 * torch.rand(2, 100) - 1).bfloat16().float())
    given = dict.fromkeys(("input_ids", "attention_mask", "completion_mask"), torch.ones(2, 101, dtype=torch.long))
    with pytest.raises(UserError, match="rounded to bfloat16"):
        trainer._log_probs(lambda **_: rounded, given)
    trainer.state.global_step = 1
    assert trainer._log_probs(lambda **_: rounded, given) == (pytest.approx(rounded.log_probs), None)
    trainer.state.global_step, trainer.model.training = 0, False
    assert trainer._log_probs(lambda **_: rounded, given)[1] is None


def test_defaults_are_the_papers(tmp_path):
    made = [(config.beta, config.max_length) for config in (DDPOConfig(str(tmp_path)), ORPOConfig(str(tmp_path)))]
    assert made == [(0.1, 2048), (0.25, 2048)]


@pytest.mark.parametrize(("save", "data_seed", "seed"), [("no", None, None), ("steps", None, 3), ("steps", 8, 8)])
def test_length_groups_have_a_seed_where_a_run_can_be_resumed(save, data_seed, seed):
    drawn = LengthGroupedSampler(2, lengths=[3, 1, 2, 4])

    class Plain:
        args = SimpleNamespace(save_strategy=save, seed=3, data_seed=data_seed)

        def _get_train_sampler(self, _):
            return drawn

    class Resumable(ResumableOrderMixin, Plain):
        pass

    found = Resumable()._get_train_sampler()
    assert found is drawn if seed is None else (found.seed, found.lengths, found.batch_size) == (seed, drawn.lengths, 2)
