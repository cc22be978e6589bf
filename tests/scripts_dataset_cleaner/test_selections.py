"""The table of ways of selecting pairs, and the example in CONTRIBUTING.md of how one is added."""

import re
from pathlib import Path

import pytest
from datasets import load_from_disk

from diversity_tuning import next_steps
from diversity_tuning.data import pair
from diversity_tuning.flags import flag
from diversity_tuning.outputs import read_provenance
from diversity_tuning.selections import SELECTIONS, Selection, selections_of
from tests.scripts_dataset_cleaner.helpers import data_digest, stage

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"


def test_entries_are_complete():
    assert list(selections_of(needs_vectors=False)) == ["gap"]
    assert list(selections_of(needs_vectors=True)) == ["divpo"]
    assert all(callable(one.function) and one.label and one.about for one in SELECTIONS.values())


@pytest.fixture
def extremes(monkeypatch):
    """Run the two blocks of "Adding a selection of pairs" as if they stood where the document says."""
    section = CONTRIBUTING.read_text(encoding="utf-8").split("## Adding a selection of pairs")[1].split("\n## ")[0]
    function, entry = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert (function.splitlines()[0], entry.splitlines()[0]) == (
        "# diversity_tuning/data/pair.py", "# diversity_tuning/selections.py, an entry of SELECTIONS",
    )  # fmt: skip
    scope = dict(vars(pair))
    exec(function, scope)
    monkeypatch.setattr(pair, "extremes", scope["extremes"], raising=False)
    added = eval(f"{{{entry}}}", {"Selection": Selection, "flag": flag})
    for name, one in added.items():
        monkeypatch.setitem(SELECTIONS, name, one)


@pytest.mark.usefixtures("extremes")
def test_the_example_is_enough(pipeline, tmp_path, capsys):
    flags = ["--source", pipeline.filtered, "--selection", "extremes", "--data_path_pair"]
    assert stage(2, *flags, tmp_path / "one", "--ranks", 1) == 0
    rows = load_from_disk(str(tmp_path / "one"))["train"]
    votes = {}
    for row in load_from_disk(str(pipeline.filtered))["train"]:
        scores = row["filtered_comment_scores"]
        votes[row["post_title"].removeprefix("[WP] ")] = (max(scores, default=0), min(scores, default=0))
    assert len(rows) > 3
    for row in rows:
        assert any(
            title in row["chosen"][0]["content"] and ends == (row["score_chosen"], row["score_rejected"])
            for title, ends in votes.items()
        )
    arguments = read_provenance(tmp_path / "one")["arguments"]
    assert (arguments["selection"], arguments["ranks"]) == ("extremes", 1)
    assert not arguments.keys() & {"gap", "strict_gap"}, "of the other selection"
    stage(2, *flags, tmp_path / "two", "--ranks", 2)
    assert len(load_from_disk(str(tmp_path / "two"))["train"]) > len(rows)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        stage(2, "--help")
    assert "extremes: the most voted against the least voted" in " ".join(capsys.readouterr().out.split())


def test_the_default_needs_no_name(pipeline, tmp_path):
    stage(2, "--source", pipeline.filtered, "--data_path_pair", tmp_path / "pairs", "--selection", "gap", "--gap", 5)
    assert data_digest(tmp_path / "pairs") == data_digest(pipeline.pairs)
    made, named = read_provenance(pipeline.pairs), read_provenance(tmp_path / "pairs")
    assert made["arguments"] == named["arguments"]


def test_one_that_reads_deviations_is_of_stage_4(pipeline, tmp_path, monkeypatch, capsys):
    shapes = []

    def farthest(responses, rng, max_pair_num):
        shapes.append([one.shape for one in responses.vectors])
        return [(0, 1)][:max_pair_num]

    monkeypatch.setattr(pair, "farthest", farthest, raising=False)
    settings = {"max_pair_num": SELECTIONS["divpo"].settings["max_pair_num"]}
    entry = Selection("farthest", "the farthest", "diversity_tuning.data.pair:farthest", settings, needs_vectors=True)
    monkeypatch.setitem(SELECTIONS, "farthest", entry)
    monkeypatch.setattr(next_steps, "words_of_command", lambda: ["--selection", "farthest"])
    (tmp_path / "sft").mkdir()
    (tmp_path / "sft" / "provenance.json").write_text('{"stage": "generation", "versions": {}}')
    flags = ["--source", pipeline.unpaired, "--data_path_pair", tmp_path / "pairs", *pipeline.encoders]
    assert stage(4, *flags, "--selection", "farthest") == 0
    assert f"--source {tmp_path}/pairs --output_dir {tmp_path}/farthest\n" in capsys.readouterr().out
    unpaired, made = (load_from_disk(str(folder))["train"] for folder in (pipeline.unpaired, tmp_path / "pairs"))
    texts = [row["posttraining_comment_text"] for row in unpaired if len(row["posttraining_comment_text"]) > 1]
    assert [(row["chosen"][-1]["content"], row["rejected"][-1]["content"]) for row in made] == [tuple(one[:2]) for one in texts]
    assert all(len(one) == 2 for one in shapes), "a type of deviation each"
    assert "rho" not in read_provenance(tmp_path / "pairs")["arguments"]


@pytest.mark.usefixtures("extremes")
def test_what_the_chosen_one_does_not_take_is_refused(tmp_path, capsys):
    def refused(number, *flags):
        with pytest.raises(SystemExit) as ended:
            stage(number, "--source", tmp_path, "--data_path_pair", tmp_path / "pairs", *flags)
        return ended.value.code, capsys.readouterr().err

    assert refused(2, "--selection", "extremes", "--gap", 9) == (2, "error: --gap: is no setting of --selection extremes\n")
    assert refused(2, "--ranks", 1) == (2, "error: --ranks: is no setting of --selection gap\n")
    code, told = refused(4, "--selection", "gap")
    assert (code, told.count("\n")) == (2, 1)
    assert "'gap' is not one of divpo" in told
