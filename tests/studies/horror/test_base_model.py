"""The base model: attention that starts as copying, a loss over the stories only, a folder that loads."""

import pytest
import torch
from datasets import Dataset, DatasetDict
from transformers import AutoModelForCausalLM

from studies.horror import base_model
from studies.horror.boundary import encode_example
from studies.horror.specifications import story_row
from tests.test_recipes import recipe

WIDTH = 32


def arguments(*flags):
    needed = ["--source", "x", "--tokenizer", "x", "--output", "x", "--hidden_size", str(WIDTH)]
    return base_model.build_parser().parse_args([*needed, *flags])


def test_attention_hands_on_what_it_attends_to(tokenizer):
    model = base_model.new_model(tokenizer, arguments())
    layers = [layer.self_attn for layer in model.model.layers if layer.is_attention_layer]
    assert len(layers) == 2
    for layer in layers:
        torch.testing.assert_close(layer.out_proj.weight @ layer.v_proj.weight, torch.eye(WIDTH), atol=1e-5, rtol=0)


def preference(model, tokenizer, prompts):
    """How many standard deviations the logits of a prompt's words, its last aside, lie above those of other words; the mean."""
    gaps = []
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, -1]
        inside = torch.zeros(len(logits), dtype=torch.bool)
        inside[ids[0]] = True
        inside[ids[0, -1]] = False  # which every untrained model with tied embeddings repeats
        gaps.append(float((logits[inside].mean() - logits[~inside].mean()) / logits.std()))
    return sum(gaps) / len(gaps)


def test_an_untrained_model_prefers_the_words_of_its_prompt(tokenizer, written, monkeypatch):
    prompts = [spec.to_prompt() for spec, _ in written[:10]]
    assert preference(base_model.new_model(tokenizer, arguments()), tokenizer, prompts) > 0.25
    monkeypatch.setattr(base_model, "start_copying", lambda model: None)
    assert preference(base_model.new_model(tokenizer, arguments()), tokenizer, prompts) < 0.1


def test_a_folder_is_made_from_stories_and_loads(tokenizer, written, tmp_path, capsys):
    import numpy as np

    rng = np.random.default_rng(0)
    rows = [story_row(rng, spec, ("horror",), 1.0) for spec, _ in written]
    DatasetDict(train=Dataset.from_list(rows)).save_to_disk(str(tmp_path / "data"))
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    argv = ["--source", str(tmp_path / "data"), "--tokenizer", str(tmp_path / "tokenizer"), "--output", str(tmp_path / "base")]
    argv += ["--hidden_size", str(WIDTH), "--batch_size", "10"]
    assert base_model.main(argv) == 0
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    assert model.config.layer_types == list(base_model.LAYERS)
    assert model.config.vocab_size == len(tokenizer)
    assert base_model.main(argv) == 0
    assert "skipped" in capsys.readouterr().out


def test_the_loss_counts_stories_only(tokenizer, written, tmp_path):
    """The logged loss of one update is the mean over the story tokens, by hand."""
    args = arguments("--batch_size", "4")
    documents = [encode_example(tokenizer, spec.to_prompt(), story) for spec, story in written[:4]]
    before = base_model.new_model(tokenizer, args)
    losses = []
    for one in documents:
        ids = torch.tensor([one.ids])
        with torch.no_grad():
            scores = before(input_ids=ids).logits[0, :-1].log_softmax(-1)
        losses += (-scores[torch.arange(len(one.ids) - 1), ids[0, 1:]])[one.boundary - 1 :].tolist()
    _, loss = base_model.train_model(documents, tokenizer, args, str(tmp_path))
    assert loss == pytest.approx(sum(losses) / len(losses), abs=1e-3)


def test_every_layer_that_the_recipe_adapts_is_there(tokenizer):
    """peft is content with one match of many names."""
    names = {name.rpartition(".")[2] for name, _ in base_model.new_model(tokenizer, arguments()).named_modules()}
    assert set(recipe("horror", "generation")["lora_target_modules"]) <= names
    assert set(recipe("horror", "base_model")["layers"]) == {"conv", "full_attention"}
