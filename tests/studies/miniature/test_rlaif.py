"""The report of --rlaif: its measures by hand, its curves at equal quality against a planted difference, its files."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diversity_tuning.evaluation.csvfiles import write_csv
from diversity_tuning.evaluation.report.runs import group_runs, read_run, read_runs
from diversity_tuning.evaluation.scoring.reward_check import own_prompt_share
from studies.miniature.rlaif import figures, tables
from studies.miniature.rlaif.measures import MEASURES, add_measures, own_vs_other, parts_named, words_of
from studies.miniature.rlaif.own_prompt import main as own_prompt
from studies.miniature.rlaif.report import main
from studies.miniature.specification import draw_specifications

OF_SEED = {  # every seed makes its own data
    seed: ["\n".join(one.to_post()) for one in draw_specifications(np.random.default_rng(seed), 12)] for seed in (0, 1)
}
PROMPTS = OF_SEED[0]
MARA = (
    "A\nSetting: the salt market. Hero: Mara, a diver. With: Joss. Object: a brass key. Taboo: never whistle after dusk."
    " Twist: the guard is a ghost."
)
NAMES_ALL = "Mara and Joss met in the salt market. She had a brass key. She did not whistle. The guard was a ghost!"


def make_run(folder, method, strength, seed, reward, semantic, responses=None):
    """A scored run whose quality and diversity are constants plus a little that differs by prompt."""
    shift = np.linspace(-0.01, 0.01, len(PROMPTS))
    texts = responses or [f"Story {place} is long {method}" for place in range(2 * len(PROMPTS))]
    prompts = pd.DataFrame({
        "prompt": OF_SEED[seed], "reddit_reward": reward + shift, "semantic_diversity": semantic + shift,
        "style_diversity": semantic, "craft": 4 * reward + shift, "distinct_direction": 2 * semantic,
        "distinct_voice": 2 * semantic, "distinct_k": 2.0,
    })  # fmt: skip
    scores = pd.DataFrame({"prompt": np.repeat(OF_SEED[seed], 2), "response": texts, "finished": [1, 0] * len(PROMPTS)})
    scores["sample"] = [0, 1] * len(PROMPTS)
    scores[["reddit_reward", "semantic_diversity", "style_diversity"]] = reward
    folder.mkdir(parents=True)
    write_csv(folder / "prompts.csv", prompts)
    write_csv(folder / "scores.csv", scores)
    labels = {"name": method, "method": method, "strength": strength, "seed": seed, "counts": {"responses": len(texts)}}
    (folder / "metrics.json").write_text(json.dumps(labels | {"means": {}}))
    return folder


def test_parts_named():
    assert parts_named(MARA, words_of(NAMES_ALL)) == 1.0
    assert parts_named(MARA, words_of("Mara, in the salt of the market, found a key.")) == pytest.approx(2 / 6)
    assert np.isnan(parts_named("another prompt", {"mara"}))


def test_own_vs_other():
    """A text of its own prompt's parts wins against every other prompt; one of no prompt's parts ties; another's loses."""
    other = (
        MARA.replace("Mara", "Vera")
        .replace("Joss", "Finn")
        .replace("salt market", "bell tower")
        .replace("brass key", "wax seal")
    )
    swapped = NAMES_ALL.replace("Mara", "Vera").replace("Joss", "Finn")
    swapped = swapped.replace("salt market", "bell tower").replace("brass key", "wax seal")
    values = own_vs_other([MARA, other, MARA, MARA], [NAMES_ALL, "Nothing of it.", swapped, NAMES_ALL])
    assert values.tolist() == [1.0, 0.5, 0.0, 1.0]
    assert np.isnan(own_vs_other([MARA], [NAMES_ALL])).all()


def test_measures_of_a_run(tmp_path):
    texts = ["One two three four"] * (2 * len(PROMPTS))
    texts[1] = "Another one begins"
    run = read_run(make_run(tmp_path / "run", "grpo", "1", 0, 0.7, 0.4, texts))
    add_measures(run)
    assert set(MEASURES) <= set(run.prompts.columns)
    first, second = run.prompts.iloc[0], run.prompts.iloc[1]
    assert (first["truncated"], first["openings"], first["characters"]) == (0.5, 1.0, 18.0)
    assert second["openings"] == 0.5


def reads(prompts, completions, finished):
    """1 where prompt and completion begin with the same letter; no reward for what says fail."""
    rows = zip(prompts, completions, strict=True)
    return [None if "fail" in text else float(prompt[:1] == text[:1]) for prompt, text in rows]


def test_whether_a_reward_reads_the_prompt():
    prompts, texts = ["a", "b", "c", "a"], ["a story", "b story", "x story", "fail"]
    found = own_prompt_share(reads, prompts, texts)
    assert found == pytest.approx({"own": 2 / 3, "other": 0.0, "wins": 2.5 / 3, "untied": 2 / 3, "wins_untied": 1.0})
    length = own_prompt_share(lambda prompts, texts, finished: [float(len(text)) for text in texts], prompts, texts)
    assert (length["wins"], length["untied"]) == (0.5, 0.0)
    assert np.isnan(own_prompt_share(reads, ["a"], ["a"])["wins"])


@pytest.fixture
def study(tmp_path):
    """Two seeds; SFT, two checkpoints of plain GRPO on a line, a method .1 more varied than that line, one beyond its range."""
    folders = []
    for seed in (0, 1):
        for method, strength, reward, semantic in (
            ("sft", "1", 0.6, 0.5), ("grpo", "0.50", 0.7, 0.4), ("grpo", "1", 0.8, 0.3),
            ("grpo-advantage", "1", 0.75, 0.45), ("grpo-darling", "1", 0.9, 0.4),
        ):  # fmt: skip
            folder = tmp_path / f"seed{seed}" / "eval" / f"{method}-{strength}"
            folders.append(str(make_run(folder, method, strength, seed, reward, semantic)))
        trained = tmp_path / f"seed{seed}" / "grpo"
        trained.mkdir()
        logged = [
            {"step": step, "finished/reward": 0.6 + step / 100, "truncated/share": 0.25 * (step == 3)} for step in range(1, 21)
        ]
        lines = [*logged, {"step": 20, "train_runtime": 40.0}]
        for folder in (trained, trained.with_name("grpo-dra-2")):  # the latter of another plan: no run of it is reported
            folder.mkdir(exist_ok=True)
            (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folders


def test_equal_quality_finds_a_planted_difference(study):
    runs = [read_run(folder) for folder in study]
    models = group_runs(runs)
    rows = tables.equal_quality(models, ["grpo-advantage:grpo", "grpo-darling:grpo"])
    pooled = rows[(rows["seed"] == "all") & (rows["diversity"] == "semantic")].set_index(["model", "quality"])
    for quality in ("reward", "craft"):
        found = pooled.loc[("grpo-advantage", quality)]
        assert found["mean"] == pytest.approx(0.1, abs=1e-6)
        assert found["low"] <= found["mean"] <= found["high"]
        assert np.isnan(pooled.loc[("grpo-darling", quality), "mean"]), "more reward than the curve has"
    assert set(pooled["points"]) == {3}, "two checkpoints and SFT"


def test_checkpoints_that_are_worse_in_both_do_not_lower_the_hull(study, tmp_path):
    """A last checkpoint that has lost craft and diversity, as one that has learned to please the reward model, helps nobody."""
    kept = [folder for folder in study if "darling" not in folder]
    before = tables.equal_quality(group_runs([read_run(folder) for folder in kept]), ["grpo-advantage:grpo"])
    hacked = [make_run(tmp_path / f"hacked{seed}", "grpo", "2", seed, 0.68, 0.1) for seed in (0, 1)]
    after = tables.equal_quality(group_runs([read_run(folder) for folder in (*kept, *hacked)]), ["grpo-advantage:grpo"])
    assert after["mean"].tolist() == pytest.approx(before["mean"].tolist())
    assert (set(before["points"]), set(after["points"])) == ({3}, {4})


def test_report(study, tmp_path, monkeypatch):
    output, titles, saved = tmp_path / "report", [], figures.save_figure
    monkeypatch.setattr(figures, "save_figure", lambda figure, *to: titles.append(figure.get_suptitle()) or saved(figure, *to))
    seeds = [str(tmp_path / f"seed{seed}") for seed in (0, 1)]
    words = ["--run", study[0], "--output", str(tmp_path / "seed0" / "own-prompt.json")]
    assert own_prompt([*words, "--reward", "builtin:length", f"{__name__}:reads"]) == 0
    compare = ["grpo-advantage:grpo", "grpo-darling:grpo", "grpo-judge:grpo"]  # no judge was run: left out
    assert main(["--runs", *study, "--seeds", *seeds, "--compare", *compare, "--output", str(output)]) in (0, None)
    text = (output / "report.md").read_text()
    advantage = next(line for line in text.splitlines() if line.startswith("| grpo-advantage | 0.750 ["))
    assert "| 3.000 [" in advantage
    assert "grpo-judge" not in text
    assert "| grpo-advantage | grpo (3 points) | reward | 0.750 | +0.100 [" in text
    assert "| grpo-darling | grpo (" not in text, "outside the curve's range: in equal.csv alone"
    assert "grpo-darling" in (output / "equal.csv").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| grpo | 2 | 20 | 0.655 → 0.755 |"))
    assert row.endswith("| 0.250 | 2.0 |")
    assert set(pd.read_csv(output / "curves.csv")["policy"]) == {"grpo"}
    assert "| builtin:length | 1 | 19.583 | 19.583 | 0.500 | 0.000 | – |" in text
    values = pd.read_csv(output / "prompts.csv")
    assert len(values) == 10 * len(PROMPTS)
    assert values.select_dtypes("object").columns.tolist() == ["run", "policy"], "no texts"
    assert {path.name for path in output.glob("*.png")} == {"reward_diversity.png", "training.png"}
    assert (output / "report.html").read_text().count("data:image/png;base64,") == 2
    assert titles == ["synthetic data, 2 seeds"] * 2


def test_the_published_means_come_again_from_the_published_values():
    """results/miniature-rlaif: every policy and seed, hacking and relevance too."""
    study = Path(__file__).parents[3] / "results" / "miniature-rlaif"
    means = pd.read_csv(study / "models.csv", dtype={"seed": str}).set_index(["model", "seed"])
    models = group_runs(read_runs(study))
    assert sum(len(model.runs) for model in models) == 36
    for column in tables.SHOWN:
        for model, run in ((one, run) for one in models for run in one.runs):
            place, value = (model.label, str(run.seed)), run.prompts[column].mean()
            assert value == pytest.approx(means.loc[place, f"{column}_mean"], rel=1e-5, abs=2e-6), (place, column)
