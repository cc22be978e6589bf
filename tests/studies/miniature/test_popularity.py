"""The report of --popularity: planted differences and correlations come back; its intervals come again from its own tables."""

import json

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict

from diversity_tuning.evaluation.statistics import mean_interval, paired_difference
from studies.miniature.popularity import tables
from studies.miniature.popularity.points import read_marks, read_points
from studies.miniature.popularity.report import main

PROMPTS = 12
# Popularity -> (share of prompts whose votes fall with deviation, DDPO - DPO in plots).
PLANTED = {0.0: (0.5, 0.0), 1.5: (1.0, 1.0)}


def write_pairs(folder, seed, share):
    """Three pairs a prompt whose votes fall with deviation in a share of the prompts (rho -1) and rise in the others (+1)."""
    rows = []
    for prompt in range(PROMPTS):
        falling = prompt < share * PROMPTS
        for pair in range(3):
            sides = [2 * pair, 2 * pair + 1]
            votes = [10 - one if falling else 10 + one for one in sides]
            sides, votes = (sides, votes) if votes[0] > votes[1] else (sides[::-1], votes[::-1])
            messages = [
                [{"role": "user", "content": f"{seed} {prompt}"}, {"role": "assistant", "content": f"story {one}"}]
                for one in sides
            ]
            rows.append({
                "chosen": messages[0], "rejected": messages[1], "score_chosen": votes[0], "score_rejected": votes[1],
                "deviation_chosen": float(sides[0]), "deviation_rejected": float(sides[1]),
            })  # fmt: skip
    DatasetDict(train=Dataset.from_list(rows)).save_to_disk(str(folder))


def write_seed(folder, seed, share, gain):
    write_pairs(folder / "data" / "pairs-both", seed, share)
    for method, plots, reward in (("sft", 3.0, 0.6), ("dpo", 2.0, 0.8), ("ddpo-both", 2.0 + gain, 0.75), ("gold", 3.1, 0.6)):
        there = folder / "eval" / method
        there.mkdir(parents=True)
        noise = np.random.default_rng([seed, len(method)]).normal(0, 0.1, PROMPTS)
        prompts = pd.DataFrame({
            "prompt_id": range(PROMPTS), "prompt": [f"a guard {seed} {number}" for number in range(PROMPTS)],
            "reddit_reward": reward + noise, "semantic_diversity": 0.4, "style_diversity": 0.8, "craft": 2 + noise,
            "distinct_direction": plots + noise, "distinct_voice": plots,
        })  # fmt: skip
        prompts.to_csv(there / "prompts.csv", index=False)
        labels = {"name": method, "method": method, "strength": "1", "seed": seed, "counts": {}}
        (there / "metrics.json").write_text(json.dumps(labels | {"means": {}}))
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Words of --points for two popularities with two seeds each, and a file of another data set's correlation."""
    root = tmp_path_factory.mktemp("sweep")
    words = [
        f"{value:g}={write_seed(root / f'seed{seed}' / f'{value:g}', seed, *planted)}"
        for seed in (0, 1)
        for value, planted in PLANTED.items()
    ]
    mark = root / "mark.json"
    mark.write_text(json.dumps({"all": {"mean": -0.1, "low": -0.2, "high": 0.0, "prompts": 7, "responses": 99}}))
    return words, mark


def test_planted_differences_and_correlations_come_back(sweep):
    points = read_points(sweep[0])
    assert [point.popularity for point in points] == [0.0, 1.5]
    assert [point.correlation()["mean"] for point in points] == pytest.approx([0, -1])
    assert points[0].correlation(seed=1)["low"] < -0.2, "over the prompts of one seed"
    rows = tables.overall(tables.differences(points))
    gains = rows[(rows["difference"] == tables.GAIN) & (rows["metric"] == "distinct_voice")]
    assert gains["mean"].tolist() == pytest.approx([0.0, 1.0])
    assert gains["seed"].tolist() == ["all", "all"]
    narrowing = rows[(rows["difference"] == tables.NARROWING) & (rows["metric"] == "distinct_voice")]
    assert narrowing["mean"].tolist() == pytest.approx([-1.0, -1.0])


def test_the_report(sweep, tmp_path):
    words, mark = sweep
    output = tmp_path / "report"
    main(["--points", *words, "--mark", f"contest={mark}", "--output", str(output)])
    assert {"popularity.png", "popularity.pdf", "popularity.csv", "prompts.csv", "correlations.csv", "report.html"} <= {
        path.name for path in output.iterdir()
    }
    text = (output / "report.md").read_text()
    assert "raised from 1 to 1.5 after" in text
    assert "| contest | -0.100 [-0.200, +0.000] | 7 | 99 |" in text
    assert "| 1.5 | -1.000 [-1.000, -1.000] |" in text
    assert "synthetic authors" in text
    for path in output.glob("*.csv"):
        assert "guard" not in path.read_text(), "prompts are numbers there"
    # The published values per prompt give the published intervals.
    rows = pd.read_csv(output / "popularity.csv").query("difference == @tables.GAIN and seed == 'all'")
    values = pd.read_csv(output / "prompts.csv").pivot(index=["popularity", "seed", "prompt_id"], columns="model")
    rho = pd.read_csv(output / "correlations.csv")
    for _, row in rows.iterrows():
        sides = [
            values[row["metric"]][name].loc[row["popularity"]].unstack().to_numpy() for name in ("ddpo-both", "dpo")
        ]  # (seeds, prompts)
        again = paired_difference(*sides, nested=True)
        assert [row[part] for part in ("mean", "low", "high")] == pytest.approx(
            [again[part] for part in ("mean", "low", "high")], abs=1e-5
        )
        own = rho[rho["popularity"] == row["popularity"]].pivot(index="seed", columns="prompt", values="rho").to_numpy()
        again = mean_interval(own, nested=True)
        assert [row[f"correlation_{part}"] for part in again] == pytest.approx(list(again.values()), abs=1e-5)


def test_one_seed_has_no_row_over_all(sweep, tmp_path):
    words = [word for word in sweep[0] if "seed0" in word]
    main(["--points", *words, "--output", str(tmp_path / "report")])
    rows = pd.read_csv(tmp_path / "report" / "popularity.csv")
    assert set(rows["seed"]) == {0}
    assert len(tables.overall(rows)) == len(rows)


def test_bad_words_are_one_line(sweep, tmp_path, capsys):
    words, _ = sweep
    other = words[0].partition("=")[2]
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    words_for_numbers, endless = tmp_path / "words.json", tmp_path / "endless.json"
    words_for_numbers.write_text('{"all": {"mean": "x", "low": 0, "high": 0, "prompts": 1, "responses": 1}}')
    endless.write_text('{"all": {"mean": NaN, "low": 0, "high": 0, "prompts": 1, "responses": 1}}')
    for flags, told in (
        (["--points", "high=runs"], "expected POPULARITY=FOLDER"),
        (["--points", f"0={tmp_path}"], "not a scored run"),
        (["--points", words[0], f"0={other}"], "twice"),
        (["--points", words[0], "--mark", "contest"], "expected NAME=FILE.json"),
        (["--points", words[0], "--mark", "contest=none.json"], "no such file"),
        (["--points", words[0], "--mark", f"contest={broken}"], "not written by describe"),
        (["--points", words[0], "--mark", f"contest={words_for_numbers}"], "not written by describe"),
        (["--points", words[0], "--mark", f"contest={endless}"], "not written by describe"),
        (["--points", words[0], "--mark", f"contest={tmp_path}"], "is a directory"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([*flags, "--output", str(tmp_path / "report")])
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert told in said
        assert not (tmp_path / "report").exists()


def test_marks_are_over_all_prompts(sweep):
    (mark,) = read_marks([f"contest={sweep[1]}"])
    assert (mark.name, mark.mean, mark.prompts) == ("contest", -0.1, 7)
