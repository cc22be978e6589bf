"""Files of a run folder that were edited by hand: one line names what is wrong."""

import json

import pytest

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.files import read_metrics
from diversity_tuning.evaluation.sampling.run import read_record
from diversity_tuning.evaluation.sampling.samples import read_samples

SAMPLE = {"prompt_id": 3, "prompt": "p", "sample": 0, "response": "r", "finished": True, "tokens": 4}
METRICS = {
    "name": "ddpo", "method": "ddpo", "strength": None, "seed": 0, "counts": {"responses": 4},
    "means": {"words": {"mean": 4.5, "low": 4, "high": None}},
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": None}, {"prompt": ["p"]}, {"prompt_id": "3"}, {"prompt_id": 3.5}, {"sample": None}, {"response": 5},
        {"finished": 1}, {"tokens": "4"}, {"tokens": True}, {"more": 1},
    ],
)  # fmt: skip
def test_a_sample_of_other_types_is_named_by_its_line(tmp_path, change):
    rows = [SAMPLE, {**SAMPLE, "sample": 1, **change}]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"samples.jsonl, line 2: not a sample"):
        read_samples(tmp_path)


@pytest.mark.parametrize("line", ["[1]", "5", '"text"', "[" * 5000, "{"])
def test_a_line_that_is_no_sample(tmp_path, line):
    (tmp_path / "samples.jsonl").write_text(f"{json.dumps(SAMPLE)}\n{line}\n")
    with pytest.raises(UserError, match="line 2: not a sample"):
        read_samples(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"means": []}, "'means'"), ({"means": {"words": 5}}, "'means', 'words'"),
        ({"means": {"words": {"mean": "5"}}}, "'means', 'words'"), ({"counts": {"responses": "4"}}, "'counts', 'responses'"),
        ({"seed": "0"}, "'seed'"), ({"seed": True}, "'seed'"), ({"name": 5}, "'name'"), ({"method": ["x"]}, "'method'"),
    ],
)  # fmt: skip
def test_metrics_of_other_types_are_named(tmp_path, change, named):
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
    assert read_metrics(tmp_path) == METRICS
    (tmp_path / "metrics.json").write_text(json.dumps({**METRICS, **change}))
    with pytest.raises(UserError, match=r"metrics\.json: not written by scripts_eval") as caught:
        read_metrics(tmp_path)
    assert named in str(caught.value)


@pytest.mark.parametrize("content", ["[]", "5", "{", "[" * 5000, '{"name": "x"}'])
def test_metrics_that_are_none(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(UserError, match=r"metrics\.json: not written by scripts_eval"):
        read_metrics(tmp_path)


def test_a_record_that_is_no_object_is_none(tmp_path):
    (tmp_path / "sampling.json").write_text("[]")
    assert read_record(tmp_path) == {}
