"""The rule for variants: shares of DPO's gain in craft and of DDPO's in plots and voices, by hand."""

import json

import pandas as pd
import pytest

from diversity_tuning.evaluation import registry
from scripts_eval import gain_kept

# Craft, plots, voices at two prompts of each of two seeds; seed 1 has prompts of its own.
RUNS = {
    ("sft", "1"): ([1, 2], [3, 3], [3, 3], [1, 1], [3, 3], [3, 3]),
    ("dpo", "1"): ([2, 3], [2, 2], [1, 2], [3, 3], [1, 3], [2, 2]),
    ("dpo", "0.33"): ([1, 2], [2, 2], [1, 2], [2, 2], [1, 3], [2, 2]),
    ("ddpo-both", "1"): ([2, 2], [3, 3], [3, 3], [2, 2], [3, 3], [3, 3]),
    # gains: craft .8 and 2 of 1 and 2; plots .8 and .8 of 1 and 1; voices 1.2 and .8 of 1.5 and 1
    ("floor", "0.1"): ([2, 2.6], [2.8, 2.8], [3, 2.4], [3, 3], [2.8, 2.8], [2.8, 2.8]),
    # craft .6 and 2: 2.6 of 3 is below .9
    ("floor", "0.2"): ([2, 2.2], [2.8, 2.8], [3, 2.4], [3, 3], [2.8, 2.8], [2.8, 2.8]),
}


def write_runs(root, runs=RUNS, drop=None):
    folders = []
    for (method, strength), columns in runs.items():
        for seed in (0, 1):
            folder = root / f"{method}-{strength}-{seed}"
            folder.mkdir()
            figures = dict(zip(("craft", *registry.LABELLED), columns[3 * seed : 3 * seed + 3], strict=True))
            rows = {"prompt_id": [0, 1], "prompt": [f"seed {seed}, prompt {i}" for i in (0, 1)], "responses": 4}
            rows |= {"reddit_reward": 0.5, "semantic_diversity": 0.5, "style_diversity": 0.5} | figures
            pd.DataFrame(rows).drop(columns=drop or []).to_csv(folder / "prompts.csv", index=False)
            content = {"name": method, "method": method, "strength": strength, "seed": seed, "counts": {"prompts": 2}}
            (folder / "metrics.json").write_text(json.dumps(content))
            folders.append(str(folder))
    return folders


def test_the_shares_by_hand(tmp_path, capsys):
    gain_kept.main(["--runs", *write_runs(tmp_path), "--output", str(tmp_path / "out")])
    rows = pd.read_csv(tmp_path / "out" / "gain_kept.csv", dtype={"seed": str})
    share = rows.set_index(["model", "seed", "metric"])["share"]
    craft, plots, voices = ("craft", *registry.LABELLED)
    assert share["floor (0.1)", "0", craft] == pytest.approx(0.8)
    assert share["floor (0.1)", "1", craft] == pytest.approx(1)
    assert share["floor (0.1)", "all", craft] == pytest.approx(2.8 / 3), "of the mean gains, not the mean of shares"
    assert share["floor (0.1)", "all", plots] == pytest.approx(0.8)
    assert share["floor (0.1)", "all", voices] == pytest.approx(2 / 2.5)
    assert share["floor (0.2)", "all", craft] == pytest.approx(2.6 / 3)
    assert [share["ddpo-both", "all", name] for name in (craft, plots, voices)] == pytest.approx([1.5 / 3, 1, 1])
    assert [share["dpo (1)", "all", name] for name in (craft, plots, voices)] == pytest.approx([1, 0, 0])
    assert share["sft", "all", craft] == 0
    own = rows[(rows["seed"] == "all")].set_index(["model", "metric"])
    assert own.loc[("floor (0.1)", craft), "value"] == pytest.approx((2.3 + 3) / 2)
    low, mean, high = own.loc[("floor (0.1)", craft), ["low", "share", "high"]]
    assert low <= mean <= high
    said = capsys.readouterr().out
    text = (tmp_path / "out" / "gain_kept.md").read_text()
    for model, meets in (("floor (0.1)", "yes"), ("floor (0.2)", "no"), ("ddpo-both", "no"), ("dpo (1)", "no"), ("sft", "no")):
        assert f"{model}: meets the rule: {meets}\n" in said
        line = next(line for line in text.splitlines() if line.startswith(f"| {model} | 2 |"))
        assert line.endswith(f"| {meets} |")
    assert "| 0.80 / 1.00 |" in text
    assert "nan" not in text


def test_one_seed_alone(tmp_path):
    """The command writes over its own table, and takes the figures of the seed there is."""
    folders = [folder for folder in write_runs(tmp_path) if folder.endswith("-0")]
    for _ in range(2):
        gain_kept.main(["--runs", *folders, "--output", str(tmp_path / "out")])
    text = (tmp_path / "out" / "gain_kept.md").read_text()
    assert next(line for line in text.splitlines() if line.startswith("| floor (0.1)")).endswith(" no |"), "craft .8 of 1"


def test_what_it_lacks(tmp_path, capsys):
    folders = write_runs(tmp_path, drop=["craft"])
    for runs, message in (
        (folders, "no column 'craft' in prompts.csv"),
        ([folder for folder in folders if "ddpo" not in folder], "--runs: no run called 'ddpo-both'"),
    ):
        with pytest.raises(SystemExit) as ended:
            gain_kept.main(["--runs", *runs, "--output", str(tmp_path / "out")])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
