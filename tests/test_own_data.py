"""docs/OWN_DATA.md as printed: the shell expands its commands, and one process runs them, on a tiny base model and few prompts.

What is added to the printed commands are the sizes in ``TINY``; every path, setting and flag is the document's.
"""

import importlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.test_launching import READS, stand_in
from tests.test_recipes import STEM, TRAINING, parse_command, parse_training
from tests.tiny import save_base
from tests.training_runs import ROOT

DOCUMENT = (ROOT / "docs" / "OWN_DATA.md").read_text(encoding="utf-8")
_ONE_COMMAND, _PREPARE, EXAMPLE, LAPTOP, GPUS, *COMMANDS = re.findall(r"```bash\n(.*?)```", DOCUMENT, re.DOTALL)
(SNIPPET,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)

_STEPS = "--max_steps 2 --per_device_train_batch_size 2 --max_length 640 --max_train_samples 4 --disable_tqdm true"
_SAMPLES = "--num_samples 2 --max_new_tokens 8"
TINY = {
    "studies.miniature.world": "--num_prompts 12",
    **{module: _STEPS for module, stem in STEM.items() if stem in TRAINING},
    "scripts_eval.generation_eval1_1": f"{_SAMPLES} --num_prompts 2",
    "scripts_eval.generation_eval2": "--num_prompts 2",
    "scripts_eval.quick_look": _SAMPLES,
    "scripts_eval.report": "--no-figure",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The repository's root with a ``runs`` of its own, in which the base model is tiny."""
    root = tmp_path_factory.mktemp("root")
    for path in ROOT.iterdir():
        if path.name not in ("runs", ".git", ".venv", ".pytest_cache"):
            (root / path.name).symlink_to(path)
    save_base(root / "runs" / "miniature" / "seed0" / "base")
    return root


def commands(root, bin_folder, *blocks):
    """(module, arguments) of every Python command that the blocks start, in order; nothing of it is run."""
    log = bin_folder / "log"
    for name in ("python", "accelerate"):
        stand_in(bin_folder, name, f'{READS}\nprintf "%s\\0" "$@" >> {log}; echo >> {log}')
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    shell = subprocess.run(
        ["bash", "-euc", "".join(blocks)], cwd=root, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (shell.returncode, shell.stderr) == (0, "")
    calls = [line.split("\0")[:-1] for line in log.read_text().splitlines()]
    places = [len(words) - 1 - words[::-1].index("-m") for words in calls]
    return [(words[place + 1], words[place + 2 :]) for words, place in zip(calls, places, strict=True)]


def test_the_path_on_a_laptop_as_printed(root, tmp_path, monkeypatch, capsys):
    asked = commands(root, tmp_path, EXAMPLE, LAPTOP, *COMMANDS)
    monkeypatch.chdir(root)
    for module, words in asked:
        code = importlib.import_module(module).main([*words, *TINY.get(module, "").split()])
        assert not code, (module, words)
    mine = root / "runs" / "mine"
    assert {path.name for path in (mine / "eval").iterdir()} == {"sft", "dpo", "ddpo", "gold"}
    report = (mine / "report" / "report.md").read_text(encoding="utf-8")
    assert "ddpo − dpo" in report
    assert (mine / "report" / "report.html").is_file()
    ddpo = json.loads((mine / "ddpo" / "provenance.json").read_text())
    assert {"source", "adapter", "model_name_or_path"} == ddpo["inputs"].keys()
    assert "dpo" in (mine / "look" / "quick_look.txt").read_text()
    assert (root / "runs" / "my-ddpo" / "model.safetensors").is_file()
    namespace = {}
    exec(SNIPPET, namespace)
    assert sum(namespace["weights"]) == pytest.approx(3)


def test_the_path_on_gpus_is_made_of_known_flags(root, tmp_path, monkeypatch):
    """With the 8B recipe, up to where the models would be loaded."""
    asked = commands(root, tmp_path, GPUS, *COMMANDS)
    trained = {}
    for module, words in asked:
        if STEM.get(module) in TRAINING:
            run, model, _ = parse_training(STEM[module], [*words, "--use_cpu", "true"])
            trained[Path(words[words.index("--output_dir") + 1]).name] = (run.adapter, model.model_name_or_path)
        else:
            parse_command(monkeypatch, module, words)
    assert trained == {
        "reward": (None, "google/gemma-2-2b"),
        "sft": (None, "meta-llama/Llama-3.1-8B"),
        "dpo": ("runs/mine/sft", "meta-llama/Llama-3.1-8B"),
        "ddpo": ("runs/mine/sft", "meta-llama/Llama-3.1-8B"),
        "my-ddpo": (None, "meta-llama/Llama-3.1-8B"),
    }
