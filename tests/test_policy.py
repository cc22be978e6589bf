"""Tokenizers of four families through TRL's own tokenization; adapters that fit or are refused; merging."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

from diversity_tuning import policy
from diversity_tuning.data.schema import to_messages
from diversity_tuning.errors import UserError
from diversity_tuning.generation import local
from diversity_tuning.generation.local import encode_conversations, ignores_padding
from diversity_tuning.generation.requests import user_request
from diversity_tuning.opening import weights_of
from diversity_tuning.policy import attach_adapter, load_base_model, load_policy, load_tokenizer, on_device
from diversity_tuning.reward_model import new_reward_model
from diversity_tuning.runs import file_digest, fingerprint, provenance, write_provenance
from diversity_tuning.trainers import ORPOConfig, ORPOTrainer
from tests import families
from tests.tiny import make_model, save_base
from tests.tiny import make_tokenizer as tiny_tokenizer

FAMILIES_END_OF_TURN = ("<|eot_id|>", "<end_of_turn>", "<|im_end|>")  # that a base model was not trained on
PROMPT = "[WP] A door.\nBehind it: \u2014 what? <b>"
CHOSEN, REJECTED = "It opened.\n\nSlowly, ü.", "No."


@pytest.fixture(scope="module", params=families.MODELS)
def family(request, tmp_path_factory):
    """(model, base folder, instruct folder, tokenizer loaded for the base)."""
    model = families.MODELS[request.param]
    base, sibling = families.save(tmp_path_factory.mktemp(request.param), model)
    return model, base, sibling, load_tokenizer(str(base), str(sibling))


def tokenized(family, tmp_path, trainer_class=DPOTrainer, config_class=DPOConfig):
    _, base, _, tokenizer = family
    rows = [{"chosen": to_messages(PROMPT, CHOSEN), "rejected": to_messages(PROMPT, REJECTED)}] * 2
    config = config_class(
        str(tmp_path), max_length=2048, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none",
        per_device_train_batch_size=2,
    )  # fmt: skip
    model = get_peft_model(load_base_model(str(base)), LoraConfig(r=2, target_modules=["q_proj"]))
    return trainer_class(model=model, args=config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)


def test_special_tokens(family):
    model, _, _, tokenizer = family
    assert tokenizer.eos_token == model.end_of_response
    assert tokenizer.pad_token == policy.FAMILIES[model.model_type].pad_token
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.pad_token_id < len(model.specials), "pad is no token that a text may hold"
    assert (tokenizer.chat_template == model.template) == (model.end_of_turn not in FAMILIES_END_OF_TURN)


def test_a_response_ends_with_a_token_that_the_base_was_trained_on_and_a_prompt_as_in_the_sibling(family):
    model, *_, tokenizer = family
    turns = [*to_messages(PROMPT, CHOSEN), *to_messages("More.", REJECTED)]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    assert text.count(model.end_of_response) == 2
    assert text.count(PROMPT + model.end_of_turn) == 1
    prompt = tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    assert model.end_of_response not in prompt


@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen2"])
def test_an_instruct_model_keeps_its_end_of_turn(tmp_path, name):
    model = families.MODELS[name]
    _, sibling = families.save(tmp_path, model)
    number = families.make_tokenizer(model, sibling=True).get_vocab()[model.end_of_turn]
    (sibling / "generation_config.json").write_text(json.dumps({"eos_token_id": [number]}))
    tokenizer = load_tokenizer(str(sibling))
    assert (tokenizer.eos_token, tokenizer.chat_template) == (model.end_of_turn, model.template)


def test_a_base_model_with_a_template_of_its_own(tmp_path):
    """As Qwen2.5's: the template ends a response with a token that the model's files do not list as an end."""
    model = families.MODELS["qwen2"]
    base, _ = families.save(tmp_path, model)
    families.make_tokenizer(model, sibling=True).save_pretrained(base)
    tokenizer = load_tokenizer(str(base))
    assert tokenizer.eos_token == "<|endoftext|>"
    tokenizer.save_pretrained(base)
    assert load_tokenizer(str(base)).chat_template == tokenizer.chat_template, "changed once"


def test_a_template_that_cannot_be_changed_is_refused(tmp_path):
    base, sibling = families.save(tmp_path, families.MODELS["llama"])
    tokenizer = families.make_tokenizer(families.MODELS["llama"], sibling=True)
    tokenizer.chat_template = "{% for turn in messages %}{{ turn['content'] }}<|eot_id|>{% endfor %}"
    tokenizer.save_pretrained(sibling)
    with pytest.raises(UserError, match="in a way that cannot be changed"):
        load_tokenizer(str(base), str(sibling))


def test_pairs_through_trl(family, tmp_path):
    """One BOS, an exact boundary, an end of turn, and the prompt that sampling uses."""
    model, _, _, tokenizer = family
    row = tokenized(family, tmp_path).train_dataset[0]
    for name, response in (("chosen_ids", CHOSEN), ("rejected_ids", REJECTED)):
        whole = row["prompt_ids"] + row[name]
        bos = [i for i, token in enumerate(whole) if token == tokenizer.bos_token_id]
        assert bos == ([0] if model.bos else []), "one BOS, first"
        assert whole[-1] == tokenizer.eos_token_id or tokenizer.decode(whole[-1:]) == "\n"
        end = row[name].index(tokenizer.eos_token_id)
        assert row[name].count(tokenizer.eos_token_id) == 1
        assert tokenizer.decode(row[name][:end]).removeprefix(" ") == response, "the response, whole, and nothing else"
        assert tokenizer.decode(row[name][end + 1 :]).strip() == ""
        assert tokenizer.pad_token_id not in whole
    assert row["prompt_ids"] == encode_conversations(tokenizer, [user_request(PROMPT)])[0]
    assert PROMPT in tokenizer.decode(row["prompt_ids"])


def test_masks_of_a_padded_batch(family, tmp_path):
    """What counts as response in a batch is the response to its end of turn, and padding never."""
    *_, tokenizer = family
    trainer = tokenized(family, tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    for ids, attention, completion in zip(
        *(batch[name] for name in ("input_ids", "attention_mask", "completion_mask")), strict=True
    ):
        assert (completion <= attention).all()
        assert tokenizer.decode(ids[completion.bool()]).strip().split(tokenizer.eos_token)[0].strip() in (CHOSEN, REJECTED)
        assert (ids[attention == 0] == tokenizer.pad_token_id).all()


def test_the_fused_head_gives_the_logits_of_every_family(family, tmp_path):
    """Gemma-2 caps its logits: a fused head that forgot it would give other log-probabilities."""
    trainer = tokenized(family, tmp_path, ORPOTrainer, ORPOConfig)
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.eval()
    with torch.no_grad():
        nll, chosen, rejected = trainer._nll_and_averages(trainer._log_probs(trainer.model, batch)[0], batch)
        logits = trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1].float()
    logps = logits.log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None]).squeeze(-1)
    mask = batch["completion_mask"][:, 1:]
    averages = (logps * mask).sum(1) / mask.sum(1)
    torch.testing.assert_close(torch.cat([chosen, rejected]), averages, rtol=1e-5, atol=1e-5)
    full = batch["attention_mask"][:2, 1:]
    torch.testing.assert_close(nll, -(logps[:2] * full).sum(1) / full.sum(1), rtol=1e-5, atol=1e-5)


def test_a_trained_folder_brings_its_tokenizer(family, tmp_path):
    """What SFT saves beside the adapter is what the policy samples with."""
    *_, tokenizer = family
    tokenizer.save_pretrained(tmp_path)
    loaded = policy.AutoTokenizer.from_pretrained(tmp_path)
    assert (loaded.eos_token, loaded.pad_token, loaded.chat_template) == (
        tokenizer.eos_token, tokenizer.pad_token, tokenizer.chat_template,
    )  # fmt: skip
    assert encode_conversations(loaded, [user_request(PROMPT)]) == encode_conversations(tokenizer, [user_request(PROMPT)])


# Tokenizers that cannot do.


def test_a_tokenizer_without_a_template_is_refused(tmp_path):
    base, sibling = families.save(tmp_path, families.MODELS["llama"])
    with pytest.raises(UserError, match="no chat template either"):
        load_tokenizer(str(base), str(base))
    (base / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(UserError, match="no chat template; give --chat_template_from"):
        load_tokenizer(str(base))
    assert load_tokenizer(str(base), str(sibling)).pad_token == "<|finetune_right_pad_id|>"  # of an unknown family too


def test_a_damaged_template_is_one_line(tmp_path):
    _, sibling = families.save(tmp_path, families.MODELS["llama"])
    (sibling / "chat_template.jinja").write_text("{{ cut")
    with pytest.raises(UserError, match="its chat template cannot be read"):
        load_tokenizer(str(sibling))


def change_config(base, **values):
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, **values}))


def change_tensors(base, change):
    tensors = load_file(base / "model.safetensors")
    change(tensors)
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})


def test_tensors_that_the_config_has_no_place_for_are_told(tmp_path, capsys):
    base, _ = families.save(tmp_path, families.MODELS["llama"])
    change_tensors(base, lambda tensors: tensors.update({"model.layers.0.extra.weight": torch.ones(2)}))
    load_base_model(str(base))
    assert "1 tensors are not used, such as model.layers.0.extra.weight" in capsys.readouterr().err


def test_a_config_that_asks_for_other_sizes_is_refused_before_a_model_is_built(tmp_path, monkeypatch):
    base, _ = families.save(tmp_path, families.MODELS["llama"])
    whole = (base / "config.json").read_text()
    loads = []
    load = AutoModelForCausalLM.from_pretrained
    monkeypatch.setattr(
        AutoModelForCausalLM, "from_pretrained", lambda *args, **kwargs: loads.append(kwargs) or load(*args, **kwargs)
    )
    (base / "config.json").write_text(json.dumps({"model_type": "llama"}))  # of a model with 7 billion parameters
    with pytest.raises(UserError, match=r"config.json does not fit the weights: \S+ has the shape \[.*\], not \["):
        load_base_model(str(base))
    assert [one.get("device_map") for one in loads] == ["meta"]  # no memory was asked for
    with pytest.raises(UserError, match=r"config.json does not fit the weights"):
        new_reward_model(str(base), None)
    for change in ({"intermediate_size": 7}, {"vocab_size": 11}, {"num_hidden_layers": 1}, {"num_key_value_heads": 1}):
        (base / "config.json").write_text(whole)
        change_config(base, **change)
        with pytest.raises(UserError, match=r"config.json does not fit the weights"):
            load_base_model(str(base))
    change_config(base, num_hidden_layers=9)
    with pytest.raises(UserError, match=r"lacks|does not fit"):
        load_base_model(str(base))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    base, _ = families.save(tmp_path, families.MODELS["llama"])
    change_tensors(base, lambda tensors: tensors["model.norm.weight"].__setitem__(1, value))
    with pytest.raises(UserError, match=r"model.norm.weight holds numbers that are not finite; the file is damaged"):
        load_base_model(str(base))


def flipped(file, old: bytes, new: bytes):
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new, 1))


@pytest.mark.parametrize(("old", "new"), [
    (b'"F32"', b'"I32"'), (b"model.norm", b"model.norn"), (b'"shape":[', b'"shape":{'), (b"data_offsets", b"data_offsett"),

])  # fmt: skip
def test_a_flipped_byte_in_a_header_is_one_line(tmp_path, old, new):
    base, _ = families.save(tmp_path, families.MODELS["llama"])
    flipped(base / "model.safetensors", old, new)
    with pytest.raises(UserError, match=r"cannot be loaded|damaged|lacks"):
        load_base_model(str(base))


@pytest.mark.parametrize("alpha", [0, float("nan"), float("inf")])
def test_an_adapter_of_no_strength_is_refused(pair, alpha):
    base, adapter = pair
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": alpha}))
    with pytest.raises(UserError, match=r"its adapter_config.json multiplies the adapter by (0|nan|inf) \(lora_alpha, r\)"):
        attach(base, adapter)


def test_folders_with_dead_links_and_stops_that_are_no_tokens_are_one_line(tmp_path):
    base = save_base(tmp_path / "base")
    (base / "generation_config.json").write_text('{"eos_token_id": ["x"]}')
    with pytest.raises(UserError, match=r"generation_config.json cannot be read \(ValueError: eos_token_id is \['x'\]"):
        load_policy(str(base))
    (base / "generation_config.json").unlink()
    (base / "model.safetensors").unlink()
    (base / "model.safetensors").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=r"model.safetensors is a link to .*gone, which is not there"):
        load_base_model(str(base))


@pytest.mark.parametrize(
    ("dtype", "by_width", "by_content", "ignores"),
    [
        ("bfloat16", {7: 0.11}, 0.0, True),  # rounding, at some widths: seen with a LoRA of SmolLM2
        ("bfloat16", {3: 0.05, 7: 0.2, 11: 0.2, 64: 0.2}, 0.05, True),
        ("bfloat16", {3: 0.15, 7: 0.15, 11: 0.15, 64: 0.15}, 0.0, False),  # positions that count the padding
        ("bfloat16", {3: 0.05, 7: 0.1, 11: 0.2, 64: 0.9}, 0.0, False),  # which tells with many columns
        ("bfloat16", {}, 0.15, False),  # padding that is read
        ("float32", dict.fromkeys(local.PADDINGS, 0.005), 0.005, True),
        ("float32", {64: 0.02}, 0.0, False),
        ("float32", {3: 0.005, 7: 0.3, 11: 0.3}, 0.0, False),
        ("float32", {}, 0.02, False),
    ],
)
def test_padding_that_is_read_is_told_from_rounding(tmp_path, monkeypatch, dtype, by_width, by_content, ignores):
    """How far the logits are for a width of padding, and for tokens in it, in their standard deviations."""
    plain = torch.randn(50_000, generator=torch.Generator().manual_seed(0))
    sign = torch.where(torch.arange(50_000) % 2 == 0, 1, -1)
    model, tokenizer = load_policy(str(save_base(tmp_path / "base")), device="cpu", dtype=dtype)

    def generate(model, tokenizer, ids, mask, *_, **__):
        width = int((mask == 0).sum())
        other = width and ids[0, 0] != tokenizer.pad_token_id
        off = by_width.get(width, 0.0) + by_content * bool(other)
        return SimpleNamespace(logits=[(plain + off * plain.std() * sign)[None]])

    monkeypatch.setattr(local, "generate", generate)
    assert ignores_padding(model, tokenizer) is ignores


def test_a_model_whose_scores_are_not_numbers_is_not_sampled(tmp_path):
    base = save_base(tmp_path / "base")
    change_tensors(base, lambda tensors: [tensors[name].fill_(1e38) for name in tensors if "mlp" in name])  # finite, each
    with pytest.raises(UserError, match="scores of a short text are not numbers"):
        ignores_padding(*load_policy(str(base), device="cpu"))


def test_weights_of_a_finished_training_are_known_by_their_digest(pair):
    base, adapter = pair
    record = {"stage": "sft", "arguments": {}, "inputs": {}}
    write_provenance(adapter, record, weights={file.name: file_digest(file) for file in weights_of(adapter)})
    attach(base, adapter)
    content = bytearray((adapter / "adapter_model.safetensors").read_bytes())
    content[-3] ^= 1  # a number a little other than it was
    (adapter / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"adapter_model.safetensors is not what the training published"):
        attach(base, adapter)


@pytest.mark.parametrize("device", ["cuda:7", "cudaa"])
def test_a_device_that_is_not_there_is_one_line(device):
    with pytest.raises(UserError, match=f"--device {device}: the model cannot be moved there"):
        on_device(torch.nn.Linear(2, 2), device)


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="nowhere: cannot be loaded"):
        load_tokenizer(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="nowhere: cannot be loaded"):
        load_base_model(str(tmp_path / "nowhere"))


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
LLAMA3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
NO_PAD = {  # special tokens, BOS, EOS, pad, unknown, template: the pad that is chosen
    "Llama 3": (LLAMA3, LLAMA3[0], LLAMA3[4], None, None, "llama3", "<|end_of_text|>"),
    "Llama 3, reserved": ((*LLAMA3, "<|reserved_special_token_0|>"), LLAMA3[0], LLAMA3[4], None, None, "llama3",
        "<|reserved_special_token_0|>"),
    "GPT-2, ChatML": (("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|endoftext|>", "<|endoftext|>", None,
        "<|endoftext|>", CHATML, "\u00ff"),
    "GPT-2, EOS ends turns": (("<|endoftext|>",), "<|endoftext|>", "<|endoftext|>", None, "<|endoftext|>", ZEPHYR, "\u00ff"),
    "TinyLlama": (("<unk>", "<s>", "</s>"), "<s>", "</s>", "</s>", "<unk>", ZEPHYR, "<unk>"),
    "SmolLM2": (("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_start|>", "<|im_end|>", "<|im_end|>", "<|endoftext|>",
        CHATML, "<|endoftext|>"),
    "Pythia": (("<|endoftext|>", "<|padding|>"), "<|endoftext|>", "<|endoftext|>", None, None, ZEPHYR, "<|padding|>"),
    "vision": (("<|endoftext|>", "<|im_end|>", "<|im_start|>", "<|image_pad|>", "<|fim_pad|>"), None, "<|im_end|>", None, None,
        CHATML, "<|fim_pad|>"),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_PAD)
def test_a_pad_token_that_no_text_holds_is_chosen(tmp_path, name):
    specials, bos, eos, pad, unk, template, chosen = NO_PAD[name]
    template = (families.TEMPLATES / "llama3.jinja").read_text() if template == "llama3" else template
    tokenizer = families.make_tokenizer(families.Model("gpt2", specials, bos, eos, eos, pad, template, "", "", unk), True)
    found = policy.complete_tokenizer(tokenizer, None)
    found.save_pretrained(tmp_path)
    for one in (found, policy.AutoTokenizer.from_pretrained(tmp_path)):
        assert one.pad_token == chosen
        assert one.pad_token_id < len(tokenizer)
        turns = [
            {"role": "user", "content": "L'Ha\u00ff-les-Roses, \u00e9t\u00e9 \u2603"},
            {"role": "assistant", "content": "\U0010fffd"},
        ]
        assert one.pad_token_id not in one.apply_chat_template(turns, tokenize=True)["input_ids"]
        assert "Ha\u00ff" in one.decode(one.encode("L'Ha\u00ff"), skip_special_tokens=True)


def test_a_row_that_the_model_has_to_spare_pads(tmp_path):
    model = families.Model("gpt2", ("<|endoftext|>",), "<|endoftext|>", "<|endoftext|>", "<|endoftext|>", None, ZEPHYR, "", "")
    tokenizer = families.make_tokenizer(model, True)
    rows = len(tokenizer) + 1
    assert policy.complete_tokenizer(tokenizer, None, rows=rows).pad_token_id == rows - 1


def test_no_pad_token_other_than_eos():
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    assert policy.complete_tokenizer(tokenizer, None).pad_token == "<|pad|>"
    backend = Tokenizer(models.WordLevel({"<end>": 0, "text": 1, "\u2603": 2}, unk_token="<end>"))
    words = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", unk_token="<end>")
    words.chat_template = "{% for m in messages %}{{ m['content'] }}<end>{% endfor %}"
    with pytest.raises(UserError, match="no pad token other than EOS"):
        policy.complete_tokenizer(words, None)


# Adapters.


def save_adapter(base, folder, targets=("q_proj", "v_proj"), name=None):
    model = make_model(tiny_tokenizer())
    torch.manual_seed(1)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=list(targets), init_lora_weights=False))
    adapted.peft_config["default"].base_model_name_or_path = str(name or base)
    adapted.save_pretrained(folder)
    return folder


@pytest.fixture
def pair(tmp_path):
    base = save_base(tmp_path / "base")
    return base, save_adapter(base, tmp_path / "adapter")


def attach(base, adapter):
    return attach_adapter(load_base_model(str(base)), str(adapter), str(base))


def test_an_adapter_that_fits(pair):
    base, adapter = pair
    saved = load_file(adapter / "adapter_model.safetensors")
    loaded = {name: weight for name, weight in attach(base, adapter).named_parameters() if "lora" in name}
    assert len(saved) == len(loaded) == 8
    for name, weight in saved.items():
        assert torch.equal(loaded[name.replace(".weight", ".default.weight")], weight)


def test_no_adapter(pair, tmp_path):
    base, _ = pair
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(UserError, match="no adapter here"):
            attach(base, folder)


def test_an_adapter_of_another_base_by_name(pair, tmp_path):
    _, adapter = pair
    other = save_base(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match="which is not the base model"):
        attach(other, adapter)


def test_an_adapter_of_another_base_by_content(pair, tmp_path):
    """With provenance the content counts: a moved base model is the same, another one under the same name is not."""
    base, adapter = pair
    record = provenance("generation", {}, {"model_name_or_path": base})
    write_provenance(adapter, record)
    moved = shutil.copytree(base, tmp_path / "moved")
    attach(moved, adapter)
    checkpoint = shutil.copytree(adapter, adapter / "checkpoint-4", ignore=shutil.ignore_patterns("provenance.json"))
    attach(moved, checkpoint)
    shutil.rmtree(base)
    save_base(base, seed=1)
    assert fingerprint(base) != fingerprint(moved)
    for folder in (adapter, checkpoint):
        with pytest.raises(UserError, match="which is not the base model"):
            attach(base, folder)


def edit_weights(adapter, change):
    path = adapter / "adapter_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


def test_missing_weights(pair):
    edit_weights(pair[1], lambda weights: weights.pop(sorted(weights)[0]))
    with pytest.raises(UserError, match=r"1 weights missing and 0 unexpected, such as .*lora_A"):
        attach(*pair)


def test_unexpected_weights(pair):
    edit_weights(pair[1], lambda weights: weights.update(surplus=torch.ones(2)))
    with pytest.raises(UserError, match="0 weights missing and 1 unexpected, such as surplus"):
        attach(*pair)


def test_renamed_weights(pair):
    def rename(weights):
        for name in list(weights):
            weights[name.replace("q_proj", "o_proj")] = weights.pop(name)

    edit_weights(pair[1], rename)
    with pytest.raises(UserError, match="4 weights missing and 4 unexpected"):
        attach(*pair)


def test_weights_of_another_shape(pair):
    edit_weights(pair[1], lambda weights: weights.update({sorted(weights)[0]: torch.ones(3, 5)}))
    with pytest.raises(UserError, match=r"do not fit .*size mismatch"):
        attach(*pair)


def test_a_policy_stops_at_the_end_of_turn_and_at_the_models_own(pair):
    base, adapter = pair
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9]}))
    model, tokenizer = load_policy(str(base), str(adapter), device="cpu")
    assert model.generation_config.eos_token_id == sorted({tokenizer.eos_token_id, 7, 9})
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id
    assert not model.training


# Merging.


def test_a_merged_policy_gives_the_same_logits(pair, tmp_path, capsys):
    base, adapter = pair
    output = tmp_path / "merged"
    argv = ["merge", "--base_model", str(base), "--adapter", str(adapter), "--output", str(output)]
    assert policy.main(argv) == 0
    assert json.loads(capsys.readouterr().out) == {"merged": str(output)}
    ids = torch.arange(5, 45).view(2, 20)
    with torch.no_grad():
        adapted = load_policy(str(base), str(adapter), device="cpu")[0](ids).logits
        merged = load_policy(str(output), device="cpu")[0](ids).logits
        plain = load_policy(str(base), device="cpu")[0](ids).logits
    torch.testing.assert_close(merged, adapted, rtol=1e-5, atol=1e-5)
    assert (adapted - plain).abs().max() > 0.01
    assert load_tokenizer(str(output)).chat_template == tiny_tokenizer().chat_template
    with pytest.raises(SystemExit) as caught:
        policy.main(argv)
    assert caught.value.code == 2


def test_a_sibling_with_other_ids_is_refused(tmp_path):
    """As the tokenizer of Mistral v0.3 for a base model of v0.1: every id would mean another token."""
    base, sibling = families.save(tmp_path, families.MODELS["llama"])
    assert load_tokenizer(str(base), str(sibling)).chat_template
    backend = json.loads((sibling / "tokenizer.json").read_text())
    vocabulary = backend["model"]["vocab"]
    one, other = [token for token in vocabulary if token not in {added["content"] for added in backend["added_tokens"]}][:2]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    (sibling / "tokenizer.json").write_text(json.dumps(backend))
    with pytest.raises(UserError, match=r"not the same vocabulary \(2 tokens differ, such as"):
        load_tokenizer(str(base), str(sibling))


def test_a_sibling_with_more_ids_than_the_model_has_rows_is_refused(tmp_path):
    base, sibling = families.save(tmp_path, families.MODELS["llama"])
    config = json.loads((base / "config.json").read_text())
    size = len(policy.AutoTokenizer.from_pretrained(sibling))
    (base / "config.json").write_text(json.dumps({**config, "vocab_size": size}))
    load_tokenizer(str(base), str(sibling))
    (base / "config.json").write_text(json.dumps({**config, "vocab_size": size - 1}))
    with pytest.raises(UserError, match=f"ids go to {size - 1}, rows to {size - 1}"):
        load_tokenizer(str(base), str(sibling))
