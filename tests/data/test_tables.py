"""The forms of a source: files, saved splits, hub ids; texts and messages; faults by file, row and column."""

import csv
import gzip
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from diversity_tuning.data.examples import check_numbers, preference_pairs, prompt_completions, rated_responses
from diversity_tuning.data.tables import check_source_name, read_split
from diversity_tuning.errors import UserError

TEXTS = [
    {"prompt": "A dragon, asleep", "chosen": 'It said "no".\nTwice.', "rejected": "It slept.", "weight": 1.5},
    {"prompt": "Die Brücke", "chosen": "Über den Fluss.", "rejected": "007", "weight": 0.5},
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def says(role, text):
    return {"role": role, "content": text}


def with_messages(row, prompt="messages"):
    user, sides = says("user", row["prompt"]), {name: [says("assistant", row[name])] for name in ("chosen", "rejected")}
    if prompt == "implicit":
        return {"weight": row["weight"], **{name: [user, *side] for name, side in sides.items()}}
    if prompt == "both":  # as UltraFeedback binarised has it
        return {"prompt": row["prompt"], **with_messages(row, "implicit")}
    return {"prompt": [user] if prompt == "messages" else row["prompt"], "weight": row["weight"], **sides}


EXPECTED = [with_messages(row) for row in TEXTS]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(folder, kind, rows):
    """The rows in a file or folder of this kind."""
    path = folder / f"pairs.{kind}"
    if kind == "jsonl":
        path.write_text(lines(rows), encoding="utf-8")
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress(lines(rows).encode()))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "csv":
        with path.open("w", encoding="utf-8-sig", newline="") as stream:  # as a spreadsheet saves it
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "split":
        Dataset.from_list(rows).save_to_disk(path)
    else:
        DatasetDict({"train": Dataset.from_list(rows), "test": Dataset.from_list(rows[:1])}).save_to_disk(path)
    return str(path)


def pairs(source, split="train"):
    found = preference_pairs(read_split(source, split), source)
    check_numbers(found, "weight", source)
    return found


# What is read.


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet", "csv", "split", "splits"])
def test_pairs_of_texts_become_conversations(tmp_path, kind):
    source = write(tmp_path, kind, TEXTS)
    found = pairs(source)
    assert list(found.select_columns(["prompt", "weight", "chosen", "rejected"])) == EXPECTED
    assert pairs(source).data.table.equals(found.data.table), "the copy in the cache is the file"


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "splits"])
@pytest.mark.parametrize("form", ["messages", "text", "implicit", "both"])
def test_pairs_of_messages_with_the_prompt_apart_or_within(tmp_path, kind, form):
    found = pairs(write(tmp_path, kind, [with_messages(row, form) for row in TEXTS]))
    assert list(found.select_columns(["prompt", "weight", "chosen", "rejected"])) == EXPECTED


def test_a_prompt_may_have_a_system_line_and_several_turns(tmp_path):
    turns = [says("system", "You write."), says("user", "a"), says("assistant", "b"), says("user", "c")]
    rows = [{"chosen": [*turns, says("assistant", "good")], "rejected": [*turns, says("assistant", "bad")], "weight": 1}]
    (found,) = pairs(write(tmp_path, "jsonl", rows))
    assert (found["prompt"], found["chosen"]) == (turns, [says("assistant", "good")])


def test_a_changed_file_is_read_anew(tmp_path):
    first = pairs(write(tmp_path, "jsonl", TEXTS))
    second = pairs(write(tmp_path, "jsonl", TEXTS[::-1]))
    assert list(first["weight"]) == list(second["weight"])[::-1]


def test_weights_that_begin_with_whole_numbers_are_numbers(tmp_path):
    rows = [{**TEXTS[0], "weight": 1}] * 600 + [{**TEXTS[1], "weight": 0.25}]
    assert list(pairs(write(tmp_path, "jsonl", rows))["weight"])[-2:] == [1.0, 0.25]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", "completion": "b"},
        {"prompt": "a", "response": "b", "label": 1},
        {"prompt": [says("user", "a")], "completion": [says("assistant", "b")]},
        {"messages": [says("user", "a"), says("assistant", "b")]},
    ],
)
def test_responses_to_tune_on(tmp_path, row):
    found = prompt_completions(read_split(write(tmp_path, "jsonl", [row]), "train"), "x")
    assert list(found) == [{"prompt": [says("user", "a")], "completion": [says("assistant", "b")]}]


def test_responses_with_scores_for_a_reward_model(tmp_path):
    rows = [{"prompt": "a", "response": "1", "score": 0.5}]
    for kind in ("jsonl", "csv"):
        assert list(rated_responses(read_split(write(tmp_path, kind, rows), "train"), "x")) == rows


def test_a_hub_data_set_at_a_revision(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *given, **options: asked.append((given, options)) or TEXTS_SET)
    TEXTS_SET = Dataset.from_list(TEXTS)
    assert read_split("some/pairs", "train_prefs", revision="abc").num_rows == 2
    assert asked == [(("some/pairs",), {"split": "train_prefs", "revision": "abc"})]


# What is refused.


def fails(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


GOOD = TEXTS[0]
PAIRS = {
    "no prompt": ({"chosen": "a", "rejected": "b"}, "row 2, column 'prompt': missing"),
    "null": ({**GOOD, "chosen": None}, "row 2, column 'chosen': expected a text or a list of messages"),
    "weight null": ({**GOOD, "weight": None}, "row 2, column 'weight': expected a number, found nothing"),
    "weight NaN": ({**GOOD, "weight": float("nan")}, "row 2, column 'weight': expected a number, found nan"),
}
MESSAGES = {
    "ends with user": ([says("user", "a")], "row 2, column 'chosen': ends with a message of role 'user'"),
    "empty": ([], "row 2, column 'chosen': expected a text or a list of messages"),
    "no content": ([says("assistant", None)], "row 2, column 'chosen': a message without a text as its 'content'"),
    "other keys": ([{"from": "a", "value": "b"}], "row 2, column 'chosen': a message from 'a'; expected human"),
    "other start": ([says("user", "z"), says("assistant", "x")], "row 2, column 'rejected': does not begin with the same"),
    "tools": (
        [says("user", "a"), {**says("assistant", "b"), "tool_calls": "f()"}],
        "row 2, column 'chosen': a message with 'tool_calls'",
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_fault_in_a_pair_is_named_by_file_row_and_column(tmp_path, name):
    row, message = PAIRS[name]
    source = write(tmp_path, "jsonl", [GOOD, row])
    assert fails(pairs, source).startswith(f"{source}: {message}")


@pytest.mark.parametrize("name", MESSAGES)
def test_a_fault_in_a_message_is_named_by_file_row_and_column(tmp_path, name):
    chosen, message = MESSAGES[name]
    good = with_messages(GOOD, "implicit")
    source = write(tmp_path, "jsonl", [good, {**good, "chosen": chosen}])
    assert fails(pairs, source).startswith(f"{source}: {message}")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"chosen": "x"\n', "row 1: not valid JSON"),
        ("a.jsonl", b'{"chosen": 1}\n{"chosen": "x"}\n', "row 2, column 'chosen'"),
        ("a.jsonl", b"", "no rows"),
        ("a.jsonl.gz", b"no gzip", "unreadable"),
        ("a.parquet", b"no parquet", "unreadable"),
        ("a.csv", b"", "no rows"),
        ("a.csv", b"prompt,chosen,rejected\n", "no rows"),
        ("a.csv", b"prompt,chosen,rejected\na,b,c\na,b\n", "row 2: 2 cells, but the header has 3"),
        ("a.csv", b"prompt,chosen,chosen\na,b,c\n", "header: column 'chosen' is there twice"),
        ("a.csv", "prompt,chosen,rejected\nä,b,c\n".encode("latin-1"), "save it as UTF-8"),
        ("a.csv", b'prompt,chosen,rejected\n"a,b,c\n', "unreadable"),
        ("a.csv", b"prompt,chosen,rejected,weight\na,b,c,1\na,b,c,x\n", "row 2, column 'weight': expected a number, found 'x'"),
        ("a.csv", b"prompt,chosen,rejected,weight\na,b,c,1\na,,c,1\n", "row 2, column 'chosen': expected a text"),
        ("a.csv", b"prompt,chosen,weight\na,b,1\n", "no column 'rejected'; it has prompt, chosen, weight"),
        ("a.txt", b"one\n\ntwo\n", "no column 'chosen'; it has prompt"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    found = fails(pairs, str(path))
    assert found.startswith(f"{path}: ")
    assert message in found
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_rows_that_no_training_reads(tmp_path):
    source = write(tmp_path, "jsonl", TEXTS)
    rows = read_split(source, "train")
    assert "no column 'post_title' with" in fails(prompt_completions, rows, source)
    assert "give the output of stage 1, or rows of prompt, response, score" in fails(rated_responses, rows, source)
    assert f"{source}: no split 'test'; a file or single split is 'train'" in fails(read_split, source, "test")


def test_a_mistyped_path_is_no_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "a.xlsx").touch()
    for path in ("nowhere", "nowhere.csv", "runs/paris", "./a/b", "/a/b", "runs/a/b"):
        assert fails(check_source_name, path).startswith(f"{path}: not there (--source); give the folder of a data stage")
    assert "unknown kind of file" in fails(check_source_name, "a.xlsx")
    check_source_name("owner/name")


def test_a_hub_id_without_network_is_one_line():
    message = fails(read_split, "owner/name", "train")
    assert message.startswith("owner/name: no such file or folder, and split 'train' cannot be read from the hub (")


KTO = {"prompt": ["a", "b", "c"], "completion": ["good", "bad", "fine"]}


@pytest.mark.parametrize("label", [[True, False, True], [1, 0, 1], [1.0, 0.0, 1.0], ["true", "False", "TRUE"]])
def test_responses_that_are_labelled_as_undesired_are_not_imitated(label, capsys):
    found = prompt_completions(Dataset.from_dict({**KTO, "label": label}), "x")
    assert [row["completion"][0]["content"] for row in found] == ["good", "fine"]
    assert capsys.readouterr().out.splitlines()[0] == "x: 1 of 3 rows have the label false and are left out"


def test_labels_that_say_nothing_good_or_say_something_else():
    for label, told in (
        ([False] * 3, "every row has the label false"),
        ([True, None, True], "row 2, column 'label': expected"),
    ):
        with pytest.raises(UserError, match=told):
            prompt_completions(Dataset.from_dict({**KTO, "label": label}), "x")
    for label in ([0, 1, 2], ["horror", "comedy", "horror"], [0.5, 0.1, 1.0]):
        assert len(prompt_completions(Dataset.from_dict({**KTO, "label": label}), "x")) == 3
