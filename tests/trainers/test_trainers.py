"""The weighted trainers against TRL's own, in loss and gradient."""

import copy
import functools
import math

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from trl import DPOConfig, DPOTrainer
from trl.experimental.orpo import ORPOConfig as TRLORPOConfig
from trl.experimental.orpo import ORPOTrainer as TRLORPOTrainer

from diversity_tuning.errors import UserError
from diversity_tuning.trainers import DDPOConfig, DDPOTrainer, DORPOConfig, DORPOTrainer, ORPOConfig, ORPOTrainer
from diversity_tuning.trainers.odds_ratio import cut_prompt_first
from tests.tiny import make_model, make_pairs, make_tokenizer

TOKENIZER = make_tokenizer()
LORA = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False)


def settings(tmp_path, **extra):
    common = dict(
        output_dir=str(tmp_path), per_device_train_batch_size=4, bf16=False, gradient_checkpointing=False, report_to="none",
        use_cpu=True, disable_tqdm=True, max_steps=1, logging_steps=1, learning_rate=1e-3, save_strategy="no", seed=3,
    )  # fmt: skip
    return {**common, **extra}


def policy(lora: bool):
    model = make_model(TOKENIZER)
    torch.manual_seed(1)
    return get_peft_model(model, copy.deepcopy(LORA)) if lora else model


def build(trainer_class, config, rows, lora=True, **kwargs):
    model = policy(lora)
    if not lora and trainer_class in (DPOTrainer, DDPOTrainer):
        kwargs["ref_model"] = policy(lora=False)
    return trainer_class(
        model=model, args=config, train_dataset=Dataset.from_list(rows), processing_class=make_tokenizer(), **kwargs
    )


def move_policy(trainer):
    """Away from the reference, so that losses are not all ln 2."""
    torch.manual_seed(5)
    for name, parameter in trainer.model.named_parameters():
        if parameter.requires_grad and ".ref." not in name:
            parameter.data.add_(0.05 * torch.randn_like(parameter))


def loss_and_gradient(trainer):
    move_policy(trainer)
    trainer.model.train()
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    trainer.state.global_step = 1
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}
    return loss.item(), gradients


def assert_same(ours, theirs, scale=1.0):
    assert ours[0] == pytest.approx(scale * theirs[0], rel=1e-5)
    assert ours[1].keys() == theirs[1].keys()
    assert ours[1]
    worst = max((ours[1][name] - scale * gradient).abs().max().item() for name, gradient in theirs[1].items())
    largest = max(gradient.abs().max().item() for gradient in theirs[1].values())
    loss = abs(ours[0] - scale * theirs[0])
    print(f"worst difference: loss {loss:.1e} of {theirs[0]:.2f}, gradient {worst:.1e} of {largest:.1e}")
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(ours[1][name], scale * gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lora", [True, False])
def test_ddpo_with_unit_weights_is_trl_dpo(tmp_path, lora):
    rows = make_pairs(4, weights=[1.0] * 4)
    extra = {"beta": 0.3, "max_length": 2048}
    ours = build(DDPOTrainer, DDPOConfig(**settings(tmp_path, **extra)), rows, lora)
    theirs = build(DPOTrainer, DPOConfig(**settings(tmp_path, **extra)), rows, lora)
    assert_same(loss_and_gradient(ours), loss_and_gradient(theirs))


def test_ddpo_precomputed_references_are_the_same(tmp_path):
    rows = make_pairs(4)
    plain = build(DDPOTrainer, DDPOConfig(**settings(tmp_path)), rows)
    precomputed = build(DDPOTrainer, DDPOConfig(**settings(tmp_path, precompute_ref_log_probs=True)), rows)
    assert_same(loss_and_gradient(precomputed), loss_and_gradient(plain))


def test_ddpo_one_hot_weight_is_that_pair_alone_scaled(tmp_path):
    rows = make_pairs(4, weights=[0.0, 4.0, 0.0, 0.0])
    weighted = loss_and_gradient(build(DDPOTrainer, DDPOConfig(**settings(tmp_path)), rows))
    alone = loss_and_gradient(build(DPOTrainer, DPOConfig(**settings(tmp_path, per_device_train_batch_size=1)), rows[1:2]))
    assert_same(weighted, alone)


def test_weights_change_the_loss_linearly(tmp_path):
    rows = make_pairs(4, weights=[2.0] * 4)
    doubled = loss_and_gradient(build(DDPOTrainer, DDPOConfig(**settings(tmp_path)), rows))
    plain = loss_and_gradient(build(DPOTrainer, DPOConfig(**settings(tmp_path)), rows))
    assert_same(doubled, plain, scale=2.0)


class CompletionORPOTrainer(TRLORPOTrainer):
    """TRL's trainer with the NLL of its earlier releases: the tokens of the chosen response alone, from its own full logits."""

    def concatenated_forward(self, model, batch):
        chosen, rejected, chosen_logits, rejected_logits, _ = super().concatenated_forward(model, batch)
        labels = batch["chosen_labels"][:, 1:]
        logits = chosen_logits[:, : labels.size(1)]
        nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        return chosen, rejected, chosen_logits, rejected_logits, nll


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize(("nll_target", "trl_class"), [("full", TRLORPOTrainer), ("completion", CompletionORPOTrainer)])
def test_orpo_and_unit_dorpo_are_trl_orpo(tmp_path, weighted, lora, nll_target, trl_class):
    rows = make_pairs(4, weights=[1.0] * 4)
    extra = {"beta": 0.4, "nll_reduction": "batch", "nll_target": nll_target}
    if weighted:
        ours = build(DORPOTrainer, DORPOConfig(**settings(tmp_path, **extra)), rows, lora)
    else:
        ours = build(ORPOTrainer, ORPOConfig(**settings(tmp_path, **extra)), rows, lora)
    theirs = build(trl_class, TRLORPOConfig(**settings(tmp_path, beta=0.4)), rows, lora)
    assert_same(loss_and_gradient(ours), loss_and_gradient(theirs))


def test_dorpo_per_pair_is_the_mean_of_trl_orpo_one_pair_at_a_time(tmp_path):
    rows = make_pairs(3, weights=[0.5, 1.0, 2.0])
    ours = loss_and_gradient(build(DORPOTrainer, DORPOConfig(**settings(tmp_path)), rows))
    single = settings(tmp_path, beta=0.25, per_device_train_batch_size=1)
    theirs = [loss_and_gradient(build(TRLORPOTrainer, TRLORPOConfig(**single), [row])) for row in rows]
    mean_loss = sum(w * loss for w, (loss, _) in zip((0.5, 1.0, 2.0), theirs, strict=True)) / 3
    mean_gradient = {
        name: sum(w * gradients[name] for w, (_, gradients) in zip((0.5, 1.0, 2.0), theirs, strict=True)) / 3
        for name in theirs[0][1]
    }
    assert_same(ours, (mean_loss, mean_gradient))


@pytest.mark.parametrize(("nll_target", "mask"), [("full", "attention_mask"), ("completion", "completion_mask")])
def test_nll_target_by_hand(tmp_path, nll_target, mask):
    trainer = build(ORPOTrainer, ORPOConfig(**settings(tmp_path, beta=0.0, nll_target=nll_target)), make_pairs(2))
    batch = next(iter(trainer.get_train_dataloader()))
    logits = trainer.model(batch["input_ids"][:2], attention_mask=batch["attention_mask"][:2]).logits[:, :-1]
    labels = batch["input_ids"].masked_fill(batch[mask] == 0, -100)[:2, 1:]
    by_hand = [torch.nn.functional.cross_entropy(x, y) for x, y in zip(logits, labels, strict=True)]
    loss = trainer.compute_loss(trainer.model, batch)
    assert loss.item() == pytest.approx(torch.stack(by_hand).mean().item(), rel=1e-5)


def test_first_step_is_ln2_times_mean_weight_and_only_the_adapter_moves(tmp_path):
    rows = make_pairs(8)
    trainer = build(DDPOTrainer, DDPOConfig(**settings(tmp_path, max_steps=2, per_device_train_batch_size=8)), rows)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    first = trainer.state.log_history[0]
    mean_weight = sum(row["deviation_chosen"] for row in rows) / 8
    assert first["loss"] == pytest.approx(math.log(2) * mean_weight, rel=1e-4)
    assert first["weights/mean"] == pytest.approx(mean_weight, rel=1e-5)
    moved = {name for name, p in trainer.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert all(".default." in name for name in moved)


def test_a_policy_that_is_not_its_reference_is_stopped(tmp_path):
    trainer = build(DDPOTrainer, DDPOConfig(**settings(tmp_path)), make_pairs(4))
    for name, parameter in trainer.model.named_parameters():
        if ".ref." in name:
            parameter.data.mul_(5.0)
    with pytest.raises(UserError, match="before the first update"):
        trainer.train()


def final_weights(tmp_path, batch, accumulation, trainer_class, config_class):
    config = config_class(
        **settings(tmp_path, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation, max_steps=2)
    )
    trainer = build(trainer_class, config, make_pairs(16))
    trainer.train()
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(("trainer_class", "config_class"), [(DDPOTrainer, DDPOConfig), (DORPOTrainer, DORPOConfig)])
def test_eight_accumulated_singles_are_a_batch_of_eight(tmp_path, trainer_class, config_class):
    singles = final_weights(tmp_path / "a", 1, 8, trainer_class, config_class)
    batch = final_weights(tmp_path / "b", 8, 1, trainer_class, config_class)
    for name, weight in batch.items():
        torch.testing.assert_close(singles[name], weight, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("wrong", [-0.5, float("nan"), None])
def test_a_wrong_weight_is_named_by_row(tmp_path, wrong):
    rows = make_pairs(4)
    rows[2]["deviation_chosen"] = wrong
    with pytest.raises(UserError, match="row 3"):
        build(DDPOTrainer, DDPOConfig(**settings(tmp_path)), rows)


def test_missing_weight_column(tmp_path):
    rows = [{key: row[key] for key in ("chosen", "rejected")} for row in make_pairs(4)]
    with pytest.raises(UserError, match="no column 'deviation_chosen'"):
        build(DDPOTrainer, DDPOConfig(**settings(tmp_path)), rows)
    trainer = build(DDPOTrainer, DDPOConfig(**settings(tmp_path, allow_missing_weights=True)), rows)
    assert trainer.train_dataset["pair_weight"] == [1.0] * 4


def test_released_format_and_pairs_normalisation(tmp_path):
    rows = make_pairs(4, weights=[-0.5, 0.0, 0.5, 2.0])
    config = DDPOConfig(**settings(tmp_path, weight_offset=1.0))
    assert build(DDPOTrainer, config, rows).train_dataset["pair_weight"] == [0.5, 1.0, 1.5, 3.0]
    config = DDPOConfig(**settings(tmp_path, weight_offset=1.0, weight_normalisation="pairs"))
    assert sum(build(DDPOTrainer, config, rows).train_dataset["pair_weight"]) == pytest.approx(4.0)


def test_truncated_responses_do_not_end_in_eos(tmp_path):
    trainer = build(DDPOTrainer, DDPOConfig(**settings(tmp_path, max_length=40)), make_pairs(8, seed=2))
    for batch in trainer.get_train_dataloader():
        lengths = batch["attention_mask"].sum(1)
        last = batch["input_ids"].gather(1, (lengths - 1).unsqueeze(1)).squeeze(1)
        cut = lengths == 40
        assert cut.any()
        assert (last[cut] != TOKENIZER.eos_token_id).all()
        assert (last[~cut] == TOKENIZER.eos_token_id).all()


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected", "kept"),
    [
        (6, 4, 3, (6, 4, 3)),  # 10 fit
        (9, 4, 3, (3, 4, 3)),  # the prompt's end is enough
        (9, 8, 3, (3, 7, 3)),  # 3 + 8 are 11: responses to 10 - 3
        (1, 12, 8, (1, 7, 7)),  # the same length, though the prompt leaves room for 9
        (2, 8, 10, (2, 7, 7)),
    ],
)
def test_prompts_cut_as_in_the_released_codes_trl(prompt, chosen, rejected, kept):
    """At most 10 tokens, prompt 3."""
    pair = {"prompt_ids": range(prompt), "chosen_ids": range(chosen), "rejected_ids": range(rejected), "pair_weight": 2.0}
    found = cut_prompt_first({key: list(value) if key != "pair_weight" else value for key, value in pair.items()}, 10, 3)
    sides = [found[name] for name in ("prompt_ids", "chosen_ids", "rejected_ids")]
    assert [len(side) for side in sides] == list(kept)
    assert sides[0] == list(range(prompt))[-kept[0] :], "its end"
    assert sides[1:] == [list(range(kept[1])), list(range(kept[2]))], "their beginning"
    assert found["pair_weight"] == 2


@pytest.mark.parametrize(("trainer", "config"), [(ORPOTrainer, ORPOConfig), (DORPOTrainer, DORPOConfig)])
def test_the_trainers_cut_prompts_where_asked(tmp_path, trainer, config):
    options = {"max_length": 40, "max_prompt_length": 12}
    made = build(trainer, config(**settings(tmp_path, **options)), make_pairs(8, seed=2))
    wanted, whole = [], []
    for row in made.train_dataset:  # whole there, where cut pairs are counted
        for pairs, pair in ((whole, row), (wanted, cut_prompt_first(row, 40, 12))):
            pairs += [(len(pair["prompt_ids"]), len(pair[side])) for side in ("chosen_ids", "rejected_ids")]
    found = []
    for batch in made.get_train_dataloader():
        answers = batch["completion_mask"].sum(1)
        found += zip((batch["attention_mask"].sum(1) - answers).tolist(), answers.tolist(), strict=True)
    assert sorted(found) == sorted(wanted) != sorted(whole)
    with pytest.raises(ValueError, match="max_prompt_length must be above 0 and below max_length"):
        config(**settings(tmp_path, max_length=40, max_prompt_length=40))


@pytest.mark.parametrize(
    ("config_class", "option"),
    [
        (DDPOConfig, {"weight_normalisation": "pair"}),
        (DORPOConfig, {"loss_variant": "Released"}),
        (ORPOConfig, {"nll_target": "all"}),
        (DORPOConfig, {"nll_reduction": "pairs"}),
        (DDPOConfig, {"label_smoothing": 0.5}),
        (DDPOConfig, {"loss_weights": [0.5]}),
        (DDPOConfig, {"ld_alpha": 0.5}),
        (ORPOConfig, {"label_smoothing": 0.1}),  # nothing in ORPO would read these
        (ORPOConfig, {"loss_type": ["hinge"]}),
        (DORPOConfig, {"ld_alpha": 0.5}),
        (DORPOConfig, {"precompute_ref_log_probs": True}),
    ],
)
def test_a_wrong_option_is_named(tmp_path, config_class, option):
    with pytest.raises(ValueError, match=next(iter(option))):
        config_class(**settings(tmp_path, **option))


def test_a_column_of_the_trainers_own_name_is_checked_like_any_other(tmp_path):
    rows = [{**row, "pair_weight": 9.0} for row in make_pairs(4)]
    with pytest.raises(UserError, match="column 'pair_weight', which is the trainer's own"):
        build(DDPOTrainer, DDPOConfig(**settings(tmp_path)), rows)
    named = {"weight_column": "pair_weight", "weight_normalisation": "pairs"}
    assert build(DDPOTrainer, DDPOConfig(**settings(tmp_path, **named)), rows).train_dataset["pair_weight"] == [1.0] * 4
    rows[1]["pair_weight"] = -1.0
    with pytest.raises(UserError, match="row 2"):
        build(DDPOTrainer, DDPOConfig(**settings(tmp_path, **named)), rows)


@pytest.mark.parametrize(
    ("trainer_class", "config_class"), [(DDPOTrainer, DDPOConfig), (ORPOTrainer, ORPOConfig), (DORPOTrainer, DORPOConfig)]
)
def test_without_a_configuration_the_trainer_takes_its_own(tmp_path, monkeypatch, trainer_class, config_class):
    assert trainer_class._config_class is config_class
    monkeypatch.setattr(trainer_class, "_config_class", functools.partial(config_class, **settings(tmp_path)))
    assert type(build(trainer_class, None, make_pairs(4)).args) is config_class


def test_a_weighted_dpo_loss_of_trl_starts_at_its_weight_times_ln_2(tmp_path):
    from diversity_tuning.trainers.preference import DPOTrainer as CheckedDPOTrainer

    trainer = build(CheckedDPOTrainer, DPOConfig(**settings(tmp_path, loss_weights=[0.5])), make_pairs(4))
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(0.5 * math.log(2), rel=0.02)
