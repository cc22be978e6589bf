"""Annotations of a human study as comparisons, and a judge against them."""

import json

import pytest

from diversity_tuning.errors import UserError
from diversity_tuning.human_eval.annotations import preferred_stories
from scripts_eval import judge_agreement
from tests.human_eval.helpers import write_run, write_state

KEY = """id,prompt_id,prompt,set_a,set_b,samples_a,samples_b
0000000001,0,p0,ours,theirs,1 0,0 1
0000000002,1,p1,theirs,ours,0 1,1 0
"""


@pytest.fixture
def study(tmp_path):
    """Folders: annotations of two people, key.csv, and the two runs that were shown."""
    (tmp_path / "key.csv").write_text(KEY)
    for name in ("ours", "theirs"):
        write_run(tmp_path / name, name, {p: [f"{name} {p} 0 and longer", f"{name} {p} 1"] for p in ("p0", "p1")})
    said = {"zoe": {"0000000001": {"quality": "A-1"}}, "adam": {"0000000001": {"quality": "B-1"}}}
    said["adam"]["0000000002"] = {"quality": "hard to decide", "diversity": "Set A"}
    for name, answers in said.items():
        write_state(tmp_path / "annotations", name, answers)
    return tmp_path


def test_the_best_story_against_the_others_shown(study):
    data = preferred_stories([study / "annotations"], [study / "key.csv"], [study / "ours", study / "theirs"])
    adam = ["theirs p0 0 and longer", "ours p0 1", "ours p0 0 and longer", "theirs p0 1"]
    zoe = ["ours p0 1", "ours p0 0 and longer", "theirs p0 0 and longer", "theirs p0 1"]
    assert data.responses == adam + zoe
    assert data.labels.tolist() == [True, False, False, False] * 2
    assert data.pairs.tolist() == [[0, 1], [0, 2], [0, 3], [4, 5], [4, 6], [4, 7]]
    assert set(data.prompts) == {"p0"}


def test_length_against_the_annotations(study):
    """Adam names a story that is longer than each other one or is it, Zoe the shortest of the page but for a shorter name."""
    places = ["--annotations", study / "annotations", "--key", study / "key.csv", "--runs", study / "ours", study / "theirs"]
    flags = ["--reward", "builtin:length", *places, "--output", study / "out", "--draws", "10"]
    assert judge_agreement.main(list(map(str, flags))) == 0
    result = json.loads((study / "out" / "agreement.json").read_text())
    assert result["pairs"] == 6
    assert result["pair_accuracy"]["value"] == 0.5


def test_a_run_that_was_not_given(study):
    with pytest.raises(UserError, match="--runs: no run 'theirs', which the key names; there is ours"):
        preferred_stories([study / "annotations"], [study / "key.csv"], [study / "ours"])


def test_annotations_without_a_key(study, capsys):
    with pytest.raises(SystemExit) as caught:
        judge_agreement.main(["--reward", "builtin:length", "--annotations", str(study), "--output", str(study / "out")])
    assert caught.value.code == 2
    assert "--annotations, --key and --runs go together" in capsys.readouterr().err
