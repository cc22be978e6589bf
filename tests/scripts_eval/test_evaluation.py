"""The evaluation commands through their ``main``: sample, score, resume, gold data, auxiliary metrics."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from diversity_tuning.evaluation.scoring.summary import command_line
from scripts_eval import generation_eval1_1, generation_eval1_2, generation_eval2, sample, score

PUBLISHED = ["prompt_id", "prompt", "response", "reddit_reward", "semantic_diversity", "style_diversity"]
DIAGNOSTICS = ["--diagnostics", "tests.scripts_eval.conftest"]


def sampling_flags(world, output, **changes):
    flags = {"source": world / "data", "base_model": world / "base", "start": 2, "num_prompts": 10, "max_new_tokens": 12}
    flags |= {"output": output, "device": "cpu", **changes}
    return [f"--{key}={value}" for key, value in flags.items() if value is not None]


def scoring_flags(world, *more):
    flags = ["--semantic_model=x", "--style_model=y", "--distinct_threshold=0.9"]
    return [f"--reward_model={world / 'reward'}", *flags, *more]


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    """A finished run; tests that change it work on copies of the numbers only."""
    output = tmp_path_factory.mktemp("runs") / "dpo"
    with pytest.MonkeyPatch.context() as patch:
        from diversity_tuning import embeddings

        patch.setattr(embeddings, "load_encoder", _encoder())
        generation_eval1_1.main([*sampling_flags(world, output), *scoring_flags(world, *DIAGNOSTICS), "--strength=1.0"])
    return output


def _encoder():
    from types import SimpleNamespace

    def encode(texts):
        vectors = np.random.default_rng(0).normal(size=(len(texts), 8))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    encoder = SimpleNamespace(encode=encode, truncated=lambda texts: np.zeros(len(texts), bool), close=lambda: None)
    return lambda *args, **options: encoder


def test_run_folder(finished):
    scores = pd.read_csv(finished / "scores.csv", converters={"response": str})
    assert list(scores.columns[:6]) == PUBLISHED
    assert {"sample", "words", "finished", "tokens", "craft", "voice", "good", "cluster"} <= set(scores.columns)
    assert sorted(set(scores["prompt_id"])) == [*range(2, 10), 11]  # row 10 repeats the prompt of row 3
    assert len(scores) == 9 * 4
    prompts = pd.read_csv(finished / "prompts.csv")
    first = scores[scores["prompt_id"] == 2]
    assert prompts["reddit_reward"][0] == pytest.approx(first["reddit_reward"].mean())
    assert prompts["distinct_voice"][0] == first["voice"].dropna().nunique()
    content = json.loads((finished / "metrics.json").read_text())
    assert (content["name"], content["method"], content["strength"], content["seed"]) == ("dpo", "dpo", "1.0", 42)
    mean = content["means"]["semantic_diversity"]
    assert mean["low"] < mean["mean"] < mean["high"]
    assert prompts["distinct_k"][0] == first["cluster"].nunique()
    assert content["distinct_k"] == {"by": "semantic distance", "threshold": 0.9}
    rated = 1 + 4.5 * (first["reddit_reward"].clip(-1, 1) + 1)
    new = ~first["cluster"].duplicated()
    assert prompts["utility_k"][0] == pytest.approx(np.average(rated * new, weights=0.8 ** np.arange(4)))
    assert content["counts"]["rating_cut"] == int((scores["reddit_reward"].abs() > 1).sum())
    assert content["command"] == command_line()
    assert content["counts"]["prompts"] == 9
    assert content["counts"]["unfinished"] == int((scores["finished"] == 0).sum())


def test_again_is_skipped_without_loading_a_model(world, finished, capsys, monkeypatch):
    monkeypatch.setattr("diversity_tuning.policy.load_policy", None)
    monkeypatch.setattr("diversity_tuning.reward_model.load_reward_model", None)
    again = [*sampling_flags(world, finished, sample_batch_size=3), *scoring_flags(world, *DIAGNOSTICS), "--strength=1.0"]
    assert generation_eval1_1.main(again) == 0
    assert "skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"temperature": 0.5}, "temperature 1.0 there, 0.5 now"),
        ({"output": "new", "split": "dev"}, "no split 'dev'; there is train, test"),
        ({"output": "new", "start": 12}, "--start 12 is beyond the 12 rows"),
        ({"output": "new", "source": "nowhere"}, "nowhere: not there"),
        ({"output": "new", "base_model": "nowhere"}, "nowhere: cannot be loaded"),
        ({"output": "new", "adapter": "nowhere"}, "nowhere: no adapter here"),
        ({"output": "new", "top_p": 0}, "top_p"),
        ({"output": "new", "max_new_tokens": 4000}, "the longest prompt has"),
    ],
)
def test_one_line_says_what_is_wrong(world, finished, tmp_path, capsys, flags, message):
    if flags.get("output"):
        flags = flags | {"output": tmp_path / "new"}
    with pytest.raises(SystemExit) as exit_code:
        sample.main(sampling_flags(world, flags.pop("output", finished), **flags))
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert exit_code.value.code == 2
    assert message in error


def test_a_folder_of_something_else_is_left_alone(world, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    for more in ([], ["--overwrite"]):
        with pytest.raises(SystemExit):
            sample.main([*sampling_flags(world, tmp_path), *more])
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_killed_sampling_goes_on(world, tmp_path):
    flags = {"num_samples": 3, "max_new_tokens": 40, "sample_batch_size": 2}
    command = [sys.executable, "-m", "scripts_eval.sample", *sampling_flags(world, tmp_path / "killed", **flags)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    file = tmp_path / "killed" / "samples.jsonl"
    while process.poll() is None and not (file.exists() and file.read_bytes().count(b"\n") >= 4):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    lines = file.read_bytes().count(b"\n")
    assert 4 <= lines < 27
    with file.open("ab") as stream:
        stream.write(b'{"prompt_id": 5, "prompt": "cut he')  # as when the kill falls into a write
    sample.main(sampling_flags(world, tmp_path / "killed", **flags))
    sample.main(sampling_flags(world, tmp_path / "whole", **flags))
    killed, whole = (sorted((tmp_path / name / "samples.jsonl").read_text().splitlines()) for name in ("killed", "whole"))
    assert killed == whole
    assert len(set(whole)) == 27


def test_scores_are_redone_without_sampling(world, tmp_path, capsys, monkeypatch):
    output = tmp_path / "run"
    with pytest.raises(SystemExit):
        score.main([f"--output={output}", *scoring_flags(world)])
    assert "samples are not finished" in capsys.readouterr().err
    sample.main(sampling_flags(world, output, num_prompts=2))
    monkeypatch.setattr("diversity_tuning.policy.load_policy", None)
    score.main([f"--output={output}", *scoring_flags(world)])
    with pytest.raises(SystemExit):
        score.main([f"--output={output}", *scoring_flags(world, *DIAGNOSTICS)])
    assert "different arguments: diagnostics" in capsys.readouterr().err
    score.main([f"--output={output}", *scoring_flags(world, *DIAGNOSTICS), "--overwrite"])
    assert "craft" in pd.read_csv(output / "scores.csv").columns


def test_wrong_diagnostics(world, tmp_path, capsys):
    sample.main(sampling_flags(world, tmp_path / "run", num_prompts=1))
    with pytest.raises(SystemExit):
        score.main([f"--output={tmp_path / 'run'}", *scoring_flags(world, "--diagnostics=json")])
    assert "no module with a function diagnose" in capsys.readouterr().err


def test_gold_data(world, tmp_path):
    flags = [f"--source={world / 'data'}", "--start=2", "--num_prompts=10", f"--output={tmp_path / 'gold'}"]
    generation_eval2.main([*flags, *scoring_flags(world, *DIAGNOSTICS)])
    gold = pd.read_csv(tmp_path / "gold" / "gold.csv")
    assert {"data_semantic_diversity", "data_style_diversity", "gold_reddit_reward", "gold_vote"} <= set(gold.columns)
    assert len(gold) == 4 * 5 + 5  # "[removed]" was filtered out
    alone = gold["prompt_id"] % 2 == 1
    assert gold["data_semantic_diversity"].isna().equals(alone)
    prompts = pd.read_csv(tmp_path / "gold" / "prompts.csv")
    scores = pd.read_csv(tmp_path / "gold" / "scores.csv")
    for name in ("distinct_voice", "distinct_k", "utility_k"):  # both of four responses a prompt, where there are as many
        assert prompts[name].isna().equals(prompts["responses"] < 4)
    assert set(scores.groupby("prompt_id")["drawn"].sum()) == {1, 4}
    assert scores["cluster"].notna().equals(scores["drawn"] == 1)
    content = json.loads((tmp_path / "gold" / "metrics.json").read_text())
    assert content["name"] == "gold"
    assert "gold_vote" in content["means"]


def test_auxiliary_metrics(world, tmp_path, capsys):
    generation_eval1_1.main([*sampling_flags(world, tmp_path / "dpo", num_prompts=3), *scoring_flags(world)])
    published = tmp_path / "published.csv"
    published.write_text('prompt_id,response\n1,"a b c"\n1,"a b d"\n2,"NA"\n2,""\n')
    flags = [f"--val_path={tmp_path}", "--val_files", "dpo", "published.csv"]
    generation_eval1_2.main([*flags, "--metrics_variant=released"])
    generation_eval1_2.main(flags)
    content = json.loads((tmp_path / "dpo" / "metrics.json").read_text())
    assert content["metrics_variant"] == "whole"
    assert {"compression_ratio", "homogenization_score", "ngram_diversity_score"} <= set(content["means"])
    prompts = pd.read_csv(tmp_path / "dpo" / "prompts.csv")
    assert list(prompts.columns).count("compression_ratio") == 1
    table = pd.read_csv(tmp_path / "published.auxiliary.csv")
    assert list(table["homogenization_score"].round(3)) == [0.667, 0.0]
    with pytest.raises(SystemExit):
        generation_eval1_2.main([f"--val_path={tmp_path}", "--val_files", "none.csv"])
    assert "no such file" in capsys.readouterr().err


def test_scored_otherwise_the_advice_keeps_the_samples(world, tmp_path, capsys):
    flags = sampling_flags(world, tmp_path / "run", num_prompts=2)
    generation_eval1_1.main([*flags, *scoring_flags(world)])
    with pytest.raises(SystemExit):
        generation_eval1_1.main([*flags, *scoring_flags(world, "--quality_threshold=0.5")])
    assert "scripts_eval.score --overwrite, which keeps the samples" in capsys.readouterr().err


def test_samples_that_are_replaced_stay_until_the_new_ones_are_there(world, tmp_path, monkeypatch):
    """`--overwrite` and Ctrl-C on the way: the old run lies aside; the same command goes on and then deletes it."""
    flags = sampling_flags(world, tmp_path / "run")
    sample.main(flags)
    old = (tmp_path / "run" / "samples.jsonl").read_text()
    again = [*flags, "--seed=7", "--overwrite"]
    with monkeypatch.context() as patch:
        patch.setattr("diversity_tuning.evaluation.sampling.run._sample_missing", _killed)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                sample.main.__wrapped__(again)
            assert (tmp_path / ".run.retired" / "samples.jsonl").read_text() == old
    sample.main(again)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "samples.jsonl").read_text() != old


def test_killed_before_the_new_samples_were_scored(world, tmp_path, monkeypatch):
    """A response that was missing has come, and the run is killed before it is scored: the same command scores all."""
    output = tmp_path / "run"
    flags = [*sampling_flags(world, output, num_prompts=2), *scoring_flags(world)]
    generation_eval1_1.main(flags)
    whole = (output / "samples.jsonl").read_text().splitlines(keepends=True)
    (output / "samples.jsonl").write_text("".join(whole[:-1]))
    record = json.loads((output / "sampling.json").read_text())
    record |= {"failures": [{"prompt_id": 3, "sample": 3, "error": "as if", "runs": 1}], "responses": len(whole) - 1}
    (output / "sampling.json").write_text(json.dumps(record))
    score.main([f"--output={output}", *scoring_flags(world), "--overwrite"])
    with monkeypatch.context() as patch:
        patch.setattr("diversity_tuning.evaluation.scoring.run.score_responses", _killed)
        with pytest.raises(SystemExit) as stopped:
            generation_eval1_1.main(flags)
        assert stopped.value.code == 130
    generation_eval1_1.main(flags)
    assert len(pd.read_csv(output / "scores.csv")) == len(whole) == 8


def _killed(*_):
    raise KeyboardInterrupt


def test_of_more_responses_to_a_prompt_so_many_are_drawn_and_it_is_said(world, tmp_path, capsys):
    flags = [f"--source={world / 'data'}", "--start=2", "--num_prompts=10", *scoring_flags(world)]
    generation_eval2.main([*flags, f"--output={tmp_path / 'all'}"])
    generation_eval2.main([*flags, f"--output={tmp_path / 'few'}", "--max_responses=2", "--draw=2"])
    every, few = (pd.read_csv(tmp_path / name / "gold.csv") for name in ("all", "few"))
    assert set(few["prompt_id"]) == set(every["prompt_id"])
    assert few.groupby("prompt_id").size().max() == 2
    assert set(map(tuple, few[["prompt_id", "response"]].values)) <= set(map(tuple, every[["prompt_id", "response"]].values))
    said = f"{len(few)} of {len(every)} responses, drawn, at most 2 a prompt"
    assert said in capsys.readouterr().out
    assert said in json.loads((tmp_path / "few" / "metrics.json").read_text())["note"]


def test_fewer_responses_than_are_drawn_to_count_labels_are_refused(world, tmp_path, capsys):
    """Every count would be missing."""
    flags = [f"--source={world / 'data'}", f"--output={tmp_path / 'gold'}", *scoring_flags(world)]
    with pytest.raises(SystemExit, match="2"):
        generation_eval2.main([*flags, "--max_responses=3"])
    assert "--max_responses 3: too few to draw --draw 4 among" in capsys.readouterr().err
    assert not (tmp_path / "gold").exists()


def test_gold_killed_before_its_provenance_goes_on(world, tmp_path):
    flags = [
        f"--source={world / 'data'}",
        "--start=2",
        "--num_prompts=3",
        f"--output={tmp_path / 'gold'}",
        *scoring_flags(world),
    ]
    generation_eval2.main(flags)
    (tmp_path / "gold" / "provenance.json").write_text('{"stage": "gold", "unfinished": true}')
    (tmp_path / "gold" / ".metrics.json.partial").write_text("cut")
    generation_eval2.main(flags)
    assert (tmp_path / "gold" / "provenance.json").is_file()
    (tmp_path / "gold" / "provenance.json").unlink()
    (tmp_path / "gold" / "thesis.tex").write_text("years of work")
    with pytest.raises(SystemExit):
        generation_eval2.main(flags)


def test_truncation_is_counted_but_is_no_label(world, tmp_path):
    flags = [f"--source={world / 'data'}", "--start=2", "--num_prompts=10", f"--output={tmp_path / 'gold'}"]
    generation_eval2.main([*flags, *scoring_flags(world, *DIAGNOSTICS)])
    names = json.loads((tmp_path / "gold" / "metrics.json").read_text())["means"]
    assert {"distinct_k", "distinct_voice"} <= set(names)
    assert not [name for name in names if "truncated" in name]


def test_counts_are_of_prompts_with_all_responses(world, tmp_path):
    """Distinct counts and auxiliary metrics depend on the number of responses: people's prompts with too few have none."""
    flags = [f"--source={world / 'data'}", "--start=2", "--num_prompts=10", f"--output={tmp_path / 'gold'}"]
    generation_eval2.main([*flags, *scoring_flags(world)])
    generation_eval1_2.main([f"--val_path={tmp_path}", "--val_files", "gold"])
    prompts = pd.read_csv(tmp_path / "gold" / "prompts.csv")
    few = prompts["responses"] < 4
    assert few.any()
    for name in ("compression_ratio", "homogenization_score", "ngram_diversity_score"):
        assert prompts[name].isna().equals(few)


@pytest.mark.parametrize("flags", [{"num_samples": 0}, {"sample_batch_size": 0}, {"sample_batch_size": -1}])
def test_no_samples_are_not_asked_for(world, tmp_path, capsys, flags):
    with pytest.raises(SystemExit):
        sample.main(sampling_flags(world, tmp_path / "run", **flags))
    assert "must be at least 1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
