"""The README's snippets, run as they are written."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import make_pairs, save_base

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def snippets(language: str, containing: str) -> list[str]:
    return [code for code in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in code]


@pytest.fixture
def folder(tmp_path):
    """What the snippets name: ``my-model`` and ``pairs.jsonl``."""
    save_base(tmp_path / "my-model")
    rows = [{**row, "weight": row.pop("deviation_chosen")} for row in make_pairs(6)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_the_trainer_in_your_code(folder):
    (code,) = snippets("python", "DDPOTrainer(")
    answer = run([sys.executable, "-c", code], folder)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert (folder / "ddpo").is_dir()


def test_the_trainer_from_the_command_line(folder):
    (code,) = snippets("bash", "generation_ddpo_model_train --source pairs.jsonl")
    answer = run(["bash", "-euc", code], folder)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert (folder / "runs" / "my-ddpo" / "model.safetensors").is_file()


def test_the_weights_of_a_prompt(tmp_path):
    (code,) = snippets("python", "response_weights(")
    answer = run([sys.executable, "-c", code + "\nprint(weights.round(3).tolist())"], tmp_path)
    assert answer.returncode == 0, answer.stderr[-3000:]
    weights = json.loads(answer.stdout.strip().splitlines()[-1])
    assert weights[2] == max(weights)
    assert abs(sum(weights) - 3) < 0.01


def test_length():
    assert len(README.split()) <= 1200
