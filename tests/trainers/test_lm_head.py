"""The head whose gradient is made in the forward pass: against full logits and TRL's head, and where it must step aside."""

import copy
from collections import Counter

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import CohereConfig, CohereForCausalLM, Gemma2Config, Gemma2ForCausalLM
from trl.kernels import ChunkedLogProbFunction
from trl.trainer import utils

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
    ORPOTrainer,
    lm_head,
)
from diversity_tuning.trainers.head_choice import OURS, TRL, _obstacles, head_of_choice
from diversity_tuning.trainers.lm_head import OUTPUTS, label_log_probs
from diversity_tuning.training.sft import ResumableSFTTrainer, SFTConfig
from tests.tiny import make_model, make_pairs, make_tokenizer
from tests.trainers.test_trainers import LORA, assert_same, build, loss_and_gradient, policy, settings

TOKENIZER = make_tokenizer()
CPU = torch.device("cpu")


def case(tokens=70, vocabulary=301, width=24, dtype=torch.float32, scale=1.0, seed=0):
    """Hidden states, a head, labels of which a third are the most likely token, and upstream gradients."""
    torch.manual_seed(seed)
    hidden = torch.randn(tokens, width, dtype=dtype, requires_grad=True)
    weight = torch.randn(vocabulary, width, dtype=dtype) * scale
    labels = torch.randint(vocabulary, (tokens,))
    labels[::3] = (hidden[::3] @ weight.t()).argmax(-1)
    return hidden, weight, labels, torch.randn(tokens, dtype=torch.promote_types(dtype, torch.float32))


def by_full_logits(hidden, weight, labels, upstream):
    """The values of OUTPUTS and the gradient of the log-probabilities, in float64 from full logits."""
    hidden = hidden.detach().double().requires_grad_()
    logits = hidden @ weight.double().t()
    everything = logits.log_softmax(-1)
    log_probs = everything.gather(1, labels[:, None])[:, 0]
    entropy = -(everything.exp() * everything).sum(-1)
    (gradient,) = torch.autograd.grad((log_probs * upstream.double()).sum(), hidden)
    return log_probs, entropy, logits.mean(-1), logits.argmax(-1) == labels, gradient


def by_ours(hidden, weight, labels, upstream):
    values = label_log_probs(hidden, weight, labels)
    return (*values, *torch.autograd.grad((values[0] * upstream).sum(), hidden))


def by_trl(hidden, weight, labels, upstream):
    asked = ("log_probs", "entropy", "mean_logits", "is_top1")
    log_probs, entropy, _, mean_logits, is_top1 = ChunkedLogProbFunction.apply(
        hidden, weight, None, labels, 1.0, 100, None, 1.0, asked
    )
    return log_probs, entropy, mean_logits, is_top1, *torch.autograd.grad((log_probs * upstream).sum(), hidden)


def assert_alike(ours, theirs, tolerance):
    """Values to ``tolerance`` of the largest (TRL's entropy, a difference of larger numbers: five times that), hits all."""
    for name, one, other in zip((*OUTPUTS, "gradient"), ours, theirs, strict=True):
        if name == "is_top1":
            assert torch.equal(one, other), name
        else:
            worst = ((one.double() - other.double()).abs().max() / other.double().abs().max()).item()
            assert worst <= tolerance * (5 if name == "entropy" else 1), f"{name}: {worst:.1e}"


@pytest.fixture(params=[(512, 1024), (16, 100), (7, 64)], ids=["one tile", "tiles", "odd tiles"])
def tiles(request, monkeypatch):
    """In one tile, and in tiles of which neither the tokens nor the vocabulary is a multiple."""
    monkeypatch.setattr(lm_head, "_TOKENS", request.param[0])
    monkeypatch.setattr(lm_head, "_ENTRIES", request.param[1])


@pytest.mark.usefixtures("tiles")
def test_gradcheck():
    hidden, weight, labels, _ = case(tokens=9, vocabulary=130, width=5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda h: label_log_probs(h, weight, labels)[0], hidden)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("scale", [0.02, 1.0])
def test_values_and_gradient_are_those_of_full_logits_and_of_trls_head(scale):
    inputs = case(scale=scale)
    ours = by_ours(*inputs)
    assert_alike(ours, by_full_logits(*inputs), 1e-6)
    assert_alike(ours, by_trl(*inputs), 2e-6)
    assert ours[3].sum() >= 24, "the labels that are the most likely token"


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)])
def test_other_dtypes_are_summed_in_float32_or_better(dtype, tolerance):
    inputs = case(dtype=dtype, scale=0.4)
    ours, theirs, exact = by_ours(*inputs), by_trl(*inputs), by_full_logits(*inputs)
    assert {value.dtype for value in ours[:3]} == {torch.promote_types(dtype, torch.float32)}
    assert ours[4].dtype == dtype
    torch.testing.assert_close(ours[0].float(), theirs[0].float(), rtol=1e-6, atol=1e-5)  # products are rounded alike
    for one, other in zip((ours[0], ours[1], ours[4]), (exact[0], exact[1], exact[4]), strict=True):
        assert (one.double() - other).abs().max() <= tolerance * other.abs().max()


def test_under_autocast_products_are_taken_in_its_dtype():
    hidden, weight, labels, upstream = case(scale=0.4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = (f(hidden, weight, labels, upstream) for f in (by_ours, by_trl))
    assert ours[0].dtype == ours[4].dtype == torch.float32
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-6, atol=1e-5)
    assert (ours[4] - theirs[4]).abs().max() <= 1e-2 * theirs[4].abs().max()
    exact = label_log_probs(hidden, weight, labels)
    assert (ours[0] - exact[0]).abs().max() > 1e-4, "autocast rounds"
    torch.testing.assert_close(ours[2], exact[2], rtol=1e-5, atol=1e-6)  # but not what is no product with the whole head


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-3)])
def test_the_entropy_of_a_confident_token_is_small_and_not_negative(dtype, tolerance):
    """The most likely token leads by about 20 nats; logits in bfloat16 are rounded to multiples of 0.125."""
    torch.manual_seed(0)
    weight = torch.randn(301, 64) * 0.06
    top = torch.randint(301, (70,))
    hidden = torch.randn(70, 64) + 50 * torch.nn.functional.normalize(weight[top], dim=1)
    hidden, weight = hidden.to(dtype), weight.to(dtype)
    exact = by_full_logits(hidden, weight, top, torch.ones(70))[1]
    assert exact.max() < 1e-2
    for asks_gradient in (False, True):
        entropy = label_log_probs(hidden.requires_grad_(asks_gradient), weight, top)[1]
        assert (entropy >= 0).all()
        assert (entropy - exact).abs().max() < tolerance


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    tokens=st.integers(0, 40), vocabulary=st.integers(1, 90), width=st.integers(1, 9),
    tile=st.tuples(st.integers(1, 12), st.integers(1, 40)), scale=st.sampled_from([0.0, 0.1, 3.0, 60.0]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_any_shape(tokens, vocabulary, width, tile, scale, seed):
    inputs = case(tokens, vocabulary, width, torch.float64, scale, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lm_head, "_TOKENS", tile[0])
        patch.setattr(lm_head, "_ENTRIES", tile[1])
        ours = by_ours(*inputs)
    for name, one, other in zip((*OUTPUTS, "gradient"), ours, by_full_logits(*inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")
    assert (ours[0] <= 1e-9).all()


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_logits_stay_finite(size):
    """Logits to ±10⁴ in both orders of growth, so that the maximum moves from tile to tile, or never again."""
    weight = torch.linspace(-1, 1, 301).sign().mul(torch.linspace(-1, 1, 301).abs()).unsqueeze(1)
    hidden = torch.full((4, 1), size, requires_grad=True)
    labels = torch.tensor([0, 150, 299, 300])
    inputs = hidden, weight, labels, torch.ones(4)
    ours, exact = by_ours(*inputs), by_full_logits(*inputs)
    assert all(value.isfinite().all() for value in ours)
    torch.testing.assert_close(ours[0].double(), exact[0], rtol=1e-6, atol=2e-3)
    torch.testing.assert_close(ours[4].double(), exact[4], rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("tiles")
def test_of_equally_likely_tokens_the_first_is_the_hit():
    weight = torch.zeros(301, 2)
    weight[[40, 41, 250]] = 1.0
    labels = torch.tensor([40, 41, 250, 3])
    is_top1 = label_log_probs(torch.ones(4, 2), weight, labels)[3]
    assert is_top1.tolist() == [True, False, False, False]


def test_without_a_gradient_nothing_is_kept_and_nothing_is_weighted(monkeypatch):
    hidden, weight, labels, upstream = case()
    expected = by_full_logits(hidden, weight, labels, upstream)[0]
    monkeypatch.setattr(lm_head, "_add_product", lambda *_: pytest.fail("the second product was taken"))
    with torch.no_grad():
        log_probs, *others = label_log_probs(hidden, weight.requires_grad_(), labels, ("log_probs",))
    assert others == [None, None, None]
    assert not log_probs.requires_grad
    torch.testing.assert_close(log_probs.double(), expected, rtol=1e-6, atol=1e-6)


def test_a_trained_weight_is_refused():
    hidden, weight, labels, _ = case()
    with pytest.raises(ValueError, match="no gradient to the weight"):
        label_log_probs(hidden, weight.requires_grad_(), labels)


def test_no_tile_but_one_is_held():
    """The largest tensor that is made is a tile or (tokens × width), never (tokens × vocabulary)."""
    hidden, weight, labels, upstream = case(tokens=600, vocabulary=5000, width=8)
    with torch.profiler.profile(profile_memory=True) as profile:
        by_ours(hidden, weight, labels, upstream)
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert largest < 4 * 600 * 5000 / 3, "a third of the logits"


# Through TRL's forward


def score(model, labels, choice="auto", ids=None):
    used = Counter()
    with head_of_choice(CPU, choice, used):
        outputs = model(input_ids=ids if ids is not None else labels.clamp(min=0), labels=labels, fused_lm_head=True)
    return outputs, used


def fused(model, outputs=OUTPUTS):
    utils.add_fused_lm_head(model, outputs=outputs)
    return model


def frozen(**kwargs):
    return make_model(TOKENIZER, **kwargs).requires_grad_(False)


def some_labels():
    torch.manual_seed(3)
    labels = torch.randint(5, len(TOKENIZER), (3, 20))
    labels[0, :7] = labels[1, 12:] = -100
    return labels


def test_masked_tokens_are_left_out_and_score_zero(monkeypatch):
    model, labels, seen = fused(frozen()), some_labels(), []
    ids = labels.clamp(min=9)
    monkeypatch.setattr(
        "diversity_tuning.trainers.head_choice.label_log_probs",
        lambda hidden, *rest: seen.append(len(hidden)) or label_log_probs(hidden, *rest),
    )
    ours, used = score(model, labels, ids=ids)
    theirs, unused = score(model, labels, TRL, ids=ids)
    masked = labels[:, 1:] == -100
    assert (used, unused) == (Counter({OURS: 1}), Counter())
    assert seen == [(~masked).sum().item()]
    for name in OUTPUTS:
        assert (ours[name][masked] == 0).all()
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.loss, theirs.loss)


def test_nothing_but_masked_tokens_gives_zero_gradients():
    model = fused(get_peft_model(make_model(TOKENIZER), copy.deepcopy(LORA)).get_base_model())
    outputs, used = score(model, torch.full((2, 6), -100), ids=torch.full((2, 6), 9))
    outputs.log_probs.sum().backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert used == {OURS: 1}
    assert gradients
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def capped():
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=len(TOKENIZER), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, head_dim=8, final_logit_softcapping=5.0,
    )  # fmt: skip
    return Gemma2ForCausalLM(config).requires_grad_(False)


def biased():
    model = frozen()
    model.lm_head.bias = torch.nn.Parameter(torch.randn(len(TOKENIZER)), requires_grad=False)
    return model


def scaled():
    torch.manual_seed(0)
    config = CohereConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        logit_scale=0.5,
    )
    return CohereForCausalLM(config).requires_grad_(False)


def trained():
    model = frozen()
    model.lm_head.requires_grad_()
    return model


def with_saved_head():
    lora = LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"])
    return get_peft_model(make_model(TOKENIZER), lora).base_model.model


def with_trained_rows():
    lora = LoraConfig(target_modules=["q_proj"], trainable_token_indices={"lm_head": [1, 2]})
    model = get_peft_model(make_model(TOKENIZER), lora).base_model.model
    model.lm_head.bias = None  # TRL reads it, PEFT's wrapper does not have it
    return model


FALLBACKS = {
    "capped": capped, "bias": biased, "multiplied": scaled, "trained": trained,
    "is trained": with_saved_head, "weight is trained": with_trained_rows,
}  # fmt: skip


@pytest.mark.parametrize(("reason", "make"), FALLBACKS.items(), ids=[make.__name__ for make in FALLBACKS.values()])
def test_other_heads_are_left_to_trl(reason, make):
    model, labels = fused(make()), some_labels()
    ids = labels.clamp(min=9)
    ours, used = score(model, labels, ids=ids)
    theirs, _ = score(model, labels, TRL, ids=ids)
    assert used == {TRL: 1}
    logits = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
    by_hand = logits.gather(-1, labels[:, 1:].clamp(min=0).unsqueeze(-1)).squeeze(-1).masked_fill(labels[:, 1:] == -100, 0)
    torch.testing.assert_close(ours.log_probs, theirs.log_probs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.log_probs, by_hand, rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match=reason):
        score(model, labels, OURS, ids=ids)


def test_a_temperature_and_other_values_are_left_to_trl():
    model, labels = frozen(), some_labels()
    utils.add_fused_lm_head(model, temperature=0.5)
    assert score(model, labels)[1] == {TRL: 1}
    assert score(fused(frozen(), outputs=("log_probs", "log_sum_sq_probs")), labels)[1] == {TRL: 1}


def test_a_quantised_head_is_left_to_trl():
    hidden, packed = torch.zeros(2, 16), torch.zeros(30, 8, dtype=torch.uint8)
    for weight in (packed, torch.nn.Parameter(packed, requires_grad=False), torch.zeros(30, 8), torch.zeros(240)):
        assert _obstacles(hidden, weight, None, 1.0, None, 1.0, OUTPUTS) == [
            "the head's weight is not a plain matrix of floats"
        ]
    assert _obstacles(hidden, torch.zeros(30, 16), None, 1.0, None, 1.0, OUTPUTS) == []


def test_one_call_inside_another_counts_once():
    used = Counter()
    with head_of_choice(CPU, "auto", used), head_of_choice(CPU, "auto", used):
        fused(capped())(input_ids=some_labels().clamp(min=9), labels=some_labels(), fused_lm_head=True)
    assert used == {TRL: 1}


def test_a_trained_head_without_gradients_needs_no_fallback():
    model, labels = fused(trained()), some_labels()
    with torch.no_grad():
        ours, used = score(model, labels)
        theirs, _ = score(model, labels, TRL)
    assert used == {OURS: 1}
    torch.testing.assert_close(ours.log_probs, theirs.log_probs, rtol=1e-5, atol=1e-5)


@pytest.fixture
def process_group(tmp_path):
    """A group of one process."""
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_a_sharded_head_gives_the_same():
    """FSDP 2: the weight is a DTensor, which TRL's forward gathers; in backward it is not needed again."""
    results = []
    for sharded in (False, True):
        torch.manual_seed(2)
        model = fused(get_peft_model(make_model(TOKENIZER), copy.deepcopy(LORA)).get_base_model())
        if sharded:
            fully_shard(model)
            assert isinstance(model.lm_head.weight, DTensor)
        outputs, used = score(model, some_labels(), OURS, ids=some_labels().clamp(min=9))
        outputs.log_probs.sum().backward()
        assert used == {OURS: 1}
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        gradients = {name: g.full_tensor() if sharded else g for name, g in gradients.items()}
        results.append((outputs.log_probs.sum().item(), gradients))
    assert_same(*results)


def test_a_gpu_keeps_trls_kernel_unless_asked():
    stock = utils._ChunkedLogProbFunction, utils._use_triton
    with head_of_choice(torch.device("cuda"), "auto"):
        assert (utils._ChunkedLogProbFunction, utils._use_triton) == stock
    with head_of_choice(torch.device("cuda"), OURS):
        assert utils._ChunkedLogProbFunction is not stock[0]
    with pytest.raises(RuntimeError, match="boom"), head_of_choice(CPU, "auto"):
        raise RuntimeError("boom")
    assert (utils._ChunkedLogProbFunction, utils._use_triton) == stock, "and TRL's are put back"


# Through the trainers

TRAINERS = [(DPOTrainer, DPOConfig), (DDPOTrainer, DDPOConfig), (ORPOTrainer, ORPOConfig), (DORPOTrainer, DORPOConfig)]


@pytest.mark.parametrize(("trainer_class", "config_class"), TRAINERS)
@pytest.mark.parametrize("lora", [True, False])
def test_a_trainer_gives_the_same_loss_gradient_and_log_with_either_head(tmp_path, trainer_class, config_class, lora):
    results, logged = [], []
    for choice in ("auto", "trl"):
        reference = {} if lora or "ORPO" in trainer_class._name else {"ref_model": policy(lora=False)}
        config = config_class(**settings(tmp_path, lm_head=choice))
        trainer = build(trainer_class, config, make_pairs(4), lora, **reference)
        results.append(loss_and_gradient(trainer))
        logged.append({name: values[-1] for name, values in trainer._metrics["train"].items()})
        used = trainer.heads_used
        if choice == "trl":
            assert not used
        else:
            assert used[OURS] == (lora or "ORPO" not in trainer_class._name) + (lora and "ORPO" not in trainer_class._name)
            assert used[TRL] == (not lora)
    assert_same(*results)
    assert logged[0] == pytest.approx(logged[1], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("loss_type", ["nll", "dft"])
@pytest.mark.parametrize("lora", [True, False])
def test_fine_tuning_gives_the_same_with_either_head(tmp_path, lora, loss_type):
    results, logged = [], []
    rows = [{"prompt": row["chosen"][:-1], "completion": row["chosen"][-1:]} for row in make_pairs(4)]
    for choice in ("auto", "trl"):
        config = SFTConfig(**settings(tmp_path, lm_head=choice, loss_type=loss_type))
        trainer = build(ResumableSFTTrainer, config, rows, lora)
        results.append(loss_and_gradient(trainer))
        logged.append({name: values[-1] for name, values in trainer._metrics["train"].items()})
        assert trainer.heads_used == ({} if choice == "trl" else {OURS if lora else TRL: 1})
    assert_same(*results)
    assert logged[0] == pytest.approx(logged[1], rel=1e-4, abs=1e-5)


def test_a_reference_pass_asks_for_log_probabilities_only(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "diversity_tuning.trainers.head_choice.label_log_probs",
        lambda *args: asked.append(args[-1]) or label_log_probs(*args),
    )
    loss_and_gradient(build(DDPOTrainer, DDPOConfig(**settings(tmp_path)), make_pairs(4)))
    assert sorted(asked, key=len) == [("log_probs",), ("log_probs", "entropy", "mean_logits", "is_top1")]


def test_the_choice_is_checked_and_explained(tmp_path):
    from transformers import HfArgumentParser

    for _, config_class in [*TRAINERS, (None, SFTConfig)]:
        with pytest.raises(ValueError, match="lm_head must be one of auto, gradient_in_forward, trl"):
            config_class(**settings(tmp_path, lm_head="liger"))
        assert "gradient of the hidden states" in HfArgumentParser(config_class).format_help().replace("\n", " ")


def test_an_adapter_on_the_head_is_refused(tmp_path):
    lora = LoraConfig(r=4, target_modules=["q_proj", "lm_head"])
    with pytest.raises(ValueError, match="PEFT adapter to `lm_head` is not supported"):
        build(DDPOTrainer, DDPOConfig(**settings(tmp_path)), make_pairs(2), lora=False, peft_config=lora)


def test_trained_rows_of_the_head_are_refused(tmp_path):
    lora = LoraConfig(r=4, target_modules=["q_proj"], trainable_token_indices={"lm_head": [1, 2]})
    with pytest.raises(UserError, match="rows of the LM head"):
        build(DDPOTrainer, DDPOConfig(**settings(tmp_path)), make_pairs(2), lora=False, peft_config=lora)


@pytest.mark.parametrize("rows", [{"lm_head": [1, 2]}, [1, 2]], ids=["head", "tied embeddings"])
def test_trained_rows_of_the_head_are_refused_by_sft_and_grpo(tmp_path, rows):
    model = make_model(TOKENIZER)
    if isinstance(rows, list):
        model.config.tie_word_embeddings = True
        model.tie_weights()
    lora = LoraConfig(r=4, target_modules=["q_proj"], trainable_token_indices=rows)
    data = [{"prompt": row["chosen"][:-1], "completion": row["chosen"][-1:]} for row in make_pairs(2)]
    common = dict(model=get_peft_model(model, lora), train_dataset=Dataset.from_list(data), processing_class=make_tokenizer())
    with pytest.raises(UserError, match="rows of the LM head"):
        ResumableSFTTrainer(args=SFTConfig(**settings(tmp_path)), **common)
    with pytest.raises(UserError, match="rows of the LM head"):
        GRPOTrainer(args=GRPOConfig(**settings(tmp_path, num_generations=4, beta=0.0)), rewards=[lambda *_: [1.0]], **common)
