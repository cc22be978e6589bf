"""The README's snippets, run as they are written."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diversity_tuning import console
from diversity_tuning.trainers.pairs import PairTrainer
from tests.tiny import WORDS, save_base

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def snippets(language: str, containing: str) -> list[str]:
    return [code for code in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in code]


@pytest.fixture
def folder(tmp_path):
    """What the snippets name: ``my-model``, and ``pairs.jsonl`` with the README's line and others like it."""
    save_base(tmp_path / "my-model")
    (line,) = snippets("json", '"chosen"')
    row = json.loads(line)
    others = [{**row, "chosen": f"A {word} learned to fly.", "weight": number / 4} for number, word in enumerate(WORDS[1:10])]
    (tmp_path / "pairs.jsonl").write_text(line + "".join(json.dumps(row) + "\n" for row in others))
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_the_trainer_in_your_code(folder):
    (code,) = snippets("python", "DDPOTrainer(")
    answer = run([sys.executable, "-c", code], folder)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert (folder / "ddpo" / "model.safetensors").is_file()
    assert (folder / "ddpo" / "chat_template.jinja").is_file(), "what samples it finds the template"


def test_the_trainer_from_the_command_line(folder):
    (code,) = snippets("bash", "generation_ddpo_model_train --source pairs.jsonl")
    answer = run(["bash", "-euc", code], folder)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert (folder / "runs" / "my-ddpo" / "model.safetensors").is_file()
    assert "pin_memory" not in answer.stderr
    assert "FutureWarning" not in answer.stderr


def test_both_ways_train_on_the_same_tokens(folder, monkeypatch):
    """The snippet's first batch and the command's, token for token: prompt, template, padding, order and weights."""
    monkeypatch.chdir(folder)
    seen = []
    inner = PairTrainer.compute_loss

    def compute_loss(self, model, inputs, *args, **kwargs):
        seen.append({name: value.clone() for name, value in inputs.items()})
        return inner(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(PairTrainer, "compute_loss", compute_loss)
    (code,) = snippets("python", "DDPOTrainer(")
    exec(code, {})
    steps = len(seen)
    (line,) = snippets("bash", "diversity-tuning ddpo")
    words = shlex.split(line)
    assert console.main(words[1:]) == 0
    ours, command = seen[0], seen[steps]
    assert len(seen) == 2 * steps
    assert ours.keys() == command.keys()
    for name, value in ours.items():
        assert torch.equal(value, command[name]), name
    tokens = {"<|user|>": 3, "<|assistant|>": 4}
    assert all((ours["input_ids"] == number).any(1).all() for number in tokens.values()), "the chat template is applied"


def test_plain_texts_beside_a_template_are_said(folder, monkeypatch, caplog):
    from datasets import load_dataset

    from diversity_tuning import DDPOConfig, DDPOTrainer

    pairs = load_dataset("json", data_files=str(folder / "pairs.jsonl"), split="train", cache_dir=str(folder / "cache"))
    args = DDPOConfig(output_dir=str(folder / "out"), weight_column="weight", use_cpu=True, report_to="none")
    DDPOTrainer(model=str(folder / "my-model"), args=args, train_dataset=pairs)
    assert "trained without the chat template" in caplog.text
    assert "read_pairs" in caplog.text


def test_the_weights_of_a_prompt(tmp_path):
    (code,) = snippets("python", "response_weights(")
    answer = run([sys.executable, "-c", code + "\nprint(weights.round(3).tolist())"], tmp_path)
    assert answer.returncode == 0, answer.stderr[-3000:]
    weights = json.loads(answer.stdout.strip().splitlines()[-1])
    assert weights[2] == max(weights)
    assert abs(sum(weights) - 3) < 0.01


def test_length():
    assert len(README.split()) <= 1200
