"""Path A end to end with the simulated LLM of the miniature behind its real server, on stories whose flaws are known."""

import json

import numpy as np
import pytest
from datasets import load_from_disk

from benchmarks.multi_agent import FIGURES, balanced, figure
from diversity_tuning.data.schema import prompt_text
from scripts_multi_agent import main as whole
from studies.miniature.flawed_stories import labelled_stories
from studies.miniature.simulated_llm.answers import Settings
from studies.miniature.simulated_llm.server import simulated_server
from studies.miniature.specification import draw_specification
from tests.scripts_multi_agent.helpers import read_jsonl, stage, write_jsonl

FLAWS = ("hero", "taboo", "twist", "sensory", "repetition")  # the rubric speaks of all of them


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    rng, rows = np.random.default_rng(0), []
    for _ in range(12):
        specification = draw_specification(rng)
        stories = labelled_stories(specification, rng, FLAWS, nuisances=())
        rows += [{"prompt": prompt_text(*specification.to_post()), **story} for story in stories]
    return write_jsonl(tmp_path_factory.mktemp("stories") / "stories.jsonl", rows)


def run(source, output, **settings):
    with simulated_server(Settings(**settings)) as url:
        flags = ["--engine", "openai", "--model", "simulated", "--base_url", url, "--cache", output / "bought"]
        whole.main([*map(str, ["--source", source, "--output", output, "--corpus", source, *flags])])
        stage(3, "--source", output / "2_negative", "--output", output / "alone", "--no_debate", *flags)
    summary = json.loads((output / "4_reflect" / "summary.json").read_text())
    rows = read_jsonl(output / "alone" / "responses.jsonl")
    assert summary["model"] == "simulated"
    assert summary["judged"] == len(rows) == 48
    alone = np.mean([row["judge"]["verdict"] == row["label"] for row in rows])
    return {"alone": alone, **{name: summary["agreement"][name]["accuracy"]["value"] for name in ("judge", "reflect")}}


def test_without_errors_every_verdict_is_right(source, tmp_path):
    assert run(source, tmp_path, noise=0) == {"alone": 1, "judge": 1, "reflect": 1}
    labels = {(row["prompt"], row["response"]): row["label"] for row in read_jsonl(source)}
    pairs = load_from_disk(str(tmp_path / "pairs"))["train"].to_list()
    assert len(pairs) == 12 * 2 * 2
    for pair in pairs:
        assert (labels[pair["prompt"], pair["chosen"]], labels[pair["prompt"], pair["rejected"]]) == (1, 0)


def test_debate_and_reflection_undo_a_leniency(source, tmp_path):
    found = run(source, tmp_path, leniency=0.6)
    assert found["alone"] < 0.8 < found["reflect"]
    assert found["alone"] < found["judge"]


def test_the_figures_of_the_benchmark():
    """By hand: two good stories, one refused; three bad ones, the longest passed."""
    labels, verdicts = np.array([1, 1, 0, 0, 0], dtype=bool), np.array([1, 0, 1, 0, 0], dtype=bool)
    lengths = np.array([5.0, 5, 9, 3, 4])
    found = {key: figure(key, verdicts, labels, lengths)[0] for key in FIGURES}
    assert found == pytest.approx({"accuracy": 3 / 5, "kappa": 1 / 6, "passed": 1 / 3, "refused": 1 / 2, "passed_by_length": 1})
    weights = np.array([[0, 2, 1, 1, 0.0]])
    assert figure("passed", verdicts, labels, lengths, weights) == [1 / 2]
    assert figure("refused", verdicts, labels, lengths, weights) == [1]


def test_the_stories_of_the_benchmark(source):
    rows = balanced([{**row, "label": None} for row in read_jsonl(source)], num_prompts=5)
    truth = {(row["prompt"], row["response"]): row["label"] for row in read_jsonl(source)}
    assert [row["label"] for row in rows] == [1, 1, 0, 0] * 5
    assert all(truth[row["prompt"], row["response"]] == row["label"] for row in rows)
