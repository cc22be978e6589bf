"""What the trainers take besides plain pairs: streams, label smoothing, mixture models, prompt tuning; and what they refuse."""

import logging
import math

import pytest
import torch
from datasets import Dataset
from peft import PromptTuningConfig, get_peft_model
from transformers import MixtralConfig, MixtralForCausalLM
from trl import DPOConfig
from trl import DPOTrainer as TRLDPOTrainer
from trl.experimental.orpo import ORPOConfig as TRLORPOConfig
from trl.experimental.orpo import ORPOTrainer as TRLORPOTrainer

from diversity_tuning.errors import UserError
from diversity_tuning.trainers import DDPOConfig, DDPOTrainer, DORPOConfig, DORPOTrainer, DPOTrainer, ORPOConfig, ORPOTrainer
from diversity_tuning.trainers.precision import check_not_rounded
from diversity_tuning.trainers.weights import PairWeightArguments, with_pair_weights
from tests.tiny import make_model, make_pairs, make_tokenizer
from tests.trainers.test_trainers import TOKENIZER, assert_same, build, loss_and_gradient, settings

# Streams.


def numbered(n):
    """Pairs whose chosen response says its weight: pair 17 ends in "17" and weighs 17."""
    rows = make_pairs(n, weights=[float(i) for i in range(n)])
    for i, row in enumerate(rows):
        row["chosen"][1]["content"] += f" #{i}"
    return Dataset.from_list(rows)


@pytest.mark.parametrize(
    "arrange", [lambda s: s, lambda s: s.shuffle(seed=1, buffer_size=8), lambda s: s.shuffle(seed=2).skip(5)]
)
def test_a_streamed_pair_keeps_its_weight(tmp_path, arrange):
    stream = arrange(numbered(32).to_iterable_dataset(num_shards=4))
    trainer = DDPOTrainer(
        model=make_model(TOKENIZER), args=DDPOConfig(**settings(tmp_path)), train_dataset=stream,
        ref_model=make_model(TOKENIZER), processing_class=make_tokenizer(),
    )  # fmt: skip
    loader, seen = trainer.get_train_dataloader(), 0
    for _ in range(2):  # the second epoch has another order
        for batch in loader:
            texts = TOKENIZER.batch_decode(batch["input_ids"][: len(batch["pair_weight"])])
            said = [float(text.split("#")[1].split("<")[0]) for text in texts]
            assert batch["pair_weight"].tolist() == said
            seen += len(said)
    assert seen in (64, 54)


def test_what_a_stream_cannot_have_is_refused(tmp_path):
    def trainer(rows, **extra):
        return DDPOTrainer(
            model=make_model(TOKENIZER), args=DDPOConfig(**settings(tmp_path, **extra)), ref_model=make_model(TOKENIZER),
            train_dataset=rows.to_iterable_dataset(), processing_class=make_tokenizer(),
        )  # fmt: skip

    with pytest.raises(UserError, match="needs the mean over all pairs, which a stream does not tell"):
        trainer(numbered(4), weight_normalisation="pairs")
    with pytest.raises(UserError, match="no column 'deviation_chosen'"):
        trainer(numbered(4).remove_columns("deviation_chosen"))
    with pytest.raises(UserError, match="is negative"):
        trainer(Dataset.from_list(make_pairs(4, weights=[1.0, 1.0, -1.0, 1.0])))


# Weights.


@pytest.mark.parametrize(("scale", "warned"), [(50.0, True), (1e-4, True), (1.0, False), (2.0, False)])
def test_weights_far_from_one_on_average_are_pointed_out(tmp_path, caplog, scale, warned):
    with caplog.at_level(logging.WARNING):
        build(DDPOTrainer, DDPOConfig(**settings(tmp_path)), make_pairs(4, weights=[scale * w for w in (0.5, 1, 1, 1.5)]))
    assert ("--weight_normalisation pairs" in caplog.text) == warned
    assert "every pair gets weight 1" not in caplog.text


def test_weights_that_are_missing_or_streamed_are_pointed_out_too(caplog):
    rows = Dataset.from_list(make_pairs(4, weights=[50.0] * 4))
    assert next(iter(with_pair_weights(rows.to_iterable_dataset(), PairWeightArguments())))["pair_weight"] == 50
    assert "are 50 on average" in caplog.text
    caplog.clear()
    bare = rows.remove_columns("deviation_chosen")
    for given in (bare, bare.to_iterable_dataset()):
        found = with_pair_weights(given, PairWeightArguments(allow_missing_weights=True))
        assert [row["pair_weight"] for row in found] == [1.0] * 4
    assert caplog.text.count("every pair gets weight 1") == 2
    assert "on average" not in caplog.text


def test_a_floor_raises_what_lies_below_it_and_nothing_else(tmp_path):
    config = DDPOConfig(**settings(tmp_path, min_weight=0.75))
    trainer = build(DDPOTrainer, config, make_pairs(4, weights=[0.0, 0.5, 0.75, 2.0]))
    assert trainer.train_dataset["pair_weight"] == [0.75, 0.75, 0.75, 2.0]


# Label smoothing.


@pytest.mark.parametrize(("trainer_class", "config_class"), [(DPOTrainer, DPOConfig), (DDPOTrainer, DDPOConfig)])
def test_label_smoothing_is_the_conservative_loss(tmp_path, trainer_class, config_class):
    """(1-ε) of the loss as it is, ε of the loss with the sides of every pair exchanged."""
    rows = make_pairs(4)
    exchanged = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    smooth = build(trainer_class, config_class(**settings(tmp_path, label_smoothing=0.2, beta=0.3)), rows)
    plain, flipped = (build(trainer_class, config_class(**settings(tmp_path, beta=0.3)), given) for given in (rows, exchanged))
    (loss, gradient), (flipped_loss, flipped_gradient) = loss_and_gradient(plain), loss_and_gradient(flipped)
    expected = {name: 0.8 * gradient[name] + 0.2 * flipped_gradient[name] for name in gradient}
    assert_same(loss_and_gradient(smooth), (0.8 * loss + 0.2 * flipped_loss, expected))


def test_a_smoothing_of_a_half_is_refused_in_dpo_too(tmp_path):
    with pytest.raises(ValueError, match=r"label_smoothing must be at least 0 and below 0\.5"):
        build(DPOTrainer, DPOConfig(**settings(tmp_path, label_smoothing=0.5)), make_pairs(4))


# The check at the first step.


def test_two_wrong_pairs_that_cancel_are_seen(tmp_path):
    """Margins of +8 and -8 nats leave the mean loss at ln 2, to .01."""
    trainer = build(DDPOTrainer, DDPOConfig(**settings(tmp_path, beta=0.02)), make_pairs(2, weights=[1.0, 1.0]))
    original = trainer.compute_ref_log_probs

    def shifted(model, inputs):
        chosen, rejected = original(model, inputs)
        return chosen + torch.tensor([8.0, -8.0]), rejected

    trainer.compute_ref_log_probs = shifted
    with pytest.raises(UserError, match=r"a pair has the margin -?8 nats between policy and reference, not 0"):
        trainer.train()


def test_rounded_numbers_are_told_from_those_that_are_not():
    exact = -10 * torch.rand(100) - 1
    check_not_rounded(exact)
    check_not_rounded(exact.bfloat16()[:8])  # too few to tell
    for dtype in (torch.bfloat16, torch.float16):
        with pytest.raises(UserError, match=f"rounded to {str(dtype)[6:]} before they were summed"):
            check_not_rounded(torch.cat([exact.to(dtype).float(), torch.zeros(50)]))


def test_a_batch_is_not_cast_to_the_engines_type(tmp_path):
    """As transformers does under DeepSpeed with floating-point numbers."""
    rows = make_pairs(4)
    trainer = build(DDPOTrainer, DDPOConfig(**settings(tmp_path, precompute_ref_log_probs=True)), rows)
    trainer._prepare_input = lambda batch: {k: v.bfloat16() if v.is_floating_point() else v for k, v in batch.items()}
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    floats = {name: value.dtype for name, value in batch.items() if value.is_floating_point()}
    assert floats == dict.fromkeys(("pair_weight", "ref_chosen_logps", "ref_rejected_logps"), torch.float32)


# ORPO.


def test_evaluation_loss_of_a_short_last_batch(tmp_path):
    """4 + 1 pairs: each counts once, as in one batch of five."""
    rows = make_pairs(5)

    def evaluated(size):
        trainer = build(DORPOTrainer, DORPOConfig(**settings(tmp_path, per_device_eval_batch_size=size)), rows)
        return trainer.evaluate(Dataset.from_list(rows))["eval_loss"]

    assert evaluated(4) == pytest.approx(evaluated(5), rel=1e-5)


@pytest.mark.parametrize(("trainer_class", "config_class"), [(ORPOTrainer, ORPOConfig), (DORPOTrainer, DORPOConfig)])
def test_a_whole_model_can_be_evaluated_on_new_pairs_after_training(tmp_path, trainer_class, config_class):
    trainer = build(trainer_class, config_class(**settings(tmp_path)), make_pairs(4), lora=False)
    trainer.train()
    assert trainer.evaluate(Dataset.from_list(make_pairs(3, seed=9)))["eval_loss"] > 0
    assert trainer.args.precompute_ref_log_probs is False, "the configuration that was given"


def test_orpo_takes_a_model_by_its_name_and_loads_it_once(tmp_path, monkeypatch):
    import trl.trainer.dpo_trainer as module

    make_model(TOKENIZER).save_pretrained(tmp_path / "base")
    load, loaded = module.create_model_from_path, []
    monkeypatch.setattr(module, "create_model_from_path", lambda *a, **k: loaded.append(a) or load(*a, **k))
    trainer = ORPOTrainer(
        model=str(tmp_path / "base"), args=ORPOConfig(**settings(tmp_path / "run")), processing_class=make_tokenizer(),
        train_dataset=Dataset.from_list(make_pairs(4)),
    )  # fmt: skip
    assert len(loaded) == 1
    assert (trainer.ref_model, trainer.model.config.model_type) == (None, "llama")


def mixture():
    """A Mixtral of four experts."""
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=len(TOKENIZER), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, num_local_experts=4, output_router_logits=True, router_aux_loss_coef=0.5, initializer_range=0.2,
        bos_token_id=TOKENIZER.bos_token_id, eos_token_id=TOKENIZER.eos_token_id, pad_token_id=TOKENIZER.pad_token_id,
    )  # fmt: skip
    return MixtralForCausalLM(config)


def test_the_router_loss_of_a_mixture_model_is_trls(tmp_path):
    def measured(trainer_class, config):
        model = mixture()
        trainer = trainer_class(
            model=model, args=config, train_dataset=Dataset.from_list(make_pairs(4, weights=[1.0] * 4)),
            processing_class=make_tokenizer(),
        )  # fmt: skip
        return loss_and_gradient(trainer)

    options = {"beta": 0.4, "nll_reduction": "batch"}
    ours = measured(DORPOTrainer, DORPOConfig(**settings(tmp_path, **options)))
    theirs = measured(TRLORPOTrainer, TRLORPOConfig(**settings(tmp_path, beta=0.4)))
    assert_same(ours, theirs)
    without = measured(DORPOTrainer, DORPOConfig(**settings(tmp_path, router_aux_loss_coef=0.0, **options)))
    assert ours[0] - without[0] > 0.1


def test_the_router_loss_of_a_mixture_model_in_dpo_is_trls(tmp_path):
    def measured(trainer_class, config):
        return loss_and_gradient(
            trainer_class(
                model=mixture(), ref_model=mixture(), args=config, processing_class=make_tokenizer(),
                train_dataset=Dataset.from_list(make_pairs(4, weights=[1.0] * 4)),
            )
        )  # fmt: skip

    ours = measured(DDPOTrainer, DDPOConfig(**settings(tmp_path)))
    assert_same(ours, measured(TRLDPOTrainer, DPOConfig(**settings(tmp_path, max_length=2048))))
    without = measured(DDPOTrainer, DDPOConfig(**settings(tmp_path, router_aux_loss_coef=0.0)))
    assert ours[0] - without[0] > 0.1


def test_prompt_tuning(tmp_path):
    """Eight virtual tokens before the prompt change the loss and are trained; positions of the responses are right."""
    torch.manual_seed(0)
    model = get_peft_model(make_model(TOKENIZER), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=8))
    trainer = ORPOTrainer(
        model=model, args=ORPOConfig(**settings(tmp_path)), train_dataset=Dataset.from_list(make_pairs(4)),
        processing_class=make_tokenizer(),
    )  # fmt: skip
    batch = next(iter(trainer.get_train_dataloader()))
    ids, mask = batch["input_ids"], batch["completion_mask"][:, 1:]
    with torch.no_grad():
        chosen = trainer._nll_and_averages(trainer._log_probs(trainer.model, batch)[0], batch)[1]
        logits = trainer.model(input_ids=ids, attention_mask=batch["attention_mask"]).logits[:, 8:-1]
    by_hand = (logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1) * mask).sum(1) / mask.sum(1)
    torch.testing.assert_close(chosen, by_hand[:4], rtol=1e-4, atol=1e-5)
    trainer.train()
    assert math.isfinite(trainer.state.log_history[0]["loss"])
    assert {"nll_loss", "log_odds_chosen", "rewards/margins"} <= trainer.state.log_history[0].keys()
