"""The reader of recipes: numbers however they are written, and what a command was asked for."""

import shutil

import pytest

from diversity_tuning.errors import UserError
from diversity_tuning.recipe import explicit_settings, read_recipe, truth, typed
from studies.reproduce.__main__ import make_parser, plan
from studies.reproduce.commands import resolve
from tests.studies.test_reproduce import ROOT


@pytest.mark.parametrize("text", ["0.3", "3.0e-1", "3e-1", '"0.3"', "+.3", "0.30  # a comment", "'3e-1'"])
def test_a_number_however_it_is_written(tmp_path, text):
    (tmp_path / "dpo.yaml").write_text(f"beta: {text}\n")
    assert read_recipe(tmp_path / "dpo.yaml").number("beta") == 0.3


@pytest.mark.parametrize("text", ["fast", "[1]", "true", "{}"])
def test_a_number_that_is_none(tmp_path, text):
    (tmp_path / "dpo.yaml").write_text(f"beta: {text}\n")
    with pytest.raises(UserError, match=r"dpo\.yaml: beta: .* is not a number"):
        read_recipe(tmp_path / "dpo.yaml").number("beta")


def test_a_number_that_is_absent(tmp_path):
    (tmp_path / "dpo.yaml").write_text("beta:\n")
    assert read_recipe(tmp_path / "dpo.yaml").number("beta", 0.1) == read_recipe(tmp_path / "dpo.yaml").number("no", 0.1) == 0.1


@pytest.mark.parametrize(("text", "value"), [
    ("010", 10), ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), ("0x10", "0x10"), ("0o10", "0o10"), ("-7", -7), ("1.", 1.0),
    ("1e3", 1000.0), ("-.inf", -float("inf")),
])  # fmt: skip
def test_a_number_is_what_every_program_takes_it_for(tmp_path, text, value):
    (tmp_path / "dpo.yaml").write_text(f"seed: {text}\n")
    assert read_recipe(tmp_path / "dpo.yaml") == {"seed": value}


@pytest.mark.parametrize("text", ["seed: 1\nbeta: 2\nseed: 3\n", "a: {b: 1, b: 1}\n", "1: a\n1: b\n"])
def test_a_key_that_is_given_twice_is_refused(tmp_path, text):
    (tmp_path / "dpo.yaml").write_text(text)
    with pytest.raises(UserError, match=r"dpo\.yaml: not valid YAML \(the key .* is given twice"):
        read_recipe(tmp_path / "dpo.yaml")


def test_anchors_and_merges_stay(tmp_path):
    (tmp_path / "dpo.yaml").write_text("a: &one {x: 1, y: 2}\nb:\n  <<: *one\n  y: 3\n")
    assert read_recipe(tmp_path / "dpo.yaml")["b"] == {"x": 1, "y": 3}


def test_typed_and_truth():
    assert [typed(text) for text in ("0.20", "1e-6", "True", "null", "a b", "3", "[1")] == [
        0.2,
        1e-6,
        True,
        "null",
        "a b",
        3,
        "[1",
    ]
    assert [truth(text) for text in ("yes", "1", True, "No", "0", "often")] == [True, True, True, False, False, None]


def test_a_flag_and_a_recipe_that_say_the_same_are_the_same(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("beta: 2e-1\nbf16: true\nreward: [a, b]\nlr_scheduler_kwargs: {min_lr_rate: 0.5}\n")
    said = ["--beta", "0.20", "--bf16", "--reward", "a", "b", "--lr_scheduler_kwargs", '{"min_lr_rate": 0.5}']
    assert explicit_settings(["--config", str(recipe)]) == explicit_settings(said)


@pytest.fixture
def planned(tmp_path):
    """The commands of a plan of the miniature with one line of a recipe file replaced."""
    (tmp_path / "recipes").mkdir()
    shutil.copytree(ROOT / "recipes" / "miniature", tmp_path / "recipes" / "miniature")

    def make(file, old, new, *flags, monkeypatch):
        path = tmp_path / "recipes" / "miniature" / f"{file}.yaml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        monkeypatch.setattr("studies.reproduce.__main__.ROOT", tmp_path)
        parts = plan(make_parser().parse_args(list(flags)), {})
        rows = [row for part in parts for row in part.rows]
        stages = [stage for row in rows for lane in getattr(row, "lanes", [(row,)]) for stage in lane]
        return "\n".join(stage.command for stage in stages)

    return make


def test_a_recipe_with_another_objectives_file_gets_its_rows(planned, monkeypatch, tmp_path):
    before = planned("dpo", "beta: 0.3", "beta: 0.3", monkeypatch=monkeypatch)
    shutil.copy(ROOT / "recipes" / "miniature" / "dpo.yaml", tmp_path / "recipes" / "miniature" / "spl.yaml")
    text = planned("dpo", "beta: 0.3", "beta: 0.3", monkeypatch=monkeypatch)
    added = [line for line in text.splitlines() if line not in before.splitlines()]
    assert [line.split()[:4] for line in added] == [
        ["bash", "accelerate_configs/launch.sh", "diversity_tuning.training", "spl"],
        ["{sampler}", "{encoders}", "{split}", "--source"],
    ]


@pytest.mark.parametrize("beta", ["3.0e-1", '"0.3"'])
def test_the_sweep_of_beta_is_around_the_recipes(planned, monkeypatch, beta):
    text = planned("dpo", "beta: 0.3", f"beta: {beta}", "--controls", monkeypatch=monkeypatch)
    assert all(f"--beta {value} " in text for value in ("0.1", "0.15", "0.6", "1"))


def test_the_checkpoints_of_a_share(planned, monkeypatch):
    text = planned("dpo", "save_steps: 0.3334", "save_steps: 3.334e-1", "--full", monkeypatch=monkeypatch)
    assert "{run}/dpo/checkpoint@1" in text
    assert "{run}/dpo/checkpoint@2" in text


@pytest.mark.parametrize("name", ["out", "a[b] c"])
def test_the_runs_of_an_output_elsewhere(tmp_path, name):
    place = tmp_path / name / "eval"
    for run in ("dpo", "sft"):
        (place / run).mkdir(parents=True)
    (place / "notes.txt").touch()
    assert resolve([f"{place}/*/"], ROOT) == [f"{place}/dpo/", f"{place}/sft/"]
