"""Files of samples that were edited or damaged: scored only where they are whole."""

import json

import pytest

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.sampling.samples import read_samples
from diversity_tuning.evaluation.scoring.run import ScoringConfig, score_run

ROW = {"prompt_id": 0, "prompt": "p", "sample": 0, "response": "A story.", "finished": True, "tokens": 3}


def run_folder(folder, rows, responses):
    folder.mkdir()
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = {"stage": "sample", "finished": True, "responses": responses, "arguments": {"seed": 1, "num_samples": 2}}
    (folder / "sampling.json").write_text(json.dumps({**record, "inputs": {}, "versions": {}}))
    return folder


@pytest.mark.parametrize("rows", [[], [ROW], [ROW, ROW]])
def test_responses_that_are_gone_are_not_left_out_of_the_scores(tmp_path, rows):
    folder = run_folder(tmp_path / "run", rows, 2)
    config = ScoringConfig(str(folder), semantic_model="none", style_model="none")
    with pytest.raises(UserError, match=r"samples.jsonl has \d responses, and 2 were sampled"):
        score_run(config)
    assert sorted(path.name for path in folder.iterdir()) == ["samples.jsonl", "sampling.json"]


@pytest.mark.parametrize(("change", "told"), [
    ({"prompt": "another", "sample": 1}, "line 2: another prompt than above has prompt_id 0"),
    ({"sample": -1}, "line 2: not a sample"), ({"prompt_id": -2}, "line 2: not a sample"),
])  # fmt: skip
def test_rows_that_contradict_each_other_are_refused(tmp_path, change, told):
    with pytest.raises(UserError, match=told):
        read_samples(run_folder(tmp_path / "run", [ROW, {**ROW, **change}], 2))
