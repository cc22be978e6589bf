"""The records of finished run folders, held against those that earlier commands wrote (tests/oracle/records.json)."""

import json
from pathlib import Path

import pytest

from diversity_tuning import embeddings
from diversity_tuning.evaluation.sampling.run import SamplingConfig
from diversity_tuning.evaluation.scoring.run import ScoringConfig
from diversity_tuning.flags import parse_flags
from diversity_tuning.generation import engine as engines
from diversity_tuning.runs import fingerprint
from scripts_eval import distinct_threshold, generation_eval1_1, generation_eval2, prepare_human_eval_data, sample, score_texts
from tests.generation.server import chat_server, openai_reply
from tests.human_eval.test_prepare import Summariser
from tests.scripts_eval.test_evaluation import _encoder, sampling_flags, scoring_flags

ORACLE = Path(__file__).parents[1] / "oracle" / "records.json"
LABELS = ["--name=mine", "--method=dpo", "--strength=0.5", "--training_seed=3", "--quality_threshold=0.25"]


@pytest.fixture(scope="module")
def folders(world, tmp_path_factory):
    """Every kind of record: a run folder each, small and finished."""
    root = tmp_path_factory.mktemp("records")
    small = {"num_prompts": 1, "num_samples": 2, "max_new_tokens": 4}
    data = [f"--source={world / 'data'}", "--start=2", "--num_prompts=2"]
    (root / "texts.jsonl").write_text('{"prompt_id": 1, "prompt": "p", "response": "a", "system": "x"}\n' * 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "load_encoder", _encoder())
        patch.setattr(engines, "make_engine", engines.make_engine)
        for name in ("one", "other"):
            flags = sampling_flags(world, root / name, **small, temperature=0.7, top_k=3, seed=7)
            generation_eval1_1.main([*flags, *scoring_flags(world, *LABELS)])
        with chat_server(lambda body, times: openai_reply(f"A story, {body.get('seed')}.")) as server:
            remote = {"engine": "openai", "model": "m", "base_url": server.url, "cache": root / "bought", "base_model": None}
            extra = {"extra_body": '{"top_k": 5}', "system_prompt": "Write."}
            sample.main(sampling_flags(world, root / "server", **small, **remote, **extra))
            sample.main([*sampling_flags(world, root / "iterative", **small, **remote), "--iterative"])
        generation_eval2.main([*data, f"--output={root / 'gold'}", "--draw=3", *scoring_flags(world)])
        texts = [f"--texts={root / 'texts.jsonl'}", f"--output={root / 'texts'}", "--split_by=system"]
        score_texts.main([*texts, *scoring_flags(world)])
        distinct_threshold.main([*data, f"--output={root / 'threshold'}", "--semantic_model=x"])
        patch.setattr(engines, "make_engine", lambda config: Summariser())
        runs = ["--runs", str(root / "one"), str(root / "other"), "--names", "a", "b", "--seed=5", "--num_samples=2"]
        prepare_human_eval_data.main([*runs, f"--output={root / 'study'}", f"--base_model={world / 'base'}"])
        prepare_human_eval_data.main([*runs, f"--output={root / 'study-full'}", "--no_summaries", "--skip=0"])
        paid = ["--engine=anthropic", "--model=m", '--extra_body={"top_k": 4}', "--summary_words=50"]
        prepare_human_eval_data.main([*runs, f"--output={root / 'study-paid'}", *paid])
    return root


def records(root: Path) -> dict:
    """Path -> stage, settings and names of the inputs of every record below a folder; a server's port is left out."""
    paths = sorted([*root.rglob("provenance.json"), *root.rglob("sampling.json")])
    contents = {str(path.relative_to(root)): json.loads(path.read_text()) for path in paths}
    made = {
        name: {"stage": content["stage"], "arguments": content["arguments"], "inputs": sorted(content["inputs"])}
        for name, content in contents.items()
    }
    for record in made.values():
        if str(record["arguments"].get("base_url")).startswith("http"):
            record["arguments"]["base_url"] = "URL"
    return made


def test_records_are_those_of_old_run_folders(folders):
    assert records(folders) == json.loads(ORACLE.read_text())


def test_an_old_run_folder_is_recognised(world, tmp_path, capsys, monkeypatch):
    """A folder with the settings as the old code stored them is finished for the new one: nothing is loaded or sampled."""
    monkeypatch.setattr("diversity_tuning.policy.load_policy", None)
    stored = json.loads(ORACLE.read_text())["one/sampling.json"]
    prints = {name: fingerprint(path) for name, path in (("source", world / "data"), ("base_model", world / "base"))}
    stored |= {"inputs": prints, "finished": True, "failures": [], "responses": 2}
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "sampling.json").write_text(json.dumps(stored))
    flags = {"num_prompts": 1, "num_samples": 2, "max_new_tokens": 4, "temperature": 0.7, "top_k": 3, "seed": 7}
    sample.main(sampling_flags(world, tmp_path / "one", **flags))
    assert "all 2 responses are there" in capsys.readouterr().out


def test_flags_take_their_defaults_from_the_configurations():
    argv = ["--source=data", "--output=run", "--reward_model=reward"]
    sampling, scoring = parse_flags((SamplingConfig, ScoringConfig), "the.command", "", argv)
    assert sampling == SamplingConfig("data", "run")
    assert scoring == ScoringConfig("run", reward_model="reward")
