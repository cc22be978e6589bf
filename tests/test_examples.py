"""The examples run as they stand, on tiny models."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForSequenceClassification

from diversity_tuning import embeddings
from tests.scripts_eval.conftest import row
from tests.scripts_eval.test_evaluation import _encoder
from tests.tiny import make_model, make_tokenizer, save_base

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def miniature(tmp_path):
    """A folder laid out like a seed of the miniature."""
    root = tmp_path / "seed0"
    save_base(root / "base")
    for name in ("dpo", "ddpo-both"):
        lora = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=name == "dpo")
        get_peft_model(make_model(make_tokenizer()), lora).save_pretrained(root / name)
    config = LlamaConfig.from_pretrained(root / "base", num_labels=1)
    LlamaForSequenceClassification(config).save_pretrained(root / "reward")
    make_tokenizer().save_pretrained(root / "reward")
    (root / "stylometry").mkdir()
    DatasetDict({"test": Dataset.from_list([row(i) for i in range(3)])}).save_to_disk(root / "data" / "filtered")
    return root


def test_two_adapters_are_compared(miniature, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(embeddings, "load_encoder", _encoder())
    output = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["compare_adapters.py", str(miniature), str(output)])
    runpy.run_path(str(EXAMPLES / "compare_adapters.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "semantic diversity: " in said
    assert "ddpo-both compared with dpo" in said
    means = [json.loads((output / name / "metrics.json").read_text())["means"] for name in ("dpo", "ddpo-both")]
    assert means[0]["words"] != means[1]["words"]  # two adapters, not one twice
    assert {"distinct_k", "compression_ratio"} <= set(means[0])
    assert (output / "report" / "reward_diversity.png").is_file()


def test_the_notebook_of_the_quickstarts(tmp_path, monkeypatch, capsys):
    """Its cells one after another, as a notebook runs them, with a tiny model."""
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    assert not any(cell.get("outputs") for cell in notebook["cells"]), "kept without outputs"
    save_base(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODEL", str(tmp_path / "model"))
    names = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert (tmp_path / "ddpo" / "model.safetensors").is_file()
    assert (tmp_path / "own" / "ddpo" / "model.safetensors").is_file()
    table = (tmp_path / "own" / "look" / "quick_look.txt").read_text()
    assert table in capsys.readouterr().out
