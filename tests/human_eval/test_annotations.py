"""Potato's files and the key become answers; files that are not as they should be end as one line."""

import json
import math

import pandas as pd
import pytest

from diversity_tuning.errors import UserError
from diversity_tuning.human_eval.annotations import read_answers, read_key
from tests.human_eval.helpers import write_state

KEY = """id,prompt_id,prompt,set_a,set_b,samples_a,samples_b
0000000001,0,p0,ours,theirs,0 1,1 0
12e4567890,1,"p1
second line",theirs,ours,0 1,1 0
"""


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key.csv"
    path.write_text(KEY)
    return path


def test_answers_are_unblinded(tmp_path, key):
    folder = tmp_path / "annotations"
    write_state(
        folder, "zoe", {"0000000001": {"quality": "A-3", "diversity": "Set B", "comment": "text_box"}}, {"0000000001": 30}
    )
    write_state(folder, "adam", {"12e4567890": {"quality": "A-1", "diversity": "hard to decide"}})
    (folder / "pocket").mkdir()  # Potato's own
    answers = read_answers([folder], read_key([key]))
    columns = ["annotator", "id", "question", "side", "choice", "seconds"]
    first, second, third, fourth = answers[columns].itertuples(index=False, name=None)
    assert first[:5] == (1, "12e4567890", "quality", "A", "theirs")
    assert second[:3] == (1, "12e4567890", "diversity")
    assert second[4] == "undecided"
    assert pd.isna(second[3])
    assert math.isnan(first[5])
    assert third == (2, "0000000001", "quality", "A", "ours", 30)
    assert fourth == (2, "0000000001", "diversity", "B", "theirs", 30)
    assert set(answers["pair"]) == {("ours", "theirs")}
    assert "zoe" not in answers.to_csv()


def test_annotators_can_be_left_out(tmp_path, key):
    folder = tmp_path / "annotations"
    for name in ("ann", "test"):
        write_state(folder, name, {"0000000001": {"quality": "A-1"}})
    assert len(read_answers([folder], read_key([key]))) == 2
    assert len(read_answers([folder], read_key([key]), ["test"])) == 1
    with pytest.raises(UserError, match="--exclude nobody: no such annotator; there is ann, test"):
        read_answers([folder], read_key([key]), ["nobody"])


def test_numbers_of_potato_that_make_no_sense_are_no_times(tmp_path, key):
    for name, time in (("a", -1), ("b", 0), ("c", None), ("d", "soon"), ("e", 1e400)):
        path = write_state(tmp_path / "n", name, {"0000000001": {"quality": "A-1"}})
        state = json.loads(path.read_text())
        state["instance_id_to_behavioral_data"] = {"0000000001": {"total_time_ms": time}}
        path.write_text(json.dumps(state))
    assert read_answers([tmp_path / "n"], read_key([key]))["seconds"].isna().all()


def labels(*pairs):
    return json.dumps({"instance_id_to_label_to_value": {"0000000001": [[{"schema": q, "name": a}, a] for q, a in pairs]}})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "not an annotator's file"),
        ("[]", "not an annotator's file"),
        ("null", "not an annotator's file"),
        ("{}", "not an annotator's file"),
        ("[" * 100_000, "not an annotator's file"),
        ("\x00\xff", "not an annotator's file"),
        ('{"instance_id_to_label_to_value": 7}', "not an annotator's file"),
        ('{"instance_id_to_label_to_value": {"0000000001": 7}}', "not in the form of Potato 2"),
        ('{"instance_id_to_label_to_value": {"0000000001": [[1, 2, 3]]}}', "not in the form of Potato 2"),
        ('{"instance_id_to_label_to_value": {"elsewhere": []}}', "'elsewhere' is not in the key"),
        (labels(("quality", "C-1")), "'C-1' is no answer to 'quality'"),
        (labels(("quality", "A-0")), "'A-0' is no answer"),
        (labels(("quality", "Set A")), "'Set A' is no answer to 'quality'"),
        (labels(("diversity", "A-1")), "'A-1' is no answer to 'diversity'"),
        (labels(("diversity", {"x": 1})), "is no answer to 'diversity'"),
        (labels(("quality", "A-1"), ("quality", "B-1")), "two answers to 'quality'"),
        ('{"instance_id_to_label_to_value": {}}', "no answers yet"),
    ],
)
def test_hostile_files(tmp_path, key, content, complaint):
    path = tmp_path / "annotations" / "eve" / "user_state.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError) as error:
        read_answers([tmp_path / "annotations"], read_key([key]))
    assert complaint in str(error.value)
    assert len(str(error.value)) < 600


def test_an_annotator_of_two_studies_is_not_counted_twice(tmp_path, key):
    for study in "ab":
        write_state(tmp_path / study, "ann", {"0000000001": {"quality": "A-1"}})
    with pytest.raises(UserError, match="annotator 'ann' is in two of the folders"):
        read_answers([tmp_path / "a", tmp_path / "b"], read_key([key]))
    with pytest.raises(UserError, match="no such folder"):
        read_answers([tmp_path / "c"], read_key([key]))


def test_keys(tmp_path, key):
    assert list(read_key([key, key]).index) == ["0000000001", "12e4567890"]
    swapped = tmp_path / "swapped.csv"
    swapped.write_text(KEY.replace("p0,ours,theirs", "p0,theirs,ours"))
    with pytest.raises(UserError, match="say different things of item 0000000001"):
        read_key([key, swapped])
    swapped.write_text(KEY.replace("p0,ours,theirs", "p0,ours,ours"))
    with pytest.raises(UserError, match="row 1: not two different conditions"):
        read_key([swapped])
    swapped.write_text("id,prompt\n1,2\n")
    with pytest.raises(UserError, match="no column 'prompt_id'"):
        read_key([swapped])
