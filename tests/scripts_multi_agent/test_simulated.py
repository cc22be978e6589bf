"""Path A end to end with the simulated LLM of the miniature behind its real server, on stories whose flaws are known."""

import json

import numpy as np
import pytest
from datasets import load_from_disk

from diversity_tuning.data.schema import prompt_text
from diversity_tuning.miniature.flawed_stories import labelled_stories
from diversity_tuning.miniature.simulated_llm.answers import Settings
from diversity_tuning.miniature.simulated_llm.server import simulated_server
from diversity_tuning.miniature.specification import draw_specification
from scripts_multi_agent import main as whole
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
