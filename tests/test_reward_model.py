"""The reward model: its text, its loss, its scores, and folders that are none."""

import json
import math

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer, DataCollatorWithPadding
from transformers.modeling_outputs import SequenceClassifierOutput

from diversity_tuning.errors import UserError
from diversity_tuning.reward_model import (
    RewardModel,
    load_reward_model,
    new_reward_model,
    reward_dataset,
    reward_pair_dataset,
    reward_text,
    reward_tokenizer,
)
from diversity_tuning.training.reward_training import PairwiseRewardConfig, l1_loss, tokenized
from tests import families
from tests.tiny import make_tokenizer, save_base

PROMPTS = [f"prompt {i}" for i in range(7)]
RESPONSES = ["a", "a longer one " * 5, "b", "middling " * 3, "", "ü \u2014 x", "a"]


def save_reward_model(folder, base):
    torch.manual_seed(2)
    model = new_reward_model(str(base), make_tokenizer())
    torch.nn.init.normal_(model.score.weight)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("reward") / "base")


@pytest.fixture
def saved(tmp_path, base):
    return save_reward_model(tmp_path / "reward", base)


def test_what_the_model_reads():
    assert reward_text("p\nq", "r") == "<prompt>p\nq</prompt><response>r</response>"


# Loss.


def outputs(*rewards):
    return SequenceClassifierOutput(logits=torch.tensor(rewards)[:, None])


def test_l1_loss_by_hand():
    labels = torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64)
    assert l1_loss(outputs(0.5, 0.5, 0.25), labels).item() == pytest.approx((0.5 + 1.0 + 0.0) / 3)


def test_l1_loss_of_accumulated_batches_is_that_of_one():
    """With the count over all batches, unequal ones add up to the mean over all of their responses."""
    rewards, labels = torch.tensor([0.5, 0.1, -0.3, 0.9, 0.2]), torch.tensor([0.0, 1.0, -1.0, 0.5, 0.2])
    parts = [l1_loss(outputs(*rewards[part]), labels[part], torch.tensor(5)) for part in (slice(0, 2), slice(2, 5))]
    assert sum(parts).item() == pytest.approx(l1_loss(outputs(*rewards), labels).item())


def test_l1_loss_is_in_float32():
    loss = l1_loss(SequenceClassifierOutput(logits=torch.tensor([[1.0]], dtype=torch.bfloat16)), torch.tensor([0.999]))
    assert loss.item() == pytest.approx(0.001, abs=1e-6)


# Data.


def test_one_example_a_response():
    names = "post_title", "post_text", "filtered_comment_texts", "filtered_transformed_scores"
    posts = ("t", "x", ["a", "bb"], [0.5, -1.0]), ("u", None, [], []), ("v", "", ["c" * 99], [1.0])
    rows = Dataset.from_list([dict(zip(names, post, strict=True)) for post in posts])
    tokenizer = make_tokenizer()
    examples = reward_dataset(rows, tokenizer, max_length=60)
    assert examples["labels"] == [0.5, -1.0, 1.0]
    assert tokenizer.decode(examples[1]["input_ids"]) == "<prompt>t\nx</prompt><response>bb</response>"
    assert [len(ids) for ids in examples["input_ids"]] == [42, 43, 60]
    batch = DataCollatorWithPadding(tokenizer)([examples[i] for i in range(3)])
    assert batch["labels"].dtype == torch.float32


def test_a_source_without_votes():
    with pytest.raises(UserError, match="no column 'filtered_comment_texts'"):
        reward_dataset(Dataset.from_list([{"post_title": "t"}]), make_tokenizer(), 60)


# Scores.


def test_scores_do_not_depend_on_batches_or_order(saved):
    model = load_reward_model(str(saved), device="cpu")
    one_by_one = model.score(PROMPTS, RESPONSES, batch_size=1)
    assert one_by_one.dtype == np.float64
    assert np.ptp(one_by_one) > 0.01
    for batch_size in (2, 3, 32):
        np.testing.assert_allclose(model.score(PROMPTS, RESPONSES, batch_size), one_by_one, rtol=1e-5, atol=1e-6)
    order = np.random.default_rng(0).permutation(len(PROMPTS))
    shuffled = model.score([PROMPTS[i] for i in order], [RESPONSES[i] for i in order], batch_size=3)
    np.testing.assert_allclose(shuffled, one_by_one[order], rtol=1e-5, atol=1e-6)


def test_a_score_is_the_head_at_the_last_token(saved):
    model = load_reward_model(str(saved), device="cpu")
    ids = model.tokenizer(reward_text(PROMPTS[1], RESPONSES[1]), return_tensors="pt")["input_ids"]
    with torch.no_grad():
        by_hand = model.model.score(model.model.model(ids).last_hidden_state[0, -1])
    assert model.score(PROMPTS[1:2], RESPONSES[1:2])[0] == pytest.approx(by_hand.item(), rel=1e-5)


def test_scores_of_nothing_and_of_too_much(saved):
    model = load_reward_model(str(saved), device="cpu")
    assert model.score([], []).shape == (0,)
    assert math.isfinite(model.score(["p"], ["long " * 1000])[0])
    with pytest.raises(ValueError, match="shorter"):
        model.score(["a", "b"], ["a"])


# Loading.


def test_a_plain_language_model_is_no_reward_model(base):
    with pytest.raises(UserError, match=r"not a trained reward model; weights missing or unexpected: .*(lm_head|score)"):
        load_reward_model(str(base), device="cpu")


def test_a_reward_model_without_its_head(saved):
    weights = load_file(saved / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"weights missing or unexpected: score\.weight"):
        load_reward_model(str(saved), device="cpu")


def test_no_reward_model(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such file or folder \\(the reward model\\)"):
        load_reward_model(str(tmp_path / "nowhere"))


def save_reward_adapter(folder, base):
    torch.manual_seed(3)
    lora = LoraConfig(
        r=2, task_type="SEQ_CLS", target_modules=["q_proj"], modules_to_save=["score"], init_lora_weights=False
    )  # fmt: skip
    model = get_peft_model(new_reward_model(str(base), make_tokenizer()), lora)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return model


def test_an_adapter_comes_with_its_head(tmp_path, base):
    model = save_reward_adapter(tmp_path / "adapter", base).eval()
    loaded = load_reward_model(str(tmp_path / "adapter"), device="cpu")
    ids = loaded.tokenizer(reward_text("p", "r"), return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert loaded.score(["p"], ["r"])[0] == pytest.approx(model(ids).logits.item(), rel=1e-5)


def test_an_adapter_without_its_head(tmp_path, base):
    save_reward_adapter(tmp_path, base)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    head = [name for name in weights if "score" in name]
    assert head
    save_file({name: weight for name, weight in weights.items() if name not in head}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(UserError, match=r"do not fit|weights missing"):
        load_reward_model(str(tmp_path), device="cpu")


def test_an_adapter_trained_without_a_head_to_save(tmp_path, base):
    """A LoRA whose head was never saved scores with random numbers: refused."""
    lora = LoraConfig(r=2, target_modules=["q_proj"])
    get_peft_model(new_reward_model(str(base), make_tokenizer()), lora).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="an adapter without a reward head"):
        load_reward_model(str(tmp_path), device="cpu")


def test_the_recipes_attention_reaches_the_reward_model(tmp_path):
    """Gemma-2 is trained with eager attention: others leave its soft-capping out."""
    base, _ = families.save(tmp_path, families.MODELS["gemma2"])
    tokenizer = families.make_tokenizer(families.MODELS["gemma2"], sibling=False)
    model = new_reward_model(str(base), tokenizer, attn_implementation="eager")
    assert model.config._attn_implementation == "eager"
    assert model.config.pad_token_id == tokenizer.pad_token_id


def test_votes_that_are_all_equal_check_nothing(tmp_path, base, capsys):
    from datasets import DatasetDict

    from scripts_reward_modeling import reward_model_perf_analysis

    row = {"post_title": "t", "post_text": "", "filtered_comment_texts": ["a", "b", "c"]}
    row |= {"filtered_comment_scores": [1, 1, 1], "filtered_transformed_scores": [0.0, 0.0, 0.0]}
    DatasetDict({"test": Dataset.from_list([row])}).save_to_disk(tmp_path / "data")
    save_reward_model(tmp_path / "reward", base)
    flags = [f"--source={tmp_path / 'data'}", f"--reward_model={tmp_path / 'reward'}", f"--output={tmp_path / 'out'}"]
    with pytest.raises(SystemExit):
        reward_model_perf_analysis.main(flags)
    assert "all 3 responses have the same votes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_check_of_a_draw_of_each_prompts_responses(tmp_path, base, capsys):
    from datasets import DatasetDict

    from scripts_reward_modeling import reward_model_perf_analysis

    rows = [
        {"post_title": title, "post_text": "", "filtered_comment_texts": [f"{title} {n}" for n in range(6)],
         "filtered_comment_scores": [*range(6)], "filtered_transformed_scores": [n / 5 for n in range(6)]}
        for title in "ab"
    ]  # fmt: skip
    DatasetDict({"test": Dataset.from_list(rows)}).save_to_disk(tmp_path / "data")
    save_reward_model(tmp_path / "reward", base)
    flags = [f"--source={tmp_path / 'data'}", f"--reward_model={tmp_path / 'reward'}", f"--output={tmp_path / 'out'}"]
    reward_model_perf_analysis.main([*flags, "--max_responses=4"])
    assert "8 of 12 responses, at most 4 a prompt" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "reward_check.json").read_text())["responses"] == 8


@pytest.mark.parametrize("side", ["left", "right"])
def test_scored_trained_on_votes_and_trained_on_pairs_are_cut_alike(tmp_path, base, side):
    """Where the tokenizer cuts, at the length that the training had; a special token that it adds stays."""
    rows = [{"prompt": PROMPTS[1], "response": RESPONSES[1], "score": 1.0}]
    pair = {"prompt": PROMPTS[1], "chosen": RESPONSES[1], "rejected": RESPONSES[3]}
    save_reward_model(tmp_path, base)
    families.make_tokenizer(families.MODELS["llama"], sibling=False).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "truncation_side": side}))
    tokenizer = reward_tokenizer(AutoTokenizer.from_pretrained(tmp_path), 60)
    tokenizer.save_pretrained(tmp_path)
    model = load_reward_model(str(tmp_path), device="cpu")
    assert model.max_length == 60
    asked = []
    model.model.forward = lambda input_ids, attention_mask: asked.append(input_ids) or outputs(0.0)
    model.score([PROMPTS[1]], [RESPONSES[1]])
    scored = asked[0][0].tolist()
    config = PairwiseRewardConfig(output_dir="x", max_length=60, report_to=[], use_cpu=True, bf16=False)
    assert len(scored) == 60
    assert scored[0] == tokenizer.bos_token_id
    assert reward_dataset(Dataset.from_list(rows), tokenizer, 60)["input_ids"][0] == scored
    assert tokenized(reward_pair_dataset(Dataset.from_list([pair])), tokenizer, config)[0]["chosen_ids"][0] == scored


def test_a_multimodal_models_reward_does_not_depend_on_the_batch(tmp_path):
    """Its head asks the text's settings which token pads."""
    text = {
        "vocab_size": 261, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8,
    }  # fmt: skip
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model("gemma3", text_config=text, vision_config={**vision, "image_size": 28, "patch_size": 14})
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(config).save_pretrained(tmp_path)
    tokenizer = make_tokenizer()
    model = new_reward_model(str(tmp_path), tokenizer)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    assert model.config.pad_token_id == model.config.get_text_config().pad_token_id == tokenizer.pad_token_id
    reward_model = RewardModel(model, tokenizer)
    together = reward_model.score(PROMPTS, RESPONSES)
    alone = [reward_model.score([prompt], [text])[0] for prompt, text in zip(PROMPTS, RESPONSES, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_reward_model_whose_tokenizer_does_not_pad(tmp_path, base):
    save_reward_model(tmp_path, base)
    expected = load_reward_model(str(tmp_path), device="cpu").score(PROMPTS, RESPONSES)
    tokenizer = make_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "pad_token_id": None}))
    np.testing.assert_allclose(load_reward_model(str(tmp_path), device="cpu").score(PROMPTS, RESPONSES), expected, atol=1e-6)
