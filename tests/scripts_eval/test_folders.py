"""Model folders that are damaged, foreign or not whole are one line, before anything is written; and models' own settings."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig, RwkvConfig, RwkvForCausalLM

from diversity_tuning.errors import UserError
from diversity_tuning.generation.engine import EngineConfig, make_engine
from diversity_tuning.generation.local import LocalEngine
from diversity_tuning.generation.requests import SamplingSettings, user_request
from diversity_tuning.policy import load_base_model, load_policy
from diversity_tuning.reward_model import load_reward_model, new_reward_model
from scripts_eval import sample
from tests.scripts_eval.test_evaluation import sampling_flags
from tests.tiny import make_tokenizer, save_base

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("models") / "base")


def overwrite(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def cut(name, share):
    def damage(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return damage


def config(**changes):
    def damage(folder):
        found = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**found, **changes}))

    return damage


def without(*parts):
    def damage(folder):
        kept = {name: value for name, value in load_file(folder / WEIGHTS).items() if not any(part in name for part in parts)}
        save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})

    return damage


def pickled(name):
    def damage(folder):
        torch.save(load_file(folder / WEIGHTS), folder / name)
        (folder / WEIGHTS).unlink()

    return damage


def bomb(folder):
    class Bomb:
        def __reduce__(self):
            return (open, (str(folder / "exploded"), "w"))

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    (folder / WEIGHTS).unlink()


DAMAGES = {
    "truncated weights": cut(WEIGHTS, 0.5),
    "cut header": cut(WEIGHTS, 0.001),
    "empty weights": overwrite(WEIGHTS, b""),
    "pointer": overwrite(WEIGHTS, POINTER),
    "garbage": overwrite(WEIGHTS, b"\xff" * 500),
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "other shapes": config(hidden_size=64),
    "other vocabulary": config(vocab_size=999),
    "more layers": config(num_hidden_layers=3),
    "a layer less on disk": without("layers.1."),
    "a tensor less": without("layers.0.mlp.down_proj"),
    "no norm": without("model.norm"),
    "config is a list": overwrite("config.json", b"[1]"),
    "config is empty": overwrite("config.json", b""),
    "config is garbage": overwrite("config.json", b"\xff\xfe{"),
    "config cut": cut("config.json", 0.5),
    "unknown type": config(model_type="nothing"),
    "type is a number": config(model_type=3),
    "heads of text": config(num_attention_heads="four"),
    "heads of none": config(num_attention_heads=0),
    "tokenizer cut": cut("tokenizer.json", 0.5),
    "tokenizer empty": overwrite("tokenizer.json", b""),
    "tokenizer is a list": overwrite("tokenizer.json", b"[]"),
    "tokenizer config is a list": overwrite("tokenizer_config.json", b"[]"),
    "tokenizer pointer": overwrite("tokenizer.json", POINTER),
    "generation config cut": cut("generation_config.json", 0.5),
    "generation config is a list": overwrite("generation_config.json", b"[1]"),
    "pickle": pickled("pytorch_model.bin"),
    "pt": pickled("model.pt"),
    "bomb": bomb,
    "index of nothing": lambda folder: (
        (folder / WEIGHTS).rename(folder / "elsewhere"),
        (folder / "model.safetensors.index.json").write_text('{"metadata": {}, "weight_map": {"a": "b.safetensors"}}'),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_one_line_and_the_corrected_command_goes(base, world, tmp_path, capsys, damage):
    broken = tmp_path / "broken"
    shutil.copytree(base, broken)
    DAMAGES[damage](broken)
    output = tmp_path / "run"
    with pytest.raises(SystemExit) as stopped:
        sample.main(sampling_flags(world, output, base_model=broken, num_prompts=1, num_samples=1, max_new_tokens=4))
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert (stopped.value.code, said.startswith("error: "), str(broken) in said) == (2, True, True), said
    assert not output.exists()
    assert not (broken / "exploded").exists()


def test_a_record_without_any_response_binds_nobody(base, world, tmp_path):
    output = tmp_path / "run"
    output.mkdir()
    (output / "sampling.json").write_text('{"stage": "sample", "arguments": {"seed": 7}, "inputs": {}, "finished": false}')
    (output / "samples.jsonl").write_text("")
    sample.main(sampling_flags(world, output, base_model=base, num_prompts=1, num_samples=1, max_new_tokens=4))
    assert (output / "samples.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize(
    "damage", ["truncated weights", "a tensor less", "pickle", "config is a list", "tokenizer cut", "pointer"]
)
def test_reward_models_are_opened_alike(base, tmp_path, damage):
    new_reward_model(str(base), make_tokenizer()).save_pretrained(tmp_path / "reward")
    make_tokenizer().save_pretrained(tmp_path / "reward")
    load_reward_model(str(tmp_path / "reward"))
    DAMAGES[damage](tmp_path / "reward")
    with pytest.raises(UserError, match=r"reward: "):
        load_reward_model(str(tmp_path / "reward"))
    if "tokenizer" not in damage:
        with pytest.raises(UserError, match=r"reward: "):
            new_reward_model(str(tmp_path / "reward"), make_tokenizer())


def test_a_new_reward_head_is_drawn_and_nothing_else(base, tmp_path):
    new_reward_model(str(base), make_tokenizer())
    shutil.copytree(base, tmp_path / "broken")
    DAMAGES["a tensor less"](tmp_path / "broken")
    with pytest.raises(UserError, match=r"lacks 1 tensors, such as model\.layers\.0\.mlp\.down_proj\.weight"):
        new_reward_model(str(tmp_path / "broken"), make_tokenizer())
    with pytest.raises(UserError, match="filled at random"):
        load_base_model(str(tmp_path / "broken"))


ADAPTER = {
    "no weights": lambda folder: (folder / "adapter_model.safetensors").unlink(),
    "cut": cut("adapter_model.safetensors", 0.5),
    "empty": overwrite("adapter_model.safetensors", b""),
    "pointer": overwrite("adapter_model.safetensors", POINTER),
    "config is a list": overwrite("adapter_config.json", b"[]"),
    "config of another kind": overwrite("adapter_config.json", b'{"peft_type": "NOTHING"}'),
    "config without a kind": overwrite("adapter_config.json", b"{}"),
    "config is garbage": overwrite("adapter_config.json", b"\xff"),
}


@pytest.mark.parametrize("damage", ADAPTER)
def test_a_damaged_adapter_is_one_line(base, tmp_path, damage):
    from peft import LoraConfig, get_peft_model

    get_peft_model(load_base_model(str(base)), LoraConfig(r=4, target_modules=["q_proj"])).save_pretrained(tmp_path / "adapter")
    load_policy(str(base), str(tmp_path / "adapter"), device="cpu")
    ADAPTER[damage](tmp_path / "adapter")
    with pytest.raises(UserError, match="adapter: "):
        load_policy(str(base), str(tmp_path / "adapter"), device="cpu")


# What a model's own generation_config.json says.


def texts(folder, batch_size=4):
    requests = [user_request(prompt, number) for prompt in ("a door", "the moon and the tree") for number in range(2)]
    answers = LocalEngine(str(folder), device="cpu", batch_size=batch_size).complete(
        requests, SamplingSettings(max_new_tokens=24)
    )
    return [answer for _, answer in sorted((pair for batch in answers for pair in batch), key=lambda pair: pair[0])]


OWN = [
    {"no_repeat_ngram_size": 1},
    {"suppress_tokens": list(range(10, 200))},
    {"begin_suppress_tokens": list(range(10, 200))},
    {"forced_eos_token_id": 1},
    {"bad_words_ids": [[number] for number in range(10, 200)]},
    {"min_new_tokens": 20},
    {"exponential_decay_length_penalty": [1, 2.0]},
    {"cache_implementation": "static"},
    {"cache_implementation": "offloaded"},
    {"num_beams": 3},
    {"stop_strings": ["a"]},
    {"penalty_alpha": 0.6},
    {"guidance_scale": 3.0},
    {"output_scores": True, "return_dict_in_generate": True},
    {"do_sample": True, "temperature": 0.1, "top_k": 1, "repetition_penalty": 9.0},
]


@pytest.mark.parametrize("own", OWN, ids=lambda own: "-".join(own))
def test_a_models_own_settings_change_no_sample_and_are_said(base, tmp_path, capsys, own):
    expected = texts(base)
    shutil.copytree(base, tmp_path / "model")
    settings = json.loads((base / "generation_config.json").read_text())
    (tmp_path / "model" / "generation_config.json").write_text(json.dumps({**settings, **own}))
    capsys.readouterr()
    assert texts(tmp_path / "model") == expected
    said = capsys.readouterr().out
    ours = {"cache_implementation", "num_beams", "do_sample"} & own.keys()
    assert ("sampling does not use" in said) == (not ours)
    make_engine(EngineConfig("vllm", str(tmp_path / "model"), base_url="http://127.0.0.1:1"))
    assert capsys.readouterr().out == said, "vLLM's does the same"


def test_stop_tokens_of_the_model_are_used(base, tmp_path):
    shutil.copytree(base, tmp_path / "model")
    GenerationConfig(eos_token_id=[1, *range(10, 200)]).save_pretrained(tmp_path / "model")
    assert all(answer.finished and answer.tokens < 5 for answer in texts(tmp_path / "model"))


def test_a_model_that_reads_padding_is_refused_in_batches(tmp_path):
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "attention_hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    RwkvForCausalLM(RwkvConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(tmp_path / "rwkv")
    tokenizer.save_pretrained(tmp_path / "rwkv")
    with pytest.raises(UserError, match=r"a rwkv model writes depends on .* --sample_batch_size 1"):
        texts(tmp_path / "rwkv")
    assert len(texts(tmp_path / "rwkv", batch_size=1)) == 4
