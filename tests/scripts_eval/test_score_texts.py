"""Texts from elsewhere, through ``main``: a pool split by a column, no reward model, files that are wrong."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from scripts_eval import report, score_texts

ENCODERS = ["--semantic_model=x", "--style_model=y", "--distinct_threshold=0.2"]


def write_rows(path, rows):
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "wt") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def stories():
    texts = {"Human": ["abc", "xyz"], "A/7b": ["abd", "abx"], "B": ["abe", "aby"]}
    return [
        {"prompt_id": number, "prompt": f"prompt {number}", "response": texts[system][number], "system": system}
        for number in (0, 1)
        for system in texts
    ]


def test_split_runs_keep_the_diversities_of_the_pool(tmp_path):
    write_rows(tmp_path / "texts.jsonl.gz", stories())
    flags = [f"--texts={tmp_path / 'texts.jsonl.gz'}", *ENCODERS, "--device=cpu"]
    score_texts.main([*flags, f"--output={tmp_path / 'pool'}"])
    score_texts.main([*flags, f"--output={tmp_path / 'split'}", "--split_by=system"])
    pool = pd.read_csv(tmp_path / "pool" / "scores.csv").set_index("response")["semantic_diversity"]
    assert sorted(path.name for path in (tmp_path / "split").iterdir()) == ["A-7b", "B", "Human"]
    for folder in (tmp_path / "split").iterdir():
        one = pd.read_csv(folder / "scores.csv").set_index("response")["semantic_diversity"]
        assert one.to_numpy() == pytest.approx(pool[one.index].to_numpy())
    content = json.loads((tmp_path / "split" / "A-7b" / "metrics.json").read_text())
    assert (content["name"], content["counts"]["responses"]) == ("A/7b", 2)
    assert content["means"]["reddit_reward"]["mean"] is None
    assert "good" not in content["means"]
    assert content["distinct_k"]["threshold"] == 0.2
    prompts = pd.read_csv(tmp_path / "pool" / "prompts.csv")
    assert list(prompts["distinct_k"]) == [1, 2]  # all within one letter of each other; two of three
    folders = [str(tmp_path / "split" / name) for name in ("Human", "A-7b")]
    report.main(["--runs", *folders, "--compare", "Human:A/7b", "--output", str(tmp_path / "report")])
    assert not (tmp_path / "report" / "reward_diversity.png").exists()  # no reward, no figure of it
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| Human − A/7b | – |" in text
    assert "| reward |" not in text


def test_prompts_without_ids_are_numbered_and_nothing_is_nan(tmp_path, capsys):
    rows = [{"prompt": prompt, "response": f"{prompt} {n}"} for prompt in ("b", "a", "b") for n in range(2)]
    pd.DataFrame(rows).to_csv(tmp_path / "texts.csv", index=False)
    write_rows(tmp_path / "texts.jsonl", rows)
    for name in ("texts.csv", "texts.jsonl"):
        score_texts.main([f"--texts={tmp_path / name}", *ENCODERS, "--device=cpu", f"--output={tmp_path / name[-4:]}"])
        said = capsys.readouterr().out
        assert "6 responses: semantic_diversity" in said
        assert "nan" not in said
        scores = pd.read_csv(tmp_path / name[-4:] / "scores.csv")
        assert list(scores["prompt_id"]) == [1, 1, 2, 2, 1, 1]
        assert list(scores["sample"]) == [0, 1, 0, 1, 2, 3]


@pytest.mark.parametrize("name", ["texts.csv", "texts.jsonl"])
def test_another_encoding(tmp_path, capsys, name):
    text = "prompt,response\na,café\n" if name.endswith("csv") else '{"prompt": "a", "response": "café"}\n'
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(SystemExit):
        score_texts.main([f"--texts={tmp_path / name}", *ENCODERS, f"--output={tmp_path / 'out'}"])
    assert "save it as UTF-8" in capsys.readouterr().err


def test_with_a_reward_model_good_samples_are_told_apart(world, tmp_path):
    rows = pd.DataFrame(stories())
    rows.to_csv(tmp_path / "texts.csv", index=False)
    flags = [f"--texts={tmp_path / 'texts.csv'}", *ENCODERS, "--device=cpu", f"--reward_model={world / 'reward'}"]
    score_texts.main([*flags, f"--output={tmp_path / 'all'}", "--quality_threshold=-100"])
    score_texts.main([*flags, f"--output={tmp_path / 'none'}", "--quality_threshold=100"])
    every, none = (pd.read_csv(tmp_path / name / "prompts.csv") for name in ("all", "none"))
    assert every["semantic_diversity_good"].to_numpy() == pytest.approx(every["semantic_diversity"].to_numpy())
    assert list(every["distinct_k_good"]) == list(every["distinct_k"])
    assert np.isnan(none["semantic_diversity_good"]).all()
    assert list(none["distinct_k_good"]) == [0, 0]
    assert list(none["good"]) == [0, 0]


@pytest.mark.parametrize(
    ("line", "flags", "message"),
    [
        ('{"prompt_id": 0, "prompt": "p"}', [], "row 1: 'response' is missing or not a text"),
        ('{"prompt_id": 0, "prompt": "p", "response": null}', [], "row 1: 'response' is missing or not a text"),
        ('{"prompt_id": 0, "prompt"', [], "row 1: not a JSON object"),
        ("[1, 2]", [], "row 1: not a JSON object"),
        ("", [], "no row"),
        ('{"prompt_id": 0, "prompt": "p", "response": "r"}', ["--split_by=author"], "no column 'author' to split by"),
        ('{"prompt_id": null, "prompt": "p", "response": "r"}', [], "row 1: no value in column 'prompt_id'"),
        (
            '{"prompt_id": 0, "prompt": "p", "response": "r", "by": "A"}\n{"prompt_id": 0, "prompt": "p", "response": "s"}',
            ["--split_by=by"],
            "row 2: no value in column 'by'",
        ),
    ],
)
def test_one_line_says_what_is_wrong(tmp_path, capsys, line, flags, message):
    (tmp_path / "texts.jsonl").write_text(line)
    with pytest.raises(SystemExit) as exit_code:
        score_texts.main([f"--texts={tmp_path / 'texts.jsonl'}", *ENCODERS, f"--output={tmp_path / 'out'}", *flags])
    assert exit_code.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
