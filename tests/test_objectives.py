"""The table of what can be trained, and the example in CONTRIBUTING.md of how an objective is added."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from diversity_tuning import OBJECTIVES, console
from diversity_tuning.objectives import Objective, trainings
from diversity_tuning.trainers import preference
from diversity_tuning.training.command import training_command
from tests.training_runs import adapter, argv, history, losses, make_world

ROOT = Path(__file__).parents[1]


def test_importing_the_table_loads_no_torch():
    code = "import sys; from diversity_tuning import OBJECTIVES; print(*OBJECTIVES, 'torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert answer.stdout.split() == ["dpo", "ddpo", "orpo", "dorpo", "spl", "False"], answer.stderr


def test_entries_are_complete():
    assert {name: one.weighted_of for name, one in OBJECTIVES.items() if one.weighted_of} == {"ddpo": "dpo", "dorpo": "orpo"}
    for name, entry in OBJECTIVES.items():
        assert (entry.name, entry.label) == (name, name.upper())
        assert dataclasses.is_dataclass(entry.config)
        assert entry.config is entry.trainer._config_class
        assert entry.from_adapter == entry.trainer.has_reference
    for entry in trainings().values():
        assert callable(entry.train)
        assert entry.script is None or (ROOT / f"{entry.script.replace('.', '/')}.py").is_file()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objectives") / "a" / "run"  # next steps look one level up, where other tests write
    folder.mkdir(parents=True)
    return make_world(folder)


@pytest.fixture
def hinge(monkeypatch):
    """Run the two blocks of "Adding an objective" as if they stood where the document says."""
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Adding an objective")[1].split("\n## ")[0]
    trainer, entry = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert entry.startswith("# diversity_tuning/objectives.py")
    scope = {**vars(preference), "__name__": "diversity_tuning.trainers.hinge"}
    module = type(sys)("diversity_tuning.trainers.hinge")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(trainer, scope)
    vars(module).update(scope)
    monkeypatch.setitem(OBJECTIVES, "hinge", eval(entry, {"Objective": Objective}))


@pytest.mark.usefixtures("hinge")
def test_the_example_is_enough(world, capsys):
    flags = [*adapter(world), "--max_steps", "2", "--margin", "0.5"]
    assert training_command("hinge")(argv(world, world / "hinge", flags=flags)) == 0
    out = capsys.readouterr().out
    assert f"next: python -m scripts_eval.quick_look --adapter {world}/hinge --base_model {world}/base" in out
    assert losses(world / "hinge")[0] == pytest.approx(0.5), "the margin, where the policy starts"
    card = (world / "hinge" / "README.md").read_text()
    assert "DPO with a hinge (arXiv 2305.10425)." in card
    assert "- hinge\n" in card
    assert json.loads((world / "hinge" / "provenance.json").read_text())["arguments"]["margin"] == 0.5
    assert training_command("hinge")(argv(world, world / "hinge", flags=flags)) == 0
    assert "already made with these settings, skipped" in capsys.readouterr().out


@pytest.mark.usefixtures("hinge")
def test_an_added_objective_is_a_command(capsys):
    assert console.main([]) == 0
    assert "\n  hinge " in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        console.main(["hinge", "--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert text.startswith("usage: python -m diversity_tuning.training hinge ")
    assert "--margin MARGIN" in text


def test_training_by_name():
    def run(*words):
        command = [sys.executable, "-m", "diversity_tuning.training", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert "NAME: generation, reward, reward_pairs, grpo, dpo, ddpo, orpo, dorpo, spl" in run("--help").stdout
    wrong = run("dppo")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert wrong.stderr.startswith("error: no training 'dppo'; did you mean dpo?")


def test_spl_trains_and_is_dpo_where_its_strengths_are_one(world):
    both = ["--max_steps", "2", "--beta", "0.3", *adapter(world)]
    for name, flags in (("dpo", both), ("spl", [*both, "--alpha", "0.3"]), ("soft", [*both, "--alpha", "0.6"])):
        command = training_command("spl" if name == "soft" else name)
        assert command(argv(world, world / name, flags=flags)) == 0
    logged = {name: [row for row in history(world / name) if "loss" in row] for name in ("dpo", "spl", "soft")}
    for one, other in zip(logged["dpo"], logged["spl"], strict=True):
        same = {key for key in one if key.startswith(("loss", "logps", "rewards/margins", "rewards/acc", "entropy"))}
        assert {key: one[key] for key in same} == pytest.approx({key: other[key] for key in same}, rel=1e-5, abs=1e-6)
    assert logged["soft"][1]["loss"] != pytest.approx(logged["spl"][1]["loss"], rel=1e-3)


def test_what_spl_cannot_use_is_refused():
    from diversity_tuning import SPLConfig

    for wrong in ({"alpha": 0}, {"alpha": float("nan")}, {"beta": -1}, {"label_smoothing": 0.1}, {"loss_type": ["ipo"]}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SPLConfig(output_dir="x", use_cpu=True, **wrong)
    assert SPLConfig(output_dir="x", use_cpu=True).alpha == 0.1
