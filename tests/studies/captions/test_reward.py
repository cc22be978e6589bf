"""The caption reward: fitted, weighed, saved and read back; its measures and the report of two made-up seeds."""

import csv
import json

import numpy as np
import pytest

from diversity_tuning.errors import UserError
from studies.captions import fit, measure, report, report_data, split
from studies.captions.caption_reward import SCORES, fit_reward, load_caption_reward, weigh_parts
from studies.captions.data import read_captions
from studies.captions.report_figure import title
from studies.captions.ridge import fit_ridges
from studies.captions.votes import standardised
from tests.studies.captions.conftest import Letters, captions


def flat(part):
    """Prompts, captions and standardised votes of every contest's captions with this remainder modulo 3."""
    prompts, texts, targets = [], [], []
    for contest in range(2):
        rows = captions(contest)
        values = standardised([votes for _, votes in rows])
        for i, (text, _) in enumerate(rows):
            if i % 10 in part:
                prompts.append(f"contest {contest}")
                texts.append(text)
                targets.append(values[i])
    return prompts, texts, np.array(targets)


@pytest.fixture(scope="module")
def reward():
    found = fit_reward(*flat(range(6)), Letters().encode)
    weigh_parts(found, *flat(range(6, 8)))
    return found


def test_ridges_by_hand():
    """One feature: w = Σxy / (Σx² + α). Shared: (2·1 + 1·(−1)) / (5 + 1) = 1/6; own: 2 / (4 + 1) and −1 / (1 + 1)."""
    features, targets = np.array([[2.0], [1.0]]), np.array([1.0, -1.0])
    ridges = fit_ridges(features, targets, np.array([0, 1]), alpha=1, own_alpha=1)
    assert ridges.shared == pytest.approx([1 / 6])
    assert ridges.own[:, 0] == pytest.approx([0.4, -0.5])
    found = ridges.scores(np.array([[3.0], [3.0], [3.0]]), np.array([0, 1, -1]))
    assert found == pytest.approx(np.array([[0.5, 1.2], [0.5, -1.5], [0.5, 0.0]]))


def test_what_each_contest_likes_is_learned(reward):
    prompts, texts, targets = flat(range(8, 10))
    scores = reward.score(prompts, texts)
    for contest in range(2):
        own = np.array([prompt == f"contest {contest}" for prompt in prompts])
        assert fit.spearman(scores[own], targets[own]) > 0.75
    swapped = reward.score([f"contest {1 - int(prompt[-1])}" for prompt in prompts], texts)
    assert fit.spearman(swapped, targets) < fit.spearman(scores, targets) - 0.5, "the prompt decides"


def test_parts_add_up_and_a_new_contest_has_only_what_is_shared(reward):
    prompts, texts, _ = flat([0])
    kinds = reward.by_kind(prompts, texts)
    assert kinds["reward"] == pytest.approx(kinds["ngrams"] + kinds["vectors"])
    assert kinds["reward"] == pytest.approx(reward.score(prompts, texts))
    parts = reward.parts(["never seen"], ["A dog."])
    assert list(parts[0, [1, 3]]) == [0, 0]
    assert (reward.weights >= 0).all()
    assert reward.weights.any()


def test_saved_without_pickles_and_read_back(reward, tmp_path):
    reward.save(tmp_path, semantic_model="builtin:minilm")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.npz", "caption_reward.json", "ngrams.json"]
    again = load_caption_reward(tmp_path, "builtin:minilm", Letters().encode)
    prompts, texts, _ = flat(range(8, 10))
    assert again.score(prompts, texts) == pytest.approx(reward.score(prompts, texts), abs=1e-6)
    assert list(json.loads((tmp_path / "caption_reward.json").read_text())["weights"]) == list(SCORES)
    with pytest.raises(UserError, match="fitted with the encoder builtin:minilm"):
        load_caption_reward(tmp_path, "another/encoder", Letters().encode)
    (tmp_path / "arrays.npz").unlink()
    with pytest.raises(UserError, match="no caption reward here"):
        load_caption_reward(tmp_path, "builtin:minilm", Letters().encode)


def test_a_reward_that_would_be_constant_is_refused():
    """One caption a contest: its standardised votes are 0, so no weight is above 0."""
    prompts, texts, _ = flat(range(6))
    found = fit_reward(prompts, texts, np.ones(len(texts)), Letters().encode)
    with pytest.raises(UserError, match="no part of the reward rises with the votes of the 2 validation captions"):
        weigh_parts(found, ["contest 0", "contest 1"], ["A dog.", "A cat."], np.zeros(2))


def test_a_constant_reward_ends_the_fit_unless_it_is_accepted(monkeypatch, tmp_path, capsys):
    """Held-out captions whose votes fall with every part: refused without a trace, or weighed alike and told."""
    from studies.captions import data

    prompts, texts, targets = flat(range(6))
    held_out = data.Captions(prompts, texts, -targets, -targets)
    parts = {"train": data.Captions(prompts, texts, targets, targets), "validation": held_out, "test": held_out}
    monkeypatch.setattr("studies.captions.data.read_captions", lambda folder, split: parts[split])
    monkeypatch.setattr("diversity_tuning.embeddings.load_encoder", lambda *args, **kwargs: Letters())
    words = ["--source", str(tmp_path), "--held_out", str(tmp_path), "--output", str(tmp_path / "reward")]
    with pytest.raises(SystemExit, match="2"):
        fit.main(words)
    assert "no part of the reward rises" in capsys.readouterr().err
    assert not (tmp_path / "reward").exists()
    assert fit.main([*words, "--accept_flat"]) == 0
    assert "all parts weighed alike: no part of the reward rises" in capsys.readouterr().out
    assert set(json.loads((tmp_path / "reward" / "caption_reward.json").read_text())["weights"].values()) == {1.0}


def test_people_of_another_split_are_missed():
    with pytest.raises(UserError, match=r"'A dog show\.': sampled for, but the split has no captions of it"):
        measure.drawn({"A cat show.\n": ["a", "b"]}, {"A dog show.\n": ["c"]}, 0)


@pytest.fixture
def seeds(source, tmp_path, letters):
    """Seed folders up to the measures of two models: one that copies, and one that says one thing; pairs with deviations."""
    from datasets import Dataset, DatasetDict

    folders = []
    for seed in (0, 1):
        folder = tmp_path / f"seed{seed}"
        half = ["--test", "0.3", "--validation", "0.1", "--half", "0.3"]
        split.main(["--source", str(source), "--output", str(folder / "data"), "--seed", str(seed), *half])
        for which, part in (("a", "scored"), ("b", "other")):
            words = ["--source", str(folder / "data" / part), "--held_out", str(folder / "data" / "scored")]
            assert fit.main([*words, "--output", str(folder / f"reward-{which}")]) == 0
        train = read_captions(str(folder / "data" / "scored"), "train")
        (folder / "data" / "filtered").mkdir()
        scored = {name: rows.rename_column("comment_texts", "filtered_comment_texts") for name, rows in _splits(folder).items()}
        DatasetDict(scored).save_to_disk(str(folder / "data" / "filtered"))
        for model, texts in (("sft", train.texts[:4]), ("dpo", ["A dog.", "a dog!", "A dog", "Ah, a dog."])):
            _write_samples(folder / "samples" / model, sorted(set(train.prompts), reverse=True), texts)
        pairs = [_pair(prompt, i) for prompt in sorted(set(train.prompts)) for i in range(3)]
        DatasetDict({"train": Dataset.from_list(pairs)}).save_to_disk(str(folder / "data" / "pairs-real"))
        folders.append(folder)
    return folders


def _splits(folder):
    from diversity_tuning.data.sources import open_saved

    return open_saved(folder / "data" / "scored")


def _pair(prompt, i):
    sides = {
        side: [{"role": "user", "content": prompt}, {"role": "assistant", "content": f"{side} {i}"}]
        for side in ("chosen", "rejected")
    }
    scores = {"score_chosen": 5 + i, "score_rejected": i}
    return sides | scores | {"deviation_chosen": 2.0 - i / 10, "deviation_rejected": 0.5 - i / 10}


def _write_samples(folder, prompts, texts):
    folder.mkdir(parents=True)
    rows = [
        {"prompt_id": i, "prompt": prompt, "sample": j, "response": text, "finished": True, "tokens": 3}
        for i, prompt in enumerate(prompts)
        for j, text in enumerate(texts)
    ]
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def measured(folder):
    words = [
        "--samples",
        *(str(folder / "samples" / model) for model in ("sft", "dpo")),
        "--source",
        str(folder / "data/filtered"),
    ]
    words += [
        "--reward_a",
        str(folder / "reward-a"),
        "--reward_b",
        str(folder / "reward-b"),
        "--output",
        str(folder / "measures"),
    ]
    assert measure.main(words) == 0
    with (folder / "measures" / "contests.csv").open(encoding="utf-8", newline="") as stream:
        return {(row["model"], row["contest"]): row for row in csv.DictReader(stream)}


def test_measures_and_report(seeds, tmp_path):
    rows = measured(seeds[0])
    assert [model for model, _ in rows] == ["people", "people", "sft", "sft", "dpo", "dpo"]
    said = rows["dpo", "A dog show.\n"]
    assert (said["captions"], said["distinct"], said["copies"], said["words"]) == ("4", "0.5", "0", "2.25")
    copied = rows["sft", "A dog show.\n"]
    assert (copied["copies"], copied["near_copies"], copied["distinct"]) == ("1", "1", "1")
    assert float(copied["semantic_diversity"]) > float(said["semantic_diversity"]) > 0
    assert rows["people", "A dog show.\n"]["copies"] == "0"
    text = (seeds[0] / "measures" / "examples.md").read_text(encoding="utf-8")
    assert '- "Ah, a dog."' in text
    assert "**people**" in text
    measured(seeds[1])

    output = tmp_path / "report"
    assert report.main(["--seeds", *map(str, seeds), "--output", str(output)]) == 0
    files = {path.name for path in output.iterdir()}
    assert files == {
        "captions.png",
        "contests.csv",
        "correlations.csv",
        "measures.csv",
        "differences.csv",
        "rewards.csv",
        "report.md",
        "provenance.json",
    }
    with (output / "contests.csv").open(encoding="utf-8", newline="") as stream:
        kept = list(csv.DictReader(stream))
    assert len(kept) == 2 * 3 * 2
    with (output / "measures.csv").open(encoding="utf-8", newline="") as stream:
        models = {row["model"]: row for row in csv.DictReader(stream)}
    mean = np.mean([float(row["reward_b"]) for row in kept if row["model"] == "dpo"])
    assert models["DPO"]["reward B"].startswith(f"{mean:.3f} [")
    with (output / "correlations.csv").open(encoding="utf-8", newline="") as stream:
        found = [row for row in csv.DictReader(stream) if (row["of"], row["part"]) == ("b", "reward")]
    mean = np.mean([float(row["spearman"]) for row in found])
    with (output / "rewards.csv").open(encoding="utf-8", newline="") as stream:
        told = [row["Spearman"] for row in csv.DictReader(stream) if (row["reward"], row["part"]) == ("B", "reward")]
    assert len(found) == 2 * 2
    assert told[0].startswith(f"{mean:.3f} [")
    page = (output / "report.md").read_text(encoding="utf-8")
    assert "[95% interval over contests and seeds]" in page
    with pytest.raises(UserError, match="a folder is there twice"):  # its intervals would be too narrow
        report_data.read_results([str(seeds[0]), f"{seeds[0]}/"])
    assert report.main(["--seeds", str(seeds[0]), "--output", str(tmp_path / "alone")]) == 0
    assert "over contests and seeds" not in (tmp_path / "alone" / "report.md").read_text(encoding="utf-8")
    assert "Deviation δ and votes, over the captions in the training pairs: +0.543" in page, (
        "by hand: Σd² = 16, ρ = 1 − 96 / 210"
    )
    assert "2 contests, 4 captions of each model and contest, 2 seeds" in page


def test_a_contest_without_a_correlation_has_none(tmp_path):
    """As `describe` counts: a caption in two pairs is one, and with equal deviations there is no correlation, nor 0."""
    from datasets import Dataset, DatasetDict

    pairs = [_pair("a dog\n", i) for i in (0, 1, 2, 2)]
    flat = [_pair("a cat\n", i) | {"deviation_chosen": 1.0, "deviation_rejected": 1.0} for i in range(3)]
    DatasetDict({"train": Dataset.from_list(pairs + flat)}).save_to_disk(str(tmp_path))
    found = report_data.deviation_and_votes(tmp_path, ["a cat\n", "no such contest", "a dog\n"])
    assert np.isnan(found[:2]).all()
    assert found[2] == pytest.approx(1 - 96 / 210)


def test_the_figure_names_no_contest():
    """--source may be any captions with votes."""
    two = report_data.Results(["seed0", "seed1"], contests=["a", "b", "c"])
    assert title(two) == "Captions with votes: 3 contests, 2 seeds, small dots; 95% intervals over contests and seeds"


def test_what_is_missing_is_named(tmp_path, capsys):
    for main, words in (
        (report.main, ["--seeds", str(tmp_path / "seed0"), "--output", str(tmp_path / "x")]),
        (
            measure.main,
            [
                "--samples",
                str(tmp_path / "none"),
                *"--source s --reward_a a --reward_b b --output".split(),
                str(tmp_path / "x"),
            ],
        ),
    ):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert not (tmp_path / "x").exists()
