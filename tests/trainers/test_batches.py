"""How pairs become batches: uneven last batches, several processes, length groups; what is logged; memory-saving options."""

import math
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset

from diversity_tuning.errors import UserError
from diversity_tuning.trainers import DDPOConfig, DDPOTrainer, DORPOConfig, DORPOTrainer, DPOTrainer, ORPOConfig, ORPOTrainer
from diversity_tuning.trainers.batches import PAIR_SHARES
from tests.tiny import make_model, make_pairs, make_tokenizer
from tests.trainers.test_trainers import assert_same, build, loss_and_gradient, settings

OURS = [(DDPOTrainer, DDPOConfig), (ORPOTrainer, ORPOConfig), (DORPOTrainer, DORPOConfig)]


def trained(tmp_path, trainer_class, config_class, rows, lora=True, **extra):
    trainer = build(trainer_class, config_class(**settings(tmp_path, **extra)), rows, lora)
    trainer.train()
    return trainer, {name: p.detach().clone() for name, p in trainer.model.named_parameters() if p.requires_grad}


def assert_close(ours, theirs, atol=2e-6):
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-4, atol=atol)


# Every pair counts the same.


@pytest.mark.parametrize(("trainer_class", "config_class"), OURS)
def test_an_uneven_last_batch_gives_no_pair_more_weight(tmp_path, trainer_class, config_class):
    """14 pairs as 4 + 4 | 4 + 2 are 8 | 6. (A mean of batch means would weigh the last two pairs double.)"""
    options = {"max_steps": -1, "num_train_epochs": 1}
    _, accumulated = trained(
        tmp_path / "a", trainer_class, config_class, make_pairs(14), gradient_accumulation_steps=2, **options
    )
    _, whole = trained(tmp_path / "b", trainer_class, config_class, make_pairs(14), per_device_train_batch_size=8, **options)
    assert_close(accumulated, whole)


@pytest.mark.parametrize(
    ("left_over", "rank", "shares"),
    [
        (5, 0, [2 / 5, 2 / 5, 2 / 5, 2 / 5]),  # 4 pairs here, 1 there; 2 processes, so the trainer halves
        (5, 1, [2 / 5, 0, 0, 0]),
        (3, 0, [2 / 3, 2 / 3, 2 / 3, 0]),
        (3, 1, [0, 0, 0, 0]),
        (0, 1, None),  # nothing was filled in
    ],
)
def test_pairs_that_only_fill_up_a_batch_do_not_count(tmp_path, left_over, rank, shares):
    """accelerate completes the last batches of all processes with pairs from the start."""
    trainer = build(DDPOTrainer, DDPOConfig(**settings(tmp_path)), make_pairs(4))
    total = torch.tensor([left_over or 8])
    trainer.accelerator = SimpleNamespace(
        num_processes=2, process_index=rank, gather=lambda _: total, gradient_state=SimpleNamespace(remainder=left_over)
    )
    batch = {"input_ids": torch.zeros(8, 3)}
    trainer._share_out([batch], torch.device("cpu"))
    assert (PAIR_SHARES in batch) == (shares is not None)
    if shares:
        assert batch[PAIR_SHARES].tolist() == pytest.approx(shares)


def test_length_groups_pad_less_and_lose_no_pair(tmp_path):
    rows = make_pairs(64, seed=3)

    def padding(strategy):
        config = DDPOConfig(**settings(tmp_path, train_sampling_strategy=strategy))
        batches = list(build(DDPOTrainer, config, rows).get_train_dataloader())
        weights = torch.cat([batch["pair_weight"] for batch in batches])
        assert weights.sort().values.tolist() == pytest.approx(sorted(row["deviation_chosen"] for row in rows))
        masks = [batch["attention_mask"].float() for batch in batches]
        return 1 - sum(m.sum() for m in masks) / sum(m.numel() for m in masks)

    assert padding("group_by_length") < 0.6 * padding("random")


def test_length_groups_depend_on_seed_and_epoch_only(tmp_path):
    def orders(trainer_class, config_class):
        config = config_class(**settings(tmp_path, train_sampling_strategy="group_by_length"))
        sampler = build(trainer_class, config, make_pairs(16))._get_train_sampler()
        torch.rand(7)  # what happened before, such as a run that was killed, changes nothing
        first = list(sampler)
        sampler.set_epoch(1)
        return first, list(sampler)

    first, second = orders(DDPOTrainer, DDPOConfig)
    assert first != second
    assert (first, second) == orders(DORPOTrainer, DORPOConfig)
    assert sorted(first) == list(range(16))


# What is logged.


def test_logged_weights_are_those_of_all_pairs_since_the_last_log(tmp_path):
    """Σδ, Σδ/n and (Σδ)²/Σδ², over two steps of two batches of two, and nothing of the steps before."""
    weights = [0.0, 0.5, 1.0, 1.5, 2.0, 0.25, 0.75, 4.0] * 2
    trainer, _ = trained(
        tmp_path, DDPOTrainer, DDPOConfig, make_pairs(16, weights=weights), per_device_train_batch_size=2, max_steps=4,
        gradient_accumulation_steps=2, logging_steps=2, train_sampling_strategy="sequential",
    )  # fmt: skip
    logs = [row for row in trainer.state.log_history if "loss" in row]
    assert len(logs) == 2
    half = weights[:8]
    effective = sum(half) ** 2 / sum(w * w for w in half)
    for row in logs:
        assert row["weights/sum"] == pytest.approx(sum(half))
        assert row["weights/mean"] == pytest.approx(sum(half) / 8)
        assert row["weights/effective"] == pytest.approx(effective)
        assert row["weights/effective_share"] == pytest.approx(effective / 8)


def test_evaluation_logs_weights_of_its_own(tmp_path):
    trainer = build(DORPOTrainer, DORPOConfig(**settings(tmp_path)), make_pairs(4, weights=[1.0, 2.0, 3.0, 4.0]))
    metrics = trainer.evaluate(Dataset.from_list(make_pairs(3, weights=[0.5, 0.5, 2.0])))
    assert metrics["eval_loss"] > 0
    logged = trainer.state.log_history[-1]
    assert (logged["eval_weights/sum"], logged["eval_weights/mean"]) == (3.0, 1.0)


# Precision, memory, references.


@pytest.mark.parametrize(("trainer_class", "config_class"), OURS)
@pytest.mark.parametrize("lora", [True, False])
def test_gradient_checkpointing_changes_nothing(tmp_path, trainer_class, config_class, lora):
    options = {"max_steps": 2, **({"precompute_ref_log_probs": True} if config_class is DDPOConfig else {})}
    trainer, checkpointed = trained(
        tmp_path / "a", trainer_class, config_class, make_pairs(8), lora, gradient_checkpointing=True, **options
    )
    assert any(getattr(module, "gradient_checkpointing", False) for module in trainer.model.modules())
    _, plain = trained(tmp_path / "b", trainer_class, config_class, make_pairs(8), lora, **options)
    assert_close(checkpointed, plain)


@pytest.mark.parametrize(("trainer_class", "config_class"), OURS)
def test_bf16_is_near_float32(tmp_path, trainer_class, config_class):
    def first_step(bf16):
        trainer = build(trainer_class, config_class(**settings(tmp_path, bf16=bf16)), make_pairs(4))
        dtypes = []
        projection = next(m for name, m in trainer.model.named_modules() if name.endswith("mlp.up_proj"))
        projection.register_forward_hook(lambda module, given, made: dtypes.append(made.dtype))
        trainer.train()
        return trainer.state.log_history[0], set(dtypes)

    (half, in_half), (single, in_single) = first_step(True), first_step(False)
    assert (in_half, in_single) == ({torch.bfloat16}, {torch.float32}), "policy and reference"
    assert half["loss"] == pytest.approx(single["loss"], rel=0.02)
    assert half["grad_norm"] == pytest.approx(single["grad_norm"], rel=0.05)


def test_first_step_in_bf16_is_ln_2_times_the_mean_weight(tmp_path):
    rows = make_pairs(8)
    options = {"bf16": True, "per_device_train_batch_size": 8}
    trainer, _ = trained(tmp_path, DDPOTrainer, DDPOConfig, rows, **options)
    mean = sum(row["deviation_chosen"] for row in rows) / 8
    assert trainer.state.log_history[0]["loss"] == pytest.approx(math.log(2) * mean, rel=0.02)


@pytest.mark.parametrize("lora", [True, False])
def test_precomputed_references_are_the_same_for_the_whole_model(tmp_path, lora):
    rows = make_pairs(4)
    plain = build(DDPOTrainer, DDPOConfig(**settings(tmp_path)), rows, lora)
    precomputed = build(DDPOTrainer, DDPOConfig(**settings(tmp_path, precompute_ref_log_probs=True)), rows, lora)
    assert {"ref_chosen_logps", "ref_rejected_logps"} <= set(precomputed.train_dataset.column_names)
    assert_same(loss_and_gradient(precomputed), loss_and_gradient(plain))


def test_the_reference_is_a_copy_of_the_adapter_that_never_moves(tmp_path):
    trainer = build(DDPOTrainer, DDPOConfig(**settings(tmp_path, max_steps=2)), make_pairs(8))

    def adapter(name):
        return {k.replace(f".{name}.", "."): v.clone() for k, v in trainer.model.named_parameters() if f".{name}." in k}

    start = adapter("default")
    assert start
    assert all(torch.equal(weight, start[name]) for name, weight in adapter("ref").items())
    trainer.train()
    assert all(torch.equal(weight, start[name]) for name, weight in adapter("ref").items())
    assert not any(torch.equal(weight, start[name]) for name, weight in adapter("default").items())


@pytest.mark.parametrize(("trainer_class", "config_class"), OURS[1:])
@pytest.mark.parametrize("lora", [True, False])
def test_orpo_keeps_no_reference(tmp_path, trainer_class, config_class, lora):
    """Neither a copy of the adapter nor a second model nor a pass over the data for its log-probabilities."""
    trainer = build(trainer_class, config_class(**settings(tmp_path)), make_pairs(4), lora)
    assert trainer.ref_model is None
    assert not any(".ref." in name for name, _ in trainer.model.named_parameters())
    assert not {"ref_chosen_logps", "ref_rejected_logps"} & set(trainer.train_dataset.column_names)


# The check at the first step.


@pytest.mark.parametrize("trainer_class", [DPOTrainer, DDPOTrainer])
def test_another_reference_model_is_stopped(tmp_path, trainer_class):
    config = DDPOConfig(**settings(tmp_path))
    trainer = trainer_class(
        model=make_model(make_tokenizer()), ref_model=make_model(make_tokenizer(), seed=7), args=config,
        train_dataset=Dataset.from_list(make_pairs(4)), processing_class=make_tokenizer(),
    )  # fmt: skip
    with pytest.raises(UserError, match="before the first update a pair has the margin"):
        trainer.train()
    trainer.args.check_first_step = False
    trainer.train()
