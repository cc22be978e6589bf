"""What people said, from files; and the parts of it that are kept."""

import json

import datasets
import numpy as np
import pytest

from diversity_tuning.errors import UserError
from diversity_tuning.judging.read import read_labels, read_labels_or_pairs, read_pairs

LABELS = [
    {"query": "p", "response": "good", "label": 1},
    {"query": "p", "response": "bad", "label": 0},
    {"query": "q", "response": "fine", "label": 1},
    {"query": "p", "response": "worse", "label": 0},
]
PAIRS = [{"prompt": "p", "chosen": "a", "rejected": "b"}, {"prompt": "q", "chosen": "c", "rejected": "b"}]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write(tmp_path, rows, name="rows.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_labels_and_the_pairs_in_them(tmp_path):
    data = read_labels(write(tmp_path, LABELS, "rows.json"))
    assert (data.prompts, data.labels.tolist()) == (["p", "p", "q", "p"], [True, False, True, False])
    assert data.pairs.tolist() == [[0, 1], [0, 3]]


def test_labels_of_a_spreadsheet(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("prompt,response,label\np,007,1\np,b,0\n")
    data = read_labels(str(path))
    assert (data.responses, data.labels.tolist()) == (["007", "b"], [True, False])


def test_pairs_are_rows_and_pairs(tmp_path):
    data = read_pairs(write(tmp_path, PAIRS))
    assert data.responses == ["a", "c", "b", "b"]
    assert data.labels.tolist() == [True, True, False, False]
    assert data.pairs.tolist() == [[0, 2], [1, 3]]
    assert read_labels_or_pairs(write(tmp_path, PAIRS)).from_pairs


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"label": 2}, "row 2, column 'label': expected 0 .bad. or 1 .good., found 2"),
        ({"label": None}, "row 2, column 'label': expected 0"),
        ({"response": None}, "row 2, column 'response': expected a text, found None"),
    ],
)
def test_a_wrong_value_is_named(tmp_path, row, message):
    with pytest.raises(UserError, match=message):
        read_labels(write(tmp_path, [LABELS[0], {**LABELS[1], **row}]))


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(UserError, match="no column 'response'; it has prompt, chosen, rejected"):
        read_labels(write(tmp_path, PAIRS))


def test_without_what_was_trained_on(tmp_path):
    """A shared prompt or response takes a labelled row out, and of a comparison both sides."""
    labels, pairs = read_labels(write(tmp_path, LABELS, "labels.jsonl")), read_pairs(write(tmp_path, PAIRS, "pairs.jsonl"))
    trained = read_pairs(write(tmp_path, [{"prompt": "q", "chosen": "x", "rejected": "worse"}], "trained.jsonl"))
    left = labels.without(trained)
    assert (left.responses, left.pairs.tolist()) == (["good", "bad"], [[0, 1]])
    left = pairs.without(trained)
    assert (left.prompts, left.responses, left.pairs.tolist()) == (["p", "p"], ["a", "b"], [[0, 1]])


def test_a_comparison_without_one_side_goes_whole(tmp_path):
    left = read_pairs(write(tmp_path, PAIRS)).select(np.array([True, True, False, True]))
    assert (left.responses, left.labels.tolist(), left.pairs.tolist()) == (["c", "b"], [True, False], [[0, 1]])
