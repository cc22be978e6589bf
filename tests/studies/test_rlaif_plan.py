"""The plan of --rlaif: its order, its commands as their own parsers read them, what is refused, what it ends with."""

import csv
import re

import pytest

from diversity_tuning.errors import UserError
from studies.reproduce import ending
from studies.reproduce.__main__ import make_parser
from tests import test_recipes as recipes
from tests.studies.test_reproduce import lines_of, names, parts_of


def test_the_order():
    """Upstream stages without ORPO and the authors' stories, then GRPO; every policy that is trained is sampled."""
    planned = names(parts_of("--rlaif"))
    assert planned == [*dict.fromkeys(planned)], "no stage twice: they share a folder of logs"
    assert not [name for name in planned if "orpo" in name or "gold" in name]
    assert planned.index("train_reward") < planned.index("train_grpo") < planned.index("eval_grpo")
    trained = {name.removeprefix("train_") for name in planned if name.startswith("train_grpo")}
    assert trained == {"grpo", "grpo-advantage", "grpo-darling", "grpo-judge"}
    assert planned.index("labels") < planned.index("judge") < planned.index("train_grpo-judge")
    assert {f"eval_{name}" for name in trained} <= set(planned)
    assert planned[-1] == "report_rlaif"


def test_what_is_there_of_one_seed_is_skipped(capsys):
    """The stages that both plans have are the same commands, so that a run of the miniature is gone on from."""
    paper, mine = lines_of(capsys), lines_of(capsys, "--rlaif")
    shared = [name for name in paper if name in mine]
    assert len(shared) == 17
    assert [name for name in shared if paper[name] != mine[name]] == []


def test_every_command_is_known(tmp_path, monkeypatch):
    """Every flag is one of its command's, every training has what it needs."""
    seen = set()
    for module, argv, _ in recipes.dry_run(tmp_path, "--rlaif"):
        seen.add(module)
        if "--" in argv:  # a command beside the simulated LLM
            recipes.parse_command(monkeypatch, module, argv)
            inner = argv[argv.index("--") + 1 :]
            assert inner[:2] == ["python", "-m"]
            module, argv = inner[2], inner[3:]
            seen.add(module)
        if not recipes.is_training(module):
            recipes.parse_command(monkeypatch, module, argv)
            continue
        run, _, config = recipes.parse_training(recipes.STEM[module], argv)
        assert config.output_dir.startswith(str(tmp_path / "an out"))
        if recipes.STEM[module] == "grpo":
            assert run.reward
            assert run.adapter.endswith("/generation")
            assert (config.distinct_threshold is not None) == (config.deviation == "darling")
            assert config.deviation == "none" or "builtin:minilm" in config.encoders
    assert {"scripts_grpo.generation_grpo_model_train", "studies.miniature.rlaif.report"} <= seen
    assert {"scripts_adversarial.main", "studies.miniature.flawed_stories"} <= seen


def test_checkpoints_that_are_sampled_are_saved(capsys):
    """One place for each sampled checkpoint, none beyond those that the recipe's save_steps leaves."""
    settings = recipes.recipe("miniature", "grpo")
    every = -(-settings["max_steps"] * settings["save_steps"] // 1)
    places = [
        int(found)
        for line in lines_of(capsys, "--rlaif").values()
        for found in re.findall(r"/grpo[\w-]*/checkpoint.*-n (\d)p", line)
    ]
    assert every == 5
    assert sorted(set(places)) == [3, 4, 5]
    assert max(places) * every < settings["max_steps"]


def test_three_seeds_and_one_report():
    parts = parts_of("--rlaif", "--seeds", "0", "1", "2")
    assert {part.run.folder for part in parts} == {f"runs/miniature/seed{seed}" for seed in range(3)}
    (report,) = [part.report for part in parts if part.report]
    assert report.output == "runs/miniature/report-rlaif"
    assert len(report.seeds) == 3
    assert "runs/miniature/seed2/eval-rlaif/*/" in report.results


@pytest.mark.parametrize("flags", [["--recipe", "llama-3.1-8b"], ["--recipe", "horror"]])
def test_what_is_refused(flags):
    with pytest.raises(UserError, match="--rlaif"):
        parts_of("--rlaif", *flags)


def test_what_it_ends_with(tmp_path, capsys):
    report = tmp_path / "runs" / "miniature" / "report-rlaif"
    report.mkdir(parents=True)
    values = {f"{name}_{part}": "0.123456" for name in ending.RLAIF_COLUMNS for part in ("mean", "low", "high")}
    models = ("sft", "dpo (0.33)", "dpo (1)", "grpo (0.50)", "grpo (1)", "grpo-darling (1)")
    rows = [{"model": model, "seed": seed, **values} for model in models for seed in ("0", "1", "all")]
    with (report / "models.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    (report / "training.png").touch()
    flags = ["--rlaif", "--seeds", "0", "1", "2"]
    ending.print_ending(parts_of(*flags), tmp_path, make_parser().parse_args(flags))
    said = capsys.readouterr().out.splitlines()
    assert max(map(len, said)) <= 100
    assert [line.split("  ")[0] for line in said[2:6]] == ["SFT", "DPO", "GRPO", "GRPO, DARLING"]
    assert "2 seeds" in said[6]
    assert said[1].split() == ["reward", "craft", "semantic", "style"]
    assert "figure   runs/miniature/report-rlaif/training.png" in said
    assert any(line.split()[:2] == ["less", "docs/RLAIF.md"] for line in said)
    ending.print_ending(parts_of("--rlaif"), tmp_path, make_parser().parse_args(["--rlaif"]))
    assert "bash reproduce.sh --rlaif --seeds 0 1 2" in capsys.readouterr().out
