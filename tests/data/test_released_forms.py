"""Files as other projects write them: JSON arrays, JSON Lines named .json, ShareGPT's and Alpaca's rows."""

import json

import datasets
import pytest

from diversity_tuning.data.examples import preference_pairs, prompt_completions
from diversity_tuning.data.tables import read_split
from diversity_tuning.errors import UserError
from diversity_tuning.training.grpo import prompts_of


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


SYSTEM, P, A, B = says("system", "S"), says("user", "P"), says("assistant", "A"), says("assistant", "B")
EARLIER = [says("user", "q"), says("assistant", "r")]
SIDES = {"chosen": "A", "rejected": "B"}
WHOLE = {"chosen": [P, A], "rejected": [P, B]}
LED = {"chosen": [SYSTEM, P, A], "rejected": [SYSTEM, P, B]}
FORMS = {  # name: (row, prompt); every turn of the row is in the prompt or the sides once
    "system and prompt": ({"system": "S", "prompt": "P", **SIDES}, [SYSTEM, P]),
    "system and question": ({"system": "S", "question": "P", **SIDES}, [SYSTEM, P]),
    "system prompt and input": ({"system_prompt": "S", "input": "P", **SIDES}, [SYSTEM, P]),
    "system empty": ({"system": "", "prompt": "P", **SIDES}, [P]),
    "system null": ({"system": None, "prompt": "P", **SIDES}, [P]),
    "system and conversations": ({"system": "S", **WHOLE}, [SYSTEM, P]),
    "system twice the same": ({"system": "S", **LED}, [SYSTEM, P]),
    "history": ({"prompt": "P", "history": [["q", "r"]], **SIDES}, [*EARLIER, P]),
    "history of messages": ({"prompt": "P", "history": EARLIER, **SIDES}, [*EARLIER, P]),
    "history and system": ({"prompt": "P", "history": [["q", "r"]], "system": "S", **SIDES}, [SYSTEM, *EARLIER, P]),
    "history in the prompt": ({"prompt": [*EARLIER, P], "history": [["q", "r"]], **SIDES}, [*EARLIER, P]),
    "alpaca": ({"instruction": "P", "input": "", **SIDES}, [P]),
    "alpaca with input": ({"instruction": "I", "input": "X", "system": "S", **SIDES}, [SYSTEM, says("user", "I\nX")]),
    "prompt list, system in the sides": ({"prompt": [P], **LED}, [SYSTEM, P]),
    "prompt list with system, none in the sides": ({"prompt": [SYSTEM, P], **WHOLE}, [SYSTEM, P]),
    "prompt list with system, in the sides too": ({"prompt": [SYSTEM, P], **LED}, [SYSTEM, P]),
    "prompt text, system in the sides": ({"prompt": "P", **LED}, [SYSTEM, P]),
    "prompt is the last turn": (
        {"prompt": "P", "chosen": [*EARLIER, P, A], "rejected": [*EARLIER, P, B]}, [*EARLIER, P],
    ),
    "content in parts": ({"prompt": [{"role": "user", "content": [{"type": "text", "text": "P"}]}], **SIDES}, [P]),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_every_turn_of_a_pair_is_read_once(tmp_path, name):
    row, prompt = FORMS[name]
    (pair,) = preference_pairs(*read(tmp_path, json.dumps([row])), keep=[])
    assert pair == {"prompt": prompt, "chosen": [A], "rejected": [B]}
    (asked,) = prompts_of(*read(tmp_path, json.dumps([row])))
    assert asked == {"prompt": prompt}


def test_sides_that_go_on_after_the_prompt(tmp_path):
    longer = {"prompt": "P", "chosen": [A, P, A], "rejected": [A, P, B]}
    (pair,) = preference_pairs(*read(tmp_path, json.dumps([longer])))
    assert pair == {"prompt": [P], "chosen": [A, P, A], "rejected": [A, P, B]}


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"instruction": "P", "output": "A", "system": "S", "history": [["q", "r"]]}, [SYSTEM, *EARLIER, P]),
        ({"system": "S", "conversations": [{"from": "human", "value": "P"}, {"from": "gpt", "value": "A"}]}, [SYSTEM, P]),
        ({"system": "S", "messages": [P, A]}, [SYSTEM, P]),
        ({"system_prompt": "S", "question": "P", "response": "A"}, [SYSTEM, P]),
        ({"prompt": "P", "completion": "A", "system": "S"}, [SYSTEM, P]),
        ({"prompt": [P], "completion": [P, A]}, [P]),
        ({"conversations": [{"from": "user", "value": "P"}, {"from": "assistant", "value": "A", "weight": 1}]}, [P]),
    ],
)
def test_every_turn_of_a_response_is_read_once(tmp_path, row, prompt):
    (one,) = prompt_completions(*read(tmp_path, json.dumps([row])))
    assert one == {"prompt": prompt, "completion": [A]}


@pytest.mark.parametrize(
    ("function", "row", "message"),
    [
        (preference_pairs, {"prompt": "P", "chosen": [SYSTEM, P, A], "rejected": [P, B]}, "'rejected': does not begin with"),
        (preference_pairs, {"prompt": [P], **LED, "system": "T"}, "'system': another system turn"),
        (preference_pairs, {"prompt": "Q", **WHOLE}, "'prompt': is not among the messages"),
        (preference_pairs, {"prompt": [says("user", "Q")], **WHOLE}, "'chosen': begins with a message of role 'user'"),
        (preference_pairs, {"prompt": "P", "history": "q: r", **SIDES}, "'history': expected a list"),
        (preference_pairs, {"prompt": "P", "history": [["q"]], **SIDES}, "'history': expected a list"),
        (preference_pairs, {"chosen": "\n\nHuman: P\n\nAssistant: A", "rejected": "\n\nHuman: P\n\nAssistant: B"}, "missing"),
        (prompts_of, {"chosen": "\n\nHuman: P\n\nAssistant: A", "rejected": "\n\nHuman: P\n\nAssistant: B"}, "missing"),
        (prompts_of, {"chosen": [A]}, "row 1: no prompt"),
        (prompts_of, {"chosen": "A"}, "row 1: no prompt"),
        (prompts_of, {"prompt": [P, A]}, "'prompt': ends with a message of role 'assistant'"),
        (prompts_of, {"prompt": None}, "row 1: no prompt"),
        (prompts_of, {"prompt": [{"role": "user", "content": [{"type": "image"}]}]}, "'content'"),
        (prompt_completions, {"messages": [P, {**A, "weight": 0}]}, "weight 0"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, function, row, message):
    with pytest.raises(UserError, match="row 1") as caught:
        function(*read(tmp_path, json.dumps([row])))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_that_may_hold_turns_and_are_not_read_are_named(tmp_path, capsys):
    row = {"prompt": "P", "question": "Q", "messages": [P, A], "prompt_id": 1, "tools": "pen", **SIDES}
    preference_pairs(*read(tmp_path, json.dumps([row])))
    assert "not read: column 'question', 'messages', 'tools'" in capsys.readouterr().out


def test_posts_without_a_prompt_are_left_out_of_grpo(capsys):
    posts = datasets.Dataset.from_list([{"post_title": title, "post_text": ""} for title in ("a", "", "b")])
    assert [row["prompt"][0]["content"] for row in prompts_of(posts, "x")] == ["a\n", "b\n"]
    assert "x: 1 of 3 prompts are empty" in capsys.readouterr().out
