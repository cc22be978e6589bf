"""Files as other projects write them: JSON arrays, JSON Lines named .json, ShareGPT's and Alpaca's rows."""

import json

import datasets
import pytest

from diversity_tuning.data.examples import preference_pairs, prompt_completions
from diversity_tuning.data.read import read_split
from diversity_tuning.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def read(tmp_path, content):
    path = tmp_path / "rows.json"
    path.write_text(content, encoding="utf-8")
    return read_split(str(path), "train"), str(path)


def says(role, text):
    return {"role": role, "content": text}


SHAREGPT = {
    "conversations": [{"from": "human", "value": "祝福"}],
    "chosen": {"from": "gpt", "value": "good"},
    "rejected": {"from": "gpt", "value": "bad"},
}


def test_an_array_of_sharegpt_pairs(tmp_path):
    rows, where = read(tmp_path, json.dumps([SHAREGPT], indent=4, ensure_ascii=False))
    (pair,) = preference_pairs(rows, where)
    assert pair["prompt"] == [says("user", "祝福")]
    assert (pair["chosen"], pair["rejected"]) == ([says("assistant", "good")], [says("assistant", "bad")])


def test_an_array_of_alpaca_rows(tmp_path):
    content = [{"instruction": "i", "input": "", "output": "o"}, {"instruction": "i", "input": "more", "output": "p"}]
    rows, where = read(tmp_path, json.dumps(content))
    one, two = prompt_completions(rows, where)
    assert (one["prompt"], one["completion"]) == ([says("user", "i")], [says("assistant", "o")])
    assert two["prompt"] == [says("user", "i\nmore")]


def test_sharegpt_conversations_for_sft(tmp_path):
    turns = [{"from": "system", "value": "s"}, {"from": "human", "value": "h"}, {"from": "gpt", "value": "g"}]
    rows, where = read(tmp_path, json.dumps([{"conversations": turns}]))
    (one,) = prompt_completions(rows, where)
    assert one["prompt"] == [says("system", "s"), says("user", "h")]
    assert one["completion"] == [says("assistant", "g")]


def test_lines_named_json(tmp_path):
    rows, _ = read(tmp_path, '\n{"query": "q", "response": "r", "label": 0}\n{"query": "q", "response": "s", "label": 1}\n')
    assert rows["label"][:] == [0, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "row 1: expected a JSON object, found a int"),
        ('[{"a": 1},', "not valid JSON"),
        ("", "no rows"),
        ("[]", "no rows"),
    ],
)
def test_what_is_no_table(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, content)


def test_an_unknown_speaker(tmp_path):
    row = {**SHAREGPT, "chosen": {"from": "tool", "value": "x"}}
    rows, where = read(tmp_path, json.dumps([row]))
    with pytest.raises(UserError, match="row 1, column 'chosen': a message from 'tool'"):
        preference_pairs(rows, where)
