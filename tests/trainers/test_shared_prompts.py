"""One pass over what prompts have in common gives the losses, gradients, references and figures of whole rows."""

import contextlib

import pytest
import torch
from trl import DPOConfig as TRLConfig

from diversity_tuning.errors import UserError
from diversity_tuning.trainers import DDPOConfig, DDPOTrainer, DPOConfig, ORPOConfig, ORPOTrainer
from diversity_tuning.trainers.shared_prompts import SharedPrompts, check_sharing, pack
from tests.tiny import make_model, make_pairs, make_tokenizer
from tests.trainers.test_trainers import build, loss_and_gradient, move_policy, settings


def test_packed_rows_by_hand():
    """The prompt 5 6 7 of both, and a padded pair that shares nothing: its chosen side was cut from the left."""
    ids = torch.tensor([[5, 6, 7, 1, 2], [8, 3, 0, 0, 0], [5, 6, 7, 4, 0], [9, 8, 2, 0, 0]])
    attention = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 0, 0]])
    labels = torch.full_like(ids, -100)
    labels[0, 3:], labels[2, 3], labels[1, 1], labels[3, 2] = torch.tensor([1, 2]), 4, 3, 2
    packed, places = pack(ids, attention, labels)
    assert packed["input_ids"].tolist() == [[5, 6, 7, 1, 2, 7, 4], [8, 3, 9, 8, 2, 0, 0]]
    assert packed["position_ids"].tolist() == [[0, 1, 2, 3, 4, 2, 3], [0, 1, 0, 1, 2, 0, 0]]
    assert packed["shift_labels"].tolist() == [[-100, -100, 1, 2, -100, 4, -100], [3, -100, -100, 2, -100, -100, -100]]
    looks = packed["attention_mask"][0, 0].int().tolist()
    assert looks[4] == [1, 1, 1, 1, 1, 0, 0]
    assert looks[6] == [1, 1, 0, 0, 0, 1, 1]
    assert places.T.tolist() == [[0, 2, 0, 2], [0, 3, 0, 3], [2, 2, 0, 5], [1, 0, 1, 0], [3, 1, 1, 3]]


@pytest.mark.parametrize("room", [0, 40, 1000])
def test_a_token_looks_at_its_own_sequence_and_nothing_else(room):
    generator = torch.Generator().manual_seed(0)
    prompts = torch.tensor([[1, 1, 2, 2, 1, 2, 1], [1, 1, 2, 1, 1, 1, 1], [2, 1, 1, 1, 2, 2, 2]])
    ids = torch.randint(3, 6, (10, 13), generator=generator)
    ids[:, :7] = prompts[torch.randint(0, 3, (10,), generator=generator)]
    first, lengths = (torch.randint(*ends, (10, 1), generator=generator) for ends in ((1, 8), (9, 14)))
    at = torch.arange(13)
    labels = ids.masked_fill((at < first) | (at >= lengths), -100)
    packed, places = pack(ids, (at < lengths - 1).long(), labels, room)
    assert {tuple(place) for place in places[:2].T.tolist()} == {
        (row, at - 1) for row, at in (labels != -100).nonzero().tolist()
    }
    for side, position, row, place in places.T.tolist():
        seen = packed["attention_mask"][row, 0, place].nonzero().flatten()
        seen = seen[packed["position_ids"][row, seen].argsort()]
        assert packed["position_ids"][row, seen].tolist() == list(range(position + 1))
        assert packed["input_ids"][row, seen].tolist() == ids[side, : position + 1].tolist()
        assert packed["shift_labels"][row, place] == ids[side, position + 1]
    assert packed["input_ids"].numel() <= {0: 115, 40: 114, 1000: 80}[room]


@pytest.mark.parametrize("share", [False, True])
def test_references_computed_in_another_order_are_each_pairs_own(tmp_path, share):
    rows = sorted(make_pairs(6), key=lambda row: len(str(row)))  # shortest first; references start with the longest
    extra = dict(precompute_ref_log_probs=True, precompute_ref_batch_size=2, share_prompts=share)
    trainer = build(DDPOTrainer, DDPOConfig(**settings(tmp_path, **extra)), rows)
    assert [row["chosen"][-1] for row in trainer.train_dataset] == [row["chosen"][-1] for row in rows]
    for row in trainer.train_dataset:
        alone = trainer.compute_ref_log_probs(trainer.model, trainer.data_collator([row]))
        assert [row["ref_chosen_logps"], row["ref_rejected_logps"]] == pytest.approx([float(one) for one in alone], rel=1e-4)


@pytest.mark.parametrize("extra", [{}, {"max_length": 24, "truncation_mode": "keep_end"}, {"precompute_ref_log_probs": True}])
def test_loss_and_gradient_are_those_of_whole_rows(tmp_path, extra):
    def of(**more):
        return build(DDPOTrainer, DDPOConfig(**settings(tmp_path, **extra, **more)), make_pairs(4))

    whole, shared = of(), of(share_prompts=True)
    (loss, gradient), (other, theirs) = loss_and_gradient(whole), loss_and_gradient(shared)
    assert float(other) == pytest.approx(float(loss), rel=1e-5)
    for name, value in gradient.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-3, atol=1e-5)
    for name in ("entropy", "mean_token_accuracy", "logps/chosen", "num_tokens"):
        assert shared._metrics["train"][name] == pytest.approx(whole._metrics["train"][name], rel=1e-4)


def test_orpo_shares_prompts_too(tmp_path):
    losses = [
        loss_and_gradient(build(ORPOTrainer, ORPOConfig(**settings(tmp_path, share_prompts=one)), make_pairs(4)))[0]
        for one in (False, True)
    ]
    assert float(losses[1]) == pytest.approx(float(losses[0]), rel=1e-5)


def test_a_training_with_shared_prompts_ends_where_the_other_does(tmp_path):
    ends = []
    for share in (False, True):
        trainer = build(
            DDPOTrainer,
            DDPOConfig(**settings(tmp_path, max_steps=3, share_prompts=share)),
            make_pairs(4),
        )
        trainer.train()
        ends.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters() if p.requires_grad]))
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-3, atol=1e-5)


def test_attention_that_cannot_be_told_is_refused(tmp_path):
    config = DDPOConfig(**settings(tmp_path, share_prompts=True))
    trainer = build(DDPOTrainer, config, make_pairs(4))
    trainer.model.config._attn_implementation = "eager"
    with pytest.raises(UserError, match="attention is computed by eager"):
        trainer.train()
    assert not hasattr(TRLConfig(**settings(tmp_path)), "share_prompts")


def test_a_model_that_does_not_obey_the_mask_stops_before_the_first_update(tmp_path, monkeypatch):
    from diversity_tuning.trainers import shared_prompts

    def looks_everywhere(*batch):
        packed, places = pack(*batch)
        return {**packed, "attention_mask": packed["attention_mask"].new_ones(packed["attention_mask"].shape).tril()}, places

    monkeypatch.setattr(shared_prompts, "pack", looks_everywhere)
    trainer = build(DDPOTrainer, DDPOConfig(**settings(tmp_path, share_prompts=True)), make_pairs(4))
    with pytest.raises(UserError, match="off those of whole rows"):
        trainer.train()


def test_a_loss_of_trl_does_not_share_prompts(tmp_path):
    with pytest.raises(ValueError, match="share_prompts is of the sigmoid DPO loss"):
        DPOConfig(**settings(tmp_path, share_prompts=True, loss_type=["ipo"]))
    assert DPOConfig(**settings(tmp_path, share_prompts=True)).share_prompts


def test_a_reference_that_reads_no_mask_is_refused(tmp_path):
    config = DDPOConfig(**settings(tmp_path, share_prompts=True, check_first_step=False))
    trainer = build(DDPOTrainer, config, make_pairs(4), lora=False)
    trainer.ref_model.config._attn_implementation = "eager"
    with pytest.raises(UserError, match="attention is computed by eager"):
        trainer.train()


@pytest.mark.parametrize("where", ["adapter", "attention"])
def test_dropout_is_refused(tmp_path, where):
    trainer = build(ORPOTrainer, ORPOConfig(**settings(tmp_path, share_prompts=True)), make_pairs(4))
    for layer in trainer.model.modules():
        if where == "adapter" and hasattr(layer, "lora_dropout"):
            layer.lora_dropout["default"] = torch.nn.Dropout(0.1)
        elif where == "attention" and hasattr(layer, "attention_dropout"):
            layer.attention_dropout = 0.1  # which disable_dropout leaves
    with pytest.raises(UserError, match="its dropout is on"):
        trainer.train()


@pytest.mark.parametrize(("max_length", "told"), [(40, False), (41, True), (None, True)])
def test_positions_that_other_rows_stretch_are_refused(max_length, told):
    model = make_model(make_tokenizer())
    model.config.rope_parameters |= {"rope_type": "longrope", "original_max_position_embeddings": 40}
    with pytest.raises(UserError, match="beyond 40 tokens") if told else contextlib.nullcontext():
        check_sharing(model, False, max_length)


def test_distances_read_from_the_mask_are_refused():
    model = make_model(make_tokenizer())
    model.config.alibi = True
    with pytest.raises(UserError, match="ALiBi"):
        check_sharing(model, False, 40)


def test_rows_with_images_are_refused(tmp_path):
    ids = torch.ones((2, 3), dtype=torch.long)
    with pytest.raises(UserError, match="more than text"):
        SharedPrompts(None)(ids, ids, ids, pixel_values=torch.zeros(2, 3, 4, 4), use_cache=False)


def test_references_are_not_precomputed_for_a_model_that_does_not_obey_the_mask(tmp_path, monkeypatch):
    from diversity_tuning.trainers import shared_prompts

    def looks_everywhere(*batch):
        packed, places = pack(*batch)
        return {**packed, "attention_mask": torch.ones_like(packed["attention_mask"]).tril()}, places

    monkeypatch.setattr(shared_prompts, "pack", looks_everywhere)
    with pytest.raises(UserError, match="off those of whole rows"):
        build(DDPOTrainer, DDPOConfig(**settings(tmp_path, share_prompts=True, precompute_ref_log_probs=True)), make_pairs(4))


def test_odd_pairs_are_those_of_whole_rows(tmp_path):
    """Nothing said, a side that begins another, pairs twice, prompts that begin others, cut rows; a single pair last."""
    said = [
        *(("the cat", "", "a dog"), ("the cat", "abc", "abcdef"), ("the cat", "abc", "abcdef"), ("the", "zz", "")),
        *(
            ("the cat sat", "x", "y"),
            ("", "q", "w"),
            ("x" * 15, "n", "m" * 9),
            ("the cat", "same", "same"),
            ("the cat s", "n", "m"),
        ),
    ]
    sides = ("chosen", "rejected")
    rows = [
        {
            name: [{"role": "user", "content": p}, {"role": "assistant", "content": each}]
            for name, each in zip(sides, both, strict=True)
        }
        | {"deviation_chosen": 1.0}
        for p, *both in said
    ]
    found = []
    for share in (False, True):
        trainer = build(DDPOTrainer, DDPOConfig(**settings(tmp_path, max_length=20, share_prompts=share)), rows)
        move_policy(trainer)
        trainer.model.train()
        trainer.state.global_step = 1
        losses = [trainer.compute_loss(trainer.model, trainer._prepare_inputs(one)) for one in trainer.get_train_dataloader()]
        sum(losses).backward()
        gradient = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
        found.append((torch.stack(losses).detach(), gradient))
    assert len(found[0][0]) == 3
    assert found[0][0].isfinite().all()
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
