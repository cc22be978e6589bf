"""What stops a training on pairs before it goes wrong: another head than the model's own, another TRL, numbers not finite."""

import pytest
import torch
import trl
from datasets import Dataset
from transformers import RecurrentGemmaConfig, RecurrentGemmaForCausalLM

from diversity_tuning.errors import UserError
from diversity_tuning.trainers import (
    DDPOConfig,
    DDPOTrainer,
    DORPOConfig,
    DORPOTrainer,
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    ORPOConfig,
)  # fmt: skip
from diversity_tuning.trainers.head_choice import check_head
from diversity_tuning.training.sft import ResumableSFTTrainer
from tests.tiny import make_model, make_pairs, make_tokenizer
from tests.trainers.test_trainers import build, policy, settings

TOKENIZER = make_tokenizer()
TRAINERS = [(DPOTrainer, DPOConfig), (DDPOTrainer, DDPOConfig), (DORPOTrainer, DORPOConfig)]


def capped():
    """Its cap has a name of its own, which the fused head does not read."""
    torch.manual_seed(0)
    config = RecurrentGemmaConfig(
        vocab_size=len(TOKENIZER), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, lru_width=32, block_types=["recurrent", "attention"], logits_soft_cap=2.0,
        w_init_variance_scale=4.0, attention_window_size=64, pad_token_id=2,
    )  # fmt: skip
    return RecurrentGemmaForCausalLM(config)


@pytest.mark.parametrize("lm_head", ["auto", "trl"])
@pytest.mark.parametrize(("trainer_class", "config_class"), TRAINERS)
def test_a_head_that_leaves_something_out_stops_before_the_first_update(tmp_path, trainer_class, config_class, lm_head):
    config = config_class(**settings(tmp_path, lm_head=lm_head, precompute_ref_log_probs=trainer_class is DPOTrainer))
    more = {"ref_model": capped()} if trainer_class.has_reference and not config.precompute_ref_log_probs else {}
    data = Dataset.from_list(make_pairs(4))
    trainer = trainer_class(model=capped(), args=config, train_dataset=data, processing_class=make_tokenizer(), **more)
    before = [parameter.clone() for parameter in trainer.model.parameters()]
    with pytest.raises(UserError, match=r"model type 'recurrent_gemma': log-probabilities from the fused LM head are .* nats"):
        trainer.train()
    assert all(torch.equal(*pair) for pair in zip(before, trainer.model.parameters(), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_check_of_the_head(dtype):
    """Padding on the left and a long sequence are compared too; rounding in half precision is let pass."""
    model = make_model(TOKENIZER).to(dtype).train()
    trl.trainer.utils.add_fused_lm_head(model)
    ids = torch.randint(5, len(TOKENIZER), (2, 600))
    mask = torch.ones_like(ids)
    mask[:, :9] = 0
    check_head(model, {"input_ids": ids, "attention_mask": mask}, exact=dtype == torch.float32)
    assert model.training
    plain = model.lm_head.forward
    model.lm_head.forward = lambda hidden: 1.5 * plain(hidden)
    with pytest.raises(UserError, match="model type 'llama'"):
        check_head(model, {"input_ids": ids, "attention_mask": mask}, exact=dtype == torch.float32)


@pytest.mark.parametrize("changed", ["version", "_use_triton", "_ChunkedLogProbFunction"])
def test_an_unknown_release_of_trl_is_one_line(tmp_path, monkeypatch, changed):
    if changed == "version":
        monkeypatch.setattr(trl, "__version__", "1.17.0")
    else:
        monkeypatch.delattr(trl.trainer.utils, changed)
    with pytest.raises(UserError, match=r"^trl 1\.1\d\.0: .* pip install 'trl==1\.16\.\*'$"):
        build(DDPOTrainer, DDPOConfig(**settings(tmp_path)), make_pairs(2))


@pytest.mark.parametrize("config_class", [DPOConfig, DDPOConfig, ORPOConfig, DORPOConfig])
@pytest.mark.parametrize("beta", [-1, float("nan"), float("inf")])
def test_a_strength_that_is_none(config_class, beta):
    with pytest.raises(ValueError, match=f"beta must be a finite number.*, not {beta}"):
        config_class(output_dir="x", use_cpu=True, beta=beta)


@pytest.mark.parametrize(("name", "value"), [("min_weight", float("inf")), ("weight_offset", float("nan"))])
def test_a_weight_that_is_none(name, value):
    for config_class in (DDPOConfig, DORPOConfig):
        with pytest.raises(ValueError, match=f"{name} must be a finite number, not {value}"):
            config_class(output_dir="x", use_cpu=True, **{name: value})


@pytest.mark.parametrize(("trainer_class", "config_class"), TRAINERS)
def test_a_loss_that_is_not_finite_stops(tmp_path, trainer_class, config_class):
    trainer = build(trainer_class, config_class(**settings(tmp_path, max_steps=3)), make_pairs(4))
    trainer.objective = lambda *values: values[0] * torch.nan
    trainer._check_start = lambda *_: None
    with pytest.raises(UserError, match="step 1: the loss is nan, so training stops"):
        trainer.train()


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(tmp_path):
    trainer = build(DDPOTrainer, DDPOConfig(**settings(tmp_path, max_steps=3)), make_pairs(4))
    trained = {name: p for name, p in trainer.model.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in trained.items()}
    next(iter(trained.values())).register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(UserError, match=r"step 1: the gradient's norm is (nan|inf), so training stops"):
        trainer.train()
    assert all(torch.equal(before[name], p) for name, p in trained.items())


@pytest.mark.parametrize("trainer_class", [DPOTrainer, DDPOTrainer])
def test_a_compiled_reference_model_is_one(tmp_path, trainer_class):
    """A compiled model has no truth value. The loss is that of the plain one."""
    losses = []
    for compiled in ({}, {"torch_compile": True, "torch_compile_backend": "eager"}):
        config = trainer_class._config_class(**settings(tmp_path, **compiled))
        trainer = build(trainer_class, config, make_pairs(4), lora=False, ref_model=policy(lora=False))
        trainer.train()
        losses.append(trainer.state.log_history[0]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def other_head(model):
    """The model's own head does what the fused one, which reads the weight, leaves out."""
    head = model.get_base_model().lm_head if hasattr(model, "get_base_model") else model.lm_head
    plain = head.forward
    head.forward = lambda hidden: 1.5 * plain(hidden)


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("kind", ["sft", "grpo"])
def test_the_head_of_sft_and_grpo_is_checked_before_the_first_update(tmp_path, monkeypatch, kind, other):
    from tests.trainers.test_group_relative import build as build_grpo
    from tests.trainers.test_group_relative import reward

    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    if kind == "grpo":
        extra = {"temperature": 0.7, "max_steps": 1}
        trainer = build_grpo(GRPOTrainer, GRPOConfig, tmp_path, extra=extra.items(), rewards=[reward])
    else:
        config = trl.SFTConfig(**settings(tmp_path, max_steps=1))
        data = Dataset.from_list([{"messages": row["chosen"]} for row in make_pairs(4)])
        trainer = ResumableSFTTrainer(make_model(TOKENIZER), config, train_dataset=data, processing_class=make_tokenizer())
    if not other:
        assert trainer.train().global_step == 1
        return
    other_head(trainer.model)
    with pytest.raises(UserError, match=r"model type 'llama': log-probabilities from the fused LM head are .* nats"):
        trainer.train()
    assert trainer.state.global_step == 0
