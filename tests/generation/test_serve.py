"""The HTTP engine against `transformers serve` with a tiny model, on this machine."""

import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import torch
from transformers import GenerationConfig
from transformers.utils.import_utils import is_serve_available

from diversity_tuning.generation.apis import OpenAI
from diversity_tuning.generation.engine import EngineConfig
from diversity_tuning.generation.local import encode_conversations
from diversity_tuning.generation.remote import HttpEngine
from diversity_tuning.generation.requests import Sample, SamplingSettings, row_key, user_request
from diversity_tuning.judging.principles import JudgeFile
from diversity_tuning.reward_functions import load_reward
from studies.judges.adversarial_run import write_judge
from tests.tiny import make_model, make_tokenizer

pytestmark = pytest.mark.skipif(not is_serve_available(), reason="needs openai, fastapi and uvicorn (requirements.txt)")
PROMPTS = ["a door", "the cat sat under the moon"]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Model, tokenizer and the URL they are served at. The server samples only where the model's own settings say so."""
    folder = tmp_path_factory.mktemp("served") / "tiny"
    tokenizer = make_tokenizer()
    model = make_model(tokenizer).eval()
    model.generation_config = GenerationConfig(
        do_sample=True, top_k=50, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "transformers.cli.transformers",
        "serve",
        str(folder),
        "--host=127.0.0.1",
        f"--port={port}",
    ]
    log = (folder.parent / "log").open("w+")
    process = subprocess.Popen([*command, "--device=cpu"], env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log)
    try:
        _wait(process, port, folder.parent / "log")
        yield model, tokenizer, str(folder), f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def _wait(process, port, log):
    for _ in range(1200):
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"not up after 120 s: {log.read_text()[-3000:]}")


def ask(served, cache, requests, settings, seed=0):
    _, _, name, url = served
    engine = HttpEngine(OpenAI(), name, url, concurrency=1, cache=str(cache), max_retries=1, timeout=60)
    pairs = [pair for batch in engine.complete(requests, settings, seed) for pair in batch]
    return [answer for _, answer in sorted(pairs, key=lambda pair: pair[0])]


def test_samples_are_those_of_generate_with_the_seed_that_was_sent(served, tmp_path):
    model, tokenizer, _, _ = served
    settings = SamplingSettings(max_new_tokens=12, top_p=0.9, temperature=1.2)
    requests = [user_request(prompt, number) for prompt in PROMPTS for number in range(3)]
    answers = ask(served, tmp_path, requests, settings)
    assert all(isinstance(answer, Sample) for answer in answers), answers
    assert len({answer.text for answer in answers}) == 6
    for request, answer in zip(requests, answers, strict=True):
        ids = torch.tensor(encode_conversations(tokenizer, [request]))
        torch.manual_seed(row_key(0, f"0\0{request.key}", request.sample) % 2**31)
        config = GenerationConfig(max_new_tokens=12, top_p=0.9, temperature=1.2, **_model_settings(model))
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)[0, ids.shape[1] :]
        assert answer.text == tokenizer.decode(out, skip_special_tokens=True).strip()
        assert answer.tokens == len(out)
        assert answer.finished == (len(out) < 12)


def _model_settings(model):
    ours = model.generation_config
    return {name: getattr(ours, name) for name in ("do_sample", "top_k", "eos_token_id", "pad_token_id")}


def test_the_same_again_by_seed_and_from_disk(served, tmp_path):
    settings = SamplingSettings(max_new_tokens=8)
    requests = [user_request("a door", number) for number in range(2)]
    first = ask(served, tmp_path / "a", requests, settings)
    assert ask(served, tmp_path / "b", requests, settings) == first
    assert ask(served, tmp_path / "b", requests, settings, seed=1) != first
    assert ask((None, None, served[2], served[3]), tmp_path / "a", requests, settings) == first


def test_what_the_server_refuses_is_told(served, tmp_path):
    _, _, name, url = served
    engine = HttpEngine(OpenAI(), name, url, {"top_k": 50}, cache=str(tmp_path), max_retries=0)
    ((_, answer),) = next(engine.complete([user_request("a door")], SamplingSettings(max_new_tokens=4)))
    assert "HTTP 422" in answer.error
    assert "top_k" in answer.error


def test_a_model_that_can_judge_nothing_gives_no_verdict(served, tmp_path, monkeypatch, capsys):
    """A real model behind a real server, whose replies are no JSON: every verdict is None, and none is scored 0."""
    _, _, name, url = served
    monkeypatch.setenv("JUDGE_CACHE", str(tmp_path / "paid"))
    engine = EngineConfig("openai", model=name, base_url=url, concurrency=1, max_retries=0, timeout=60)
    judge = JudgeFile(["A story ends."], "en", "stories", engine, SamplingSettings(max_new_tokens=4))
    write_judge(tmp_path / "judge.yaml", judge)
    reward = load_reward(str(tmp_path / "judge.yaml"))
    assert reward(["a door"], ["the cat sat"], [True]) == [None]
    assert (reward.asked, reward.failed, reward.usage.calls) == (1, 1, 3)  # asked again twice, with other seeds
    assert "warning: " in capsys.readouterr().err
    transcript = next((tmp_path / "paid").glob("*.jsonl")).read_text().splitlines()
    assert len({line.split('"seed": ')[1].split(",")[0].strip("}") for line in transcript}) == 3


def test_garbage_of_a_tiny_model_is_no_verdict(served, tmp_path, capsys):
    """A stage of Path A: every reply is asked for three times, listed with what came, and no verdict is made up."""
    from tests.scripts_multi_agent.helpers import candidates, read_jsonl, stage, write_jsonl

    source = write_jsonl(tmp_path / "candidates.jsonl", candidates(1, 2))
    flags = ["--engine", "openai", "--model", served[2], "--base_url", served[3], "--cache", tmp_path / "bought"]
    stage(0, "--source", source, "--output", tmp_path / "0")
    with pytest.raises(SystemExit):
        stage(1, "--source", tmp_path / "0", "--output", tmp_path / "1", *flags, "--max_new_tokens", 8, "--max_retries", 0)
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "none of 2 responses has a usable answer; most often: no JSON object with 'strengths'" in line
    rows = read_jsonl(tmp_path / "1" / "responses.jsonl")
    assert all(row["failed"]["stage"] == "positive" and row["failed"]["reply"] for row in rows)
    assert [row["usage"]["positive"]["calls"] for row in rows] == [3, 3]
    assert all(row["usage"]["positive"]["tokens_in"] > 3 * 50 for row in rows)
