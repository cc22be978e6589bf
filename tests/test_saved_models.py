"""What is saved is what was trained: adapters merged into bases with tied embeddings, and folders at the end of a training."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Trainer

from diversity_tuning import policy
from scripts_finetuning import generation_model_train as sft
from scripts_reward_modeling import reward_model_train as reward
from tests.tiny import make_tokenizer
from tests.training_runs import LORA, hidden, make_world, stops

TIED = {
    "lm_head saved": {"modules_to_save": ["lm_head"]},
    "embeddings saved": {"modules_to_save": ["embed_tokens"]},
    "LoRA on embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "LoRA on lm_head": {"target_modules": ["q_proj", "lm_head"]},
    "LoRA on both, tied": {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
    "single tokens": {"trainable_token_indices": [1, 2]},
    "neither": {},
}
IDS = torch.arange(5, 45).view(2, 20)


def tied_model(tokenizer):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, tie_word_embeddings=True, initializer_range=0.2, bos_token_id=0, eos_token_id=1, pad_token_id=2,
    )  # fmt: skip
    return LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    root, tokenizer = tmp_path_factory.mktemp("tied"), make_tokenizer()
    tied_model(tokenizer).save_pretrained(root / "base")
    tokenizer.save_pretrained(root / "base")
    return root


def save_adapter(root, folder, **settings):
    """A random adapter on the base; returns its logits."""
    model = AutoModelForCausalLM.from_pretrained(root / "base")
    adapted = get_peft_model(model, LoraConfig(r=4, task_type="CAUSAL_LM", **{"target_modules": ["q_proj"], **settings}))
    torch.manual_seed(1)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.2 * torch.randn_like(parameter)
    adapted.save_pretrained(folder)
    with torch.no_grad():
        return adapted.eval()(IDS).logits


def merge(root, folder, output):
    return policy.main(["merge", "--base_model", str(root / "base"), "--adapter", str(folder), "--output", str(output)])


@pytest.mark.parametrize("kind", TIED)
def test_an_adapter_on_tied_embeddings_is_merged_into_what_it_changes(tied, tmp_path, kind):
    expected = save_adapter(tied, tmp_path / "adapter", **TIED[kind])
    assert merge(tied, tmp_path / "adapter", tmp_path / "merged") == 0
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        torch.testing.assert_close(merged(IDS).logits, expected, rtol=1e-4, atol=1e-4)
    assert merged.config.tie_word_embeddings == (kind in ("LoRA on both, tied", "single tokens", "neither"))


def test_a_merge_that_is_read_again_otherwise_is_refused(tied, tmp_path, capsys, monkeypatch):
    save_adapter(tied, tmp_path / "adapter", target_modules=["q_proj", "lm_head"])
    save = LlamaForCausalLM.save_pretrained

    def save_tied(self, folder, **options):
        save(self, folder, **options)
        weights, config = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
        weights.pop("lm_head.weight")
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))

    monkeypatch.setattr(LlamaForCausalLM, "save_pretrained", save_tied)
    with pytest.raises(SystemExit):
        merge(tied, tmp_path / "adapter", tmp_path / "merged")
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: {tmp_path / 'merged'}: read again, its outputs for a few texts are off by ")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("saved"))


@pytest.mark.parametrize("command", [sft, reward])
@pytest.mark.parametrize("flags", [LORA, ()], ids=["adapter", "whole"])
def test_a_training_whose_folder_is_read_again_otherwise_publishes_nothing(world, capsys, monkeypatch, command, flags):
    save = Trainer.save_model

    def save_other(self, folder=None, **options):
        save(self, folder, **options)
        for path in hidden(world, "other").glob("*.safetensors"):
            weights = load_file(path)
            save_file({name: 1.01 * weight for name, weight in weights.items()}, path, {"format": "pt"})

    monkeypatch.setattr(Trainer, "save_model", save_other)
    line = stops(capsys, command, world, "other", source="filtered", flags=[*flags, "--max_steps", "1", "--overwrite", "true"])
    assert line.startswith(f"error: {world / 'other'}: read again, its outputs for a few texts are off by ")
    kept = hidden(world, "other")
    assert line.endswith(f"what is saved is not what was trained, so nothing is published; it lies in {kept}")
    assert kept.is_dir()
    assert not (world / "other").exists()
