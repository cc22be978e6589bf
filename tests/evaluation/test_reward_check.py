"""The reward model's check against hand-computed numbers."""

import json

import numpy as np
import pytest

from diversity_tuning.evaluation.scoring.reward_check import (
    FILES,
    agreement,
    calibration,
    calibration_error,
    check,
    own_prompt_share,
    pairwise_accuracy,
    summary,
)


def test_agreement_by_hand():
    result = agreement(np.array([0.0, 1.0, 2.0, 2.0]), np.array([0.0, 1.0, 2.0, 3.0]))
    assert result["mae"] == pytest.approx(0.25)
    assert result["r2"] == pytest.approx(1 - 1 / 5)
    assert result["slope"] == pytest.approx(0.7)
    assert result["spearman"] == pytest.approx(0.9487, abs=1e-4)


def test_pairwise_accuracy_counts_within_prompts_and_halves_ties():
    rewards = np.array([1.0, 2.0, 3.0, 5.0, 5.0])
    votes = np.array([1, 10, 4, 1, 9])
    prompts = np.array([0, 0, 0, 1, 1])
    # prompt 0: (1, 10) right, (1, 4) right, (10, 4) wrong; prompt 1: a tie of rewards
    assert pairwise_accuracy(rewards, votes, prompts, 1) == (pytest.approx(2.5 / 4), 4)
    # a gap of 6 leaves (1, 10), (10, 4) and the tie
    assert pairwise_accuracy(rewards, votes, prompts, 6) == (pytest.approx(1.5 / 3), 3)
    assert np.isnan(pairwise_accuracy(rewards, votes, prompts, 100)[0])


def test_check_writes_numbers_and_figures(tmp_path):
    rng = np.random.default_rng(0)
    targets = rng.uniform(-1, 1, 50)
    check(targets + 0.1, targets, rng.integers(1, 50, 50), np.repeat(np.arange(10), 5), tmp_path)
    written = ["calibration.png", "histogram.png", "reward_check.json", "scatter.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == written


def test_whether_it_reads_the_prompt_is_written_and_said(tmp_path):
    rng = np.random.default_rng(0)
    own = own_prompt_share(lambda asked, texts, _: [0.5] * len(texts), ["a", "b"], ["x", "y"])
    result = check(rng.uniform(size=12), rng.uniform(size=12), np.arange(12), np.repeat([0, 1], 6), tmp_path, own)
    assert json.loads((tmp_path / "reward_check.json").read_text())["own_prompt"]["wins"] == 0.5
    assert "their own prompt than for another: 50%" in summary(tmp_path, result)


def test_rewards_that_are_known_are_not_asked_for_again():
    asked = []

    def reward(prompts, texts, _):
        asked.append(list(prompts))
        return [float(len(prompt + text)) for prompt, text in zip(prompts, texts, strict=True)]

    prompts, texts = ["a", "bbb", "a"], ["x", "y", "z"]
    whole = own_prompt_share(reward, prompts, texts)
    again = own_prompt_share(reward, prompts, texts, known=reward(prompts, texts, []))
    assert again == whole
    assert [one == prompts for one in asked] == [True, False, True, False]


def test_calibration_by_hand():
    rewards, targets = np.array([4.0, 1.0, 3.0, 2.0]), np.array([9.0, 1.0, 7.0, 3.0])
    low, high = calibration(rewards, targets, bins=2)
    assert (low["reward"], low["target"], low["responses"]) == (1.5, 2.0, 2)
    assert (high["reward"], high["target"], high["responses"]) == (3.5, 8.0, 2)
    assert high["high"] - high["target"] == pytest.approx(1.96 * np.std([7, 9], ddof=1) / np.sqrt(2))
    assert calibration_error([low, high]) == pytest.approx((0.5 + 4.5) / 2)


def test_calibration_of_equal_rewards_and_of_a_calibrated_model(tmp_path):
    (one,) = calibration(np.ones(20), np.linspace(0, 1, 20))
    assert (one["reward"], one["responses"]) == (1.0, 20)
    rng = np.random.default_rng(0)
    rewards = rng.uniform(-1, 1, 4000)
    groups = calibration(rewards, rewards + rng.normal(0, 0.1, 4000))
    assert [one["responses"] for one in groups] == [400] * 10
    assert calibration_error(groups) < 0.01
    check(np.ones(5), np.arange(5) / 5, np.arange(5), np.zeros(5), tmp_path)  # a model that says the same of every text


def test_what_is_not_known_is_null(tmp_path):
    rng = np.random.default_rng(0)
    targets = rng.uniform(-1, 1, 12)  # calibration groups of one or two, and no pair 100 votes apart
    check(targets + rng.normal(0, 0.1, 12), targets, rng.integers(1, 50, 12), np.repeat(np.arange(4), 3), tmp_path)

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    content = json.loads((tmp_path / "reward_check.json").read_text(), parse_constant=refuse)
    assert content["pairwise_accuracy"]["100"] == {"accuracy": None, "pairs": 0}
    assert any(group["low"] is None for group in content["calibration"])


def checked(folder, count=40_000):
    rng = np.random.default_rng(0)
    targets = rng.uniform(-1, 1, count)
    return check(-targets, targets, rng.integers(1, 50, count), np.repeat(np.arange(count // 4), 4), folder)


def test_titles_are_as_wide_as_the_figure_at_most(tmp_path, monkeypatch):
    """With numbers as long as they get: negative ones, and ten thousands of responses."""
    from matplotlib.figure import Figure

    widths, save = [], Figure.savefig

    def measured(figure, path, **options):
        save(figure, path, **options)
        figure.canvas.draw()
        box = figure.axes[0].title.get_window_extent()
        widths.append((box.x0, box.x1, figure.bbox.width))

    monkeypatch.setattr(Figure, "savefig", measured)
    checked(tmp_path)
    assert len(widths) == 3
    for left, right, width in widths:
        assert left >= 0
        assert right <= width


def test_the_summary_for_a_terminal(tmp_path):
    lines = summary("out", checked(tmp_path, 400)).splitlines()
    assert lines[0].startswith("out: 400 responses: Spearman -1.000, Pearson -1.000, MAE ")
    assert "calibration error" in lines[0]
    assert [line.split(":")[0].split()[-3:] for line in lines[1:5]] == [[gap, "or", "more"] for gap in ("1", "5", "20", "100")]
    assert lines[1].endswith("% in order")
    assert lines[4].endswith("differ by 100 or more: 0, none")
    assert lines[5].split() == ["out/reward_check.json,", "out/scatter.png,", "out/calibration.png,", "out/histogram.png"]
    assert all((tmp_path / name).is_file() for name in FILES)
