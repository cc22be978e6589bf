"""Every entry point answers --help, from any folder, in one style; and refuses to be started by its path."""

import importlib
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENTRIES = sorted(
    path.relative_to(ROOT)
    for folder in ("accelerate_configs", "benchmarks", "diversity_tuning", *(path.name for path in ROOT.glob("scripts_*")))
    for path in (ROOT / folder).rglob("*.py")
    if path.name not in ("__main__.py", "console.py") and '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)
MODULES = [".".join(path.with_suffix("").parts) for path in ENTRIES]
SHELL = [*sorted(path.name for path in ROOT.glob("cm_*.sh")), "reproduce.sh", "run_tests.sh", "human-eval/run.sh"]


def test_the_entry_points_are_found():
    assert {"scripts_dpo.generation_ddpo_model_train", "diversity_tuning.policy", "benchmarks.training"} <= set(MODULES)
    assert {"scripts_eval.sample", "scripts_dataset_cleaner.0_data_prep_scoring"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_help(module, tmp_path, monkeypatch, capsys):
    """In this process: from the root and from an empty folder, without a process started or a file written."""
    main = importlib.import_module(module).main
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: pytest.fail("started a process"))
    texts = []
    for folder in (ROOT, tmp_path):
        monkeypatch.chdir(folder)
        with pytest.raises(SystemExit) as stopped:
            main(["--help"])
        out, err = capsys.readouterr()
        assert stopped.value.code == 0, err
        texts.append(out)
    assert texts[0] == texts[1]
    assert list(tmp_path.iterdir()) == []
    text = texts[0]
    assert text.startswith(f"usage: python -m {module} ")
    assert re.search(rf"^.*-m {re.escape(module)} [^\[]", text.split("\n\n", 1)[1], re.MULTILINE), "an example to copy"
    for nothing in ("(default: None)", "(default: False)", "(default: )", "(default: [])", "%("):
        assert nothing not in text


def help_of(module, capsys):
    with pytest.raises(SystemExit):
        importlib.import_module(module).main(["--help"])
    return re.sub(r"\s+", " ", capsys.readouterr().out)


def test_defaults_units_and_currency(capsys):
    text = help_of("scripts_eval.sample", capsys)
    assert "--num_samples NUM_SAMPLES responses per prompt (default: 4)" in text
    assert "--max_cost MAX_COST US dollars" in text
    assert "US dollars per million input tokens" in text
    assert "--timeout TIMEOUT seconds" in text
    text = help_of("scripts_dataset_cleaner.3_data_prep_for_diversified_training", capsys)
    assert "(default: semantic style)" in text
    text = help_of("scripts_dpo.generation_ddpo_model_train", capsys)
    assert "--weight_column WEIGHT_COLUMN Column with one weight per pair" in text, "each flag in one spelling"
    assert "(default: deviation_chosen)" in text
    assert "--weight_offset WEIGHT_OFFSET Added to the column." in text
    assert "give 1. (default: 0.0)" in text
    assert "Longest prompt + response in tokens" in text


def test_the_columns_of_a_table_of_texts(capsys):
    text = help_of("scripts_eval.score_texts", capsys)
    assert "columns prompt and response, prompt_id where prompts that are alike are to be told apart" in text


@pytest.mark.parametrize(
    ("module", "folder"), [("scripts_dpo.generation_ddpo_model_train", ROOT), ("scripts_eval.report", "an empty one")]
)
def test_help_in_a_process_of_its_own(module, folder, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module, "--help"]
    place = tmp_path if folder == "an empty one" else folder
    answer = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=120)
    assert (answer.returncode, answer.stdout.split(" ")[:4]) == (0, ["usage:", "python", "-m", module])


@pytest.mark.parametrize("script", SHELL)
def test_help_of_the_shell_scripts(script, tmp_path):
    """Nothing is launched, installed or tested; with the root and an empty folder as the place."""
    (tmp_path / "bin").mkdir()
    for name in ("accelerate", "pytest", "ruff", "potato", "pip"):
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\ntouch {tmp_path}/started\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "empty").mkdir()
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "HUMAN_EVAL_VENV": str(tmp_path / "venv")}
    for folder in (ROOT, tmp_path / "empty"):
        command = ["bash", str(ROOT / script), "--help"]
        answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
        assert (answer.returncode, answer.stderr) == (0, "")
        assert answer.stdout.startswith("usage: ")
        assert f"bash {script}" in answer.stdout or f"-m {'scripts_'}" in answer.stdout
    assert not (tmp_path / "started").exists()
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("path", ENTRIES, ids=str)
def test_started_by_its_path(path):
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / path), run_name="__main__")
    assert stopped.value.code == f"error: run it as python -m {'.'.join(path.with_suffix('').parts)}"
