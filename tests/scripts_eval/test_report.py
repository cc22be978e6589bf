"""The report of synthetic runs: tables, differences, fronts, figure; without torch."""

import shutil
import subprocess
import sys

import pandas as pd
import pytest

from diversity_tuning.evaluation.figures import method_styles
from diversity_tuning.evaluation.labels import place_labels
from diversity_tuning.evaluation.runsets import find_runs, group_runs, read_run
from scripts_eval import report
from tests.evaluation.synthetic import write_run, write_study

COMPARE = ["--compare", "ddpo-both:dpo", "dorpo-both:orpo", "ddpo-both (1.0):gold"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def output(study, tmp_path_factory):
    output = tmp_path_factory.mktemp("report") / "all"
    report.main([f"--results={study}", f"--output={output}", *COMPARE, "--anchor=sft"])
    return output


def test_every_seed_and_their_mean(output):
    table = pd.read_csv(output / "models.csv")
    rows = table[table["model"] == "dpo (1.0)"].set_index("seed")
    assert list(rows.index) == ["0", "1", "all"]
    assert rows["reddit_reward_mean"]["all"] == pytest.approx(rows["reddit_reward_mean"][["0", "1"]].mean())
    assert (table["reddit_reward_low"] < table["reddit_reward_mean"]).all()
    assert {"semantic_equal_length_mean", "distinct_voice_mean", "words_mean"} <= set(table.columns)


def test_paired_differences_by_strength_seed_and_pooled(output):
    table = pd.read_csv(output / "differences.csv")
    found = table[(table["difference"] == "ddpo-both (2.0) − dpo (2.0)") & (table["metric"] == "semantic_diversity")]
    assert list(found["seed"]) == ["0", "1", "all"]
    assert found["mean"].to_numpy() == pytest.approx([0.045] * 3, abs=0.015)
    assert (found["p"] < 0.001).all()
    gold = table[(table["difference"] == "ddpo-both (1.0) − gold") & (table["metric"] == "reddit_reward")]
    assert list(gold["seed"]) == ["0", "1", "all"]


def test_difference_at_equal_reward(output):
    table = pd.read_csv(output / "fronts.csv")
    found = table[(table["model"] == "ddpo-both (1.0)") & (table["metric"] == "semantic_diversity")]
    assert list(found["points"]) == [4, 4, 4]
    assert found["mean"].to_numpy() == pytest.approx([0.021] * 3, abs=0.015)
    assert (found["low"] > 0).all()


def test_outside_the_range_is_said(study, tmp_path):
    runs = [str(study / name) for name in ("dpo-0.5-0", "dpo-1.0-0")]
    write_run(tmp_path / "far", "ddpo-both", "1.0", 0, 3.0, 0.3)
    report.main(["--runs", *runs, str(tmp_path / "far"), f"--output={tmp_path / 'out'}", "--compare", "ddpo-both:dpo"])
    assert "outside the range" in (tmp_path / "out" / "report.md").read_text()


def test_markdown_and_figure(output):
    text = (output / "report.md").read_text()
    assert "| ddpo-both (0.5) | all |" in text
    for line in text.splitlines():
        assert not line.startswith("|") or line.endswith("|")
    assert (output / "reward_diversity.png").read_bytes().startswith(b"\x89PNG")
    assert (output / "reward_diversity.pdf").read_bytes().startswith(b"%PDF")


def test_labels_do_not_overlap():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 4.6))
    points = [(0.1 * i, 0.3 + 0.01 * (i % 3)) for i in range(8)]
    axis.plot(*zip(*points, strict=True), "o")
    axis.margins(0.2)
    figure.canvas.draw()
    notes = place_labels(axis, [(f"method-{i}", point, "black") for i, point in enumerate(points)])
    boxes = [note.get_window_extent() for note in notes]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    plt.close(figure)


def test_a_method_has_one_colour(study):
    models = group_runs([read_run(folder) for folder in find_runs(study)])
    styles = method_styles(models)
    assert len(set(styles.values())) == len(styles) == 6


def test_no_torch(study, tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "scripts_eval.report", "--runs", study / "gold"]
    done = subprocess.run([*command, "--output", tmp_path / "out"], capture_output=True, text=True, check=True)
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "transformers"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--compare", "dpo"], "give two models as one:other"),
        (["--compare", "dpo:nobody"], "no run called 'nobody'"),
        (["--anchor", "nobody", "--compare", "ddpo-both:dpo"], "no run called 'nobody'"),
    ],
)
def test_one_line_says_what_is_wrong(study, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit):
        report.main([f"--results={study}", f"--output={tmp_path / 'out'}", "--no-figure", *flags])
    assert message in capsys.readouterr().err


def test_no_runs_and_twins(study, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit):
        report.main([f"--results={tmp_path / 'empty'}", f"--output={tmp_path / 'out'}"])
    assert "no scored run below it" in capsys.readouterr().err
    shutil.copytree(study / "gold", tmp_path / "twin")
    with pytest.raises(SystemExit):
        report.main(["--runs", str(study / "gold"), str(tmp_path / "twin"), f"--output={tmp_path / 'out'}"])
    assert "leave one out" in capsys.readouterr().err


def test_seeds_with_data_of_their_own_are_pooled(tmp_path):
    """Three seeds, none of whose prompts another has: differences are paired within seeds and pooled over them."""
    folders = []
    for seed in (0, 1, 2):
        for method, diversity in (("gold", 0.36), ("dpo", 0.30), ("ddpo-both", 0.35)):
            folder = write_run(tmp_path / f"{method}-{seed}", method, "1", seed, 0.5, diversity)
            rows = pd.read_csv(folder / "prompts.csv")
            rows["prompt"] = f"seed {seed}, " + rows["prompt"]
            rows.sample(frac=1, random_state=seed).to_csv(folder / "prompts.csv", index=False)
            folders.append(str(folder))
    report.main(["--runs", *folders, "--output", str(tmp_path / "out"), "--compare", "ddpo-both:dpo", "--no-figure"])
    rows = pd.read_csv(tmp_path / "out" / "differences.csv").query("metric == 'semantic_diversity'").set_index("seed")
    assert list(rows.index) == ["0", "1", "2", "all"]
    assert rows.loc["all", "mean"] == pytest.approx(rows.loc[["0", "1", "2"], "mean"].mean())
    assert rows.loc["all", "low"] > 0.03
