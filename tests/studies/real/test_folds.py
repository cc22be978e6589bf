"""Held-out prompts: the plan of --folds, the measures of an answer, and the report of two made-up folds."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict

from studies.real import measure, report
from studies.reproduce.__main__ import main

SAMPLED = ("untouched", "sft", "sft-t1.1", "dpo", "dpo-t1.1", "ddpo", "ddpo-permuted")


def test_no_stage_of_the_policies_reads_the_other_half(capsys, tmp_path):
    source = tmp_path / "votes.jsonl"
    row = {"post_title": "A use for a brick?", "post_text": "", "comment_texts": ["a hat", "a door"], "comment_scores": [3, 1]}
    source.write_text(json.dumps(row) + "\n")
    flags = ["--recipe", "smollm2", "--source", str(source), "--folds", "--seeds", "3", "4", "--dry_run"]
    assert main(flags) == 0
    lines = capsys.readouterr().out.splitlines()
    pairs = [*zip((line[5:] for line in lines[1:-1:2]), lines[2:-1:2], strict=True)]
    first, stages = dict(reversed(pairs)), dict(pairs)  # of the first fold, of the last
    assert [name for name, line in stages.items() if "data/other" in line] == ["reward_b"]
    assert all("data/filtered" in first[f"sample_{name}"] for name in SAMPLED)
    assert "--permute prompt --permute_seed 3" in first["3_weights_permuted"]
    assert "data/pairs-permuted" in first["train_ddpo-permuted"]
    seconds = [name for name, line in pairs if "seed4/" in line]
    assert "train_ddpo" in seconds
    assert not [name for name in seconds if "permuted" in name]
    assert "smollm2-folds/seed3 runs/smollm2-folds/seed4" in stages["report"]
    assert main([*flags[:5], "--recipe", "miniature", "--source", "", "--dry_run"]) == 2


def test_fit_counts_the_prompts_that_are_farther():
    """Three prompts on axes: the first answer is nearest its own, the second farthest from its own."""
    axes = dict(zip(["a", "b", "c"], np.eye(3), strict=True))
    vectors = np.array([[0.8, 0.6, 0.0], [0.6, 0.0, 0.8]])
    found = measure.fits(vectors, ["a\n", "b\n"], lambda texts: np.array([axes[text] for text in texts]))
    assert list(found) == [1.0, 0.0]  # of two prompts that are asked for
    assert np.isnan(measure.fits(vectors, ["a", "a"], None)).all()


def test_faults_are_counted_and_missing_capitals_are_not():
    pytest.importorskip("harper")
    assert measure.lints(["make a rope for a boat", "unravelling intelligent lifef no houseLEGATO"]) == [0, 3]


def test_measures_of_a_prompt_by_hand():
    rows = [("sft", "p", "a b", 2, 1, 0), ("sft", "p", "a b", 2, 0, 0), ("sft", "p", "c", 1, 0, 1), ("sft", "q", "", 0, 0, 0)]
    answers = pd.DataFrame(rows, columns=["model", "prompt", "plain", "words", "lints", "kind"])
    for name in measure.MEASURES:
        if name not in answers and name not in measure.OF_ALL:
            answers[name] = [1.0, 2.0, 6.0, 0.0]
    first, second = measure.by_prompt(answers).to_dict("records")
    assert (first["answers"], first["distinct_k"], first["reward_a"]) == (3, 2, 3.0)
    assert first["distinct"] == pytest.approx(2 / 3)
    assert first["lints"] == pytest.approx(20.0)  # 1 fault in 5 words
    assert np.isnan(second["lints"])  # no word


class _Reward:
    def score(self, prompts, responses, batch_size=0):
        return np.array([float(len(text)) for text in responses])


def test_people_are_measured_like_a_model_and_no_text_is_kept(tmp_path, monkeypatch, capsys):
    """Two prompts, a model that says one thing and one that copies; texts are in the examples alone."""
    pytest.importorskip("harper")

    def encode(texts):
        counts = np.array([[text.count("a") + 0.1, text.count("o"), text.count("e")] for text in texts], dtype=float)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    monkeypatch.setattr("diversity_tuning.embeddings.load_encoder", lambda *args, **kwargs: SimpleNamespace(encode=encode))
    monkeypatch.setattr("diversity_tuning.reward_model.load_reward_model", lambda *args, **kwargs: _Reward())
    monkeypatch.setattr("studies.captions.caption_reward.load_caption_reward", lambda *args, **kwargs: _Reward())
    monkeypatch.setattr(
        "diversity_tuning.evaluation.scoring.fluency.log_probs", lambda texts, *args, **kwargs: -np.ones(len(texts))
    )
    rows = {"post_title": ["Bread?", "Coal?"], "post_text": ["", ""]}
    train = Dataset.from_dict({**rows, "filtered_comment_texts": [["a toad", "an eel"], ["a boat", "the sea"]]})
    test = Dataset.from_dict({**rows, "filtered_comment_texts": [["cats", "dogs", "hens"], ["toes", "oaks", "elms"]]})
    DatasetDict({"train": train, "test": test}).save_to_disk(str(tmp_path / "filtered"))
    for model, texts in {"sft": ("A toad!", "one eel"), "dpo": ("an oar", "An oar.")}.items():
        (tmp_path / model).mkdir()
        samples = [
            {"prompt_id": i, "prompt": prompt, "sample": j, "response": text, "finished": True, "tokens": 2}
            for i, prompt in enumerate(("Bread?\n", "Coal?\n")) for j, text in enumerate(texts)
        ]  # fmt: skip
        (tmp_path / model / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
    for name in ("reward_a", "reward_b"):
        (tmp_path / name).mkdir()
    output = tmp_path / "measures"
    words = [
        "--samples",
        str(tmp_path / "sft"),
        str(tmp_path / "dpo"),
        "--source",
        str(tmp_path / "filtered"),
        "--output",
        str(output),
    ]
    assert measure.main([*words, "--reward_a", str(tmp_path / "reward_a"), "--reward_b", str(tmp_path / "reward_b")]) == 0
    table = pd.read_csv(output / measure.PROMPTS).set_index(["model", "prompt"])
    assert list(dict.fromkeys(name for name, _ in table.index)) == ["people", "sft", "dpo"]
    assert table.loc[("dpo", "Coal?\n"), ["answers", "distinct", "distinct_k", "copies", "reward_b"]].tolist() == [
        2,
        0.5,
        1,
        0,
        6.5,
    ]
    assert table.loc[("sft", "Coal?\n"), "copies"] == 0.5  # of a training answer to any prompt
    assert (output / measure.EXAMPLES).read_text().count("an oar") == 2
    assert "oar" not in pd.read_csv(output / measure.ANSWERS).to_csv()
    (tmp_path / "dpo" / "samples.jsonl").write_text("")
    with pytest.raises(SystemExit, match="2"):
        measure.main(
            [*words, "--reward_a", str(tmp_path / "reward_a"), "--reward_b", str(tmp_path / "reward_b"), "--overwrite"]
        )
    assert "not as many answers to the same prompts" in capsys.readouterr().err


@pytest.fixture
def seeds(tmp_path):
    """Two folds of three and two prompts; DDPO is more various than a mixture of SFT and DPO by .1 at equal reward."""
    means = {"people": (0.0, 0.8), "sft": (0.0, 0.6), "dpo": (1.0, 0.4), "ddpo": (0.5, 0.6)}
    folders = []
    for fold, prompts in enumerate((["a", "b", "c"], ["d", "e"])):
        folder = tmp_path / "votes" / f"seed{fold}"
        rows = [
            {"model": model, "prompt": f"{prompt}\n", "answers": 4, **dict.fromkeys(measure.MEASURES, 0.5), "reward_b": reward,
             "semantic_diversity": variety}
            for model, (reward, variety) in means.items() for prompt in prompts
        ]  # fmt: skip
        (folder / "measures").mkdir(parents=True)
        pd.DataFrame(rows).to_csv(folder / "measures" / measure.PROMPTS, index=False)
        pd.DataFrame(rows).to_csv(folder / "measures" / measure.ANSWERS, index=False)
        (folder / "reward-b").mkdir()
        accuracy = {"by_contest": {"reward": {"a": 0.4, "b": 0.2}, "length": {"a": 0.1, "b": 0.1}}}
        (folder / "reward-b" / "accuracy.json").write_text(json.dumps(accuracy))
        folders.append(str(folder))
    return folders


def test_report_of_two_folds(seeds, tmp_path):
    assert report.main(["--seeds", *seeds, "--output", str(tmp_path / "report")]) == 0
    text = (tmp_path / "report" / "report.md").read_text()
    assert "5 prompts that were never trained on, in 2 folds; 4 answers" in text
    assert "unseen votes is 0.30 within a prompt (length alone 0.10)" in text
    assert "| DDPO | +0.100 [+0.100, +0.100] |" in text
    assert (tmp_path / "report" / "real.png").stat().st_size > 10_000
    values = pd.read_csv(tmp_path / "report" / "prompts.csv")
    assert (len(values), set(values["regime"]), set(values["prompt"])) == (20, {"votes"}, set("abcde"))


def test_folds_that_are_missing_or_given_twice_are_refused(seeds, tmp_path, capsys):
    def refused(*folders):
        with pytest.raises(SystemExit, match="2"):
            report.main(["--seeds", *folders, "--output", str(tmp_path / "report")])
        return capsys.readouterr().err

    assert "a folder is there twice" in refused(seeds[0], seeds[0])
    assert "not there; run the stages" in refused(f"{seeds[0]}x")
    assert not (tmp_path / "report").exists()


def test_a_control_of_one_fold_is_compared_there(seeds, tmp_path):
    path = tmp_path / "votes" / "seed1" / "measures" / measure.PROMPTS
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("ddpo")) + "\n")
    assert report.main(["--seeds", *seeds, "--output", str(tmp_path / "report")]) == 0
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| DDPO | 3 | 0.500" in text
    assert "| DPO | 5 |" in text
    assert "| DDPO | +0.100 [+0.100, +0.100] |" in text
