"""The results folder: what is published of a run, and the index that is written from it."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from diversity_tuning.evaluation.csvfiles import write_csv
from diversity_tuning.evaluation.diagnostics import KEY, by_module
from diversity_tuning.evaluation.report.runs import SAMPLES_TABLE, TABLE, read_study, read_table
from diversity_tuning.evaluation.scoring.summary import command_line
from diversity_tuning.outputs import files_in
from scripts_eval import leaderboard
from studies.miniature import recognise
from studies.results.publish import MARK, publish

COMMAND = "python -m scripts_eval.generation_eval1_1 --config recipes/miniature/eval1_1.yaml --seed 0"


def write_scored(folder, name, seed, reward, **more):
    folder.mkdir(parents=True)
    (folder / "scores.csv").write_text("response\nA story that is not to be published.\n")
    means = {
        "reddit_reward": {"mean": reward, "low": reward - 0.1, "high": reward + 0.1},
        "words": {"mean": 70, "low": 1, "high": 99},
    }
    content = {"name": name, "method": name, "strength": None, "seed": seed, "means": means, "counts": {"responses": 4}, **more}
    (folder / "metrics.json").write_text(json.dumps(content))
    (folder / "provenance.json").write_text("{}")
    return str(folder)


def test_published_and_listed(tmp_path):
    results = tmp_path / "results"
    (results).mkdir()
    (results / "README.md").write_text("# Results\n\nWritten by hand.\n")
    runs = [
        write_scored(tmp_path / "runs" / "dpo", "d|po", 0, 0.8, command=COMMAND),
        write_scored(tmp_path / "runs" / "gold", "gold", None, 0.3),
    ]
    for _ in range(2):  # publishing again replaces
        leaderboard.main([f"--results={results}", "--study=mini", "--runs", *runs])
    assert [path.name for path in (results / "mini").iterdir()] == ["provenance.json"], "no prompts.csv, so no table"
    record = next(record for record in read_study(results / "mini")["runs"] if record["run"] == "seed0-dpo")
    assert record["command"] == COMMAND
    assert record["means"]["reddit_reward"] == {"mean": 0.8, "low": 0.7, "high": 0.9}
    text = (results / "README.md").read_text()
    assert text.startswith("# Results\n\nWritten by hand.\n")
    assert text.count(MARK) == 1
    row = next(line for line in text.splitlines() if line.startswith("| d\\|po"))
    assert "| 0 | 0.800 [0.700, 0.900] | – | – | – | [miniature](../recipes/miniature) |" in row
    assert row.endswith("| [JSON](mini/provenance.json) |")
    assert "| gold | None |" not in text
    leaderboard.main([f"--results={results}"])
    assert (results / "README.md").read_text() == text


def test_labels_of_samples_are_published_without_texts(tmp_path):
    """Craft, plot, voice and reward of each sample; a run without diagnostics has no rows, one that was there stays."""
    registered = by_module(recognise).record()
    for seed, craft in ((0, 3), (1, 1)):
        run = tmp_path / f"seed{seed}" / "dpo"
        write_scored(run, "dpo", seed, 0.8, **{KEY: registered})
        rows = {"prompt_id": [0, 0], "prompt": ["A secret, it says.", "A secret, it says."], "response": ["NA", "Secret\rtoo."],
                "reddit_reward": [0.25, 0.5], "sample": [0, 1], "words": [1, 2], "craft": [craft, 0], "mixed": [0, 1],
                "direction": ["sea", None], "voice": ["plain", "ornate"]}  # fmt: skip
        write_csv(run / "scores.csv", pd.DataFrame(rows))
        publish([run], tmp_path / "mini")
    publish([Path(write_scored(tmp_path / "gold", "gold", 1, 0.3))], tmp_path / "mini")
    table = read_table(tmp_path / "mini", SAMPLES_TABLE)
    assert list(table) == [
        "run",
        "prompt_id",
        "prompt_digest",
        "sample",
        "reddit_reward",
        "direction",
        "voice",
        "craft",
        "mixed",
    ]
    assert table["run"].tolist() == ["seed0-dpo"] * 2 + ["seed1-dpo"] * 2
    assert table["craft"].tolist() == [3, 0, 1, 0]
    assert table["direction"].fillna("").tolist() == ["sea", "", "sea", ""]
    assert "ecret" not in gzip.decompress((tmp_path / "mini" / SAMPLES_TABLE).read_bytes()).decode()


def test_command_line_without_paths_of_a_machine_or_passwords(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [
        "/usr/bin/python3",
        "-m",
        "scripts_eval.score",
        f"--output={tmp_path}/runs/a b",
        "--base_url=http://me:secret@host/v1",
    ]
    assert command_line(words) == "python -m scripts_eval.score '--output=runs/a b' '--base_url=http://***@host/v1'"


def test_one_line_says_what_is_wrong(tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "metrics.json").write_text('{"means": 1}')
    for flags, message in (
        (["--study=x"], "go together"),
        (["--study=x", "--runs", str(tmp_path)], "not a scored run"),
        (["--study=x", "--runs", str(tmp_path / "runs")], "not written by scripts_eval"),
    ):
        with pytest.raises(SystemExit):
            leaderboard.main([f"--results={tmp_path / 'results'}", *flags])
        assert message in capsys.readouterr().err


def test_two_runs_that_would_take_one_place_are_named(tmp_path, capsys):
    runs = [write_scored(tmp_path / place / "Human", "Human", None, 0.3) for place in ("together", "apart")]
    with pytest.raises(SystemExit):
        leaderboard.main([f"--results={tmp_path / 'results'}", "--study=hanna", "--runs", *runs])
    assert f"{runs[1]} and {runs[0]}: the same folder name and seed" in capsys.readouterr().err
    assert not (tmp_path / "results" / "hanna").exists()


def test_nothing_is_written_outside_the_results(tmp_path, capsys):
    run = write_scored(tmp_path / "runs" / "dpo", "dpo", 0, 0.8)
    results = tmp_path / "results"
    (tmp_path / "elsewhere").mkdir()
    results.mkdir()
    (results / "link").symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    for study in ("../elsewhere", str(tmp_path / "elsewhere"), "link", "a/b", "..", "."):
        with pytest.raises(SystemExit):
            leaderboard.main([f"--results={results}", f"--study={study}", "--runs", run])
        assert "nothing is written outside it" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", [TABLE, "provenance.json"])
def test_a_folder_with_a_table_or_provenance_that_is_not_ours_is_left_as_it_is(tmp_path, capsys, name):
    run = write_scored(tmp_path / "runs" / "dpo", "dpo", 0, 0.8)
    mine = tmp_path / "results" / "mini" / name
    mine.parent.mkdir(parents=True)
    mine.write_text('{"stage": "mine"}')
    before = files_in(tmp_path)
    with pytest.raises(SystemExit):
        leaderboard.main([f"--results={tmp_path / 'results'}", "--study=mini", "--runs", run])
    assert f"{mine.parent}: not empty, and no study that scripts_eval.leaderboard wrote" in capsys.readouterr().err

    assert (files_in(tmp_path), mine.read_text()) == (before, '{"stage": "mine"}')


@pytest.mark.parametrize("part", ["..", "a/b", ".hidden"])
def test_a_part_is_one_folder_of_the_study(tmp_path, capsys, part):
    with pytest.raises(SystemExit):
        leaderboard.main([f"--results={tmp_path}", "--study=mini", f"--report={tmp_path}", f"--part={part}"])
    assert "nothing is written outside the study's" in capsys.readouterr().err
