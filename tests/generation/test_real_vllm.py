"""Real vLLM with SmolLM2: skipped unless DIVERSITY_TUNING_VLLM names its executable; CONTRIBUTING.md has the command.

The stand-in of tests/scripts_eval/test_vllm.py shows what our commands send; here vLLM answers. Some minutes on a CPU.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from diversity_tuning.builtin import model_source
from diversity_tuning.errors import UserError
from diversity_tuning.generation import vllm_server
from diversity_tuning.generation.engine import EngineConfig, make_engine, make_server
from diversity_tuning.generation.requests import Failure, Sample, SamplingSettings, user_request
from diversity_tuning.policy import policy_tokenizer

VLLM = os.environ.get("DIVERSITY_TUNING_VLLM")
ROOT = Path(__file__).parents[2]
FLAGS = os.environ.get("DIVERSITY_TUNING_VLLM_FLAGS", "--enforce-eager")
PROMPTS = [
    "Write one sentence about a door.", "What is a surprising use for a brick?", "Name three animals that live in the sea.",
]  # fmt: skip
GREEDY = SamplingSettings(top_k=1, max_new_tokens=24)
MARK = "DIVERSITY_TUNING_TEST"  # in the environment of every process that a test starts, so that none is missed

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not VLLM, reason="DIVERSITY_TUNING_VLLM does not name a vllm executable (CONTRIBUTING.md)"),
]


@pytest.fixture(scope="module", autouse=True)
def executable():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM", VLLM)
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"))
        patch.setenv("VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", "3600")  # a step on a busy machine may take minutes
        patch.setenv("VLLM_CPU_OMP_THREADS_BIND", os.environ.get("VLLM_CPU_OMP_THREADS_BIND", "nobind"))
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """SmolLM2's folder with generation settings that would change every text if an engine used them."""
    folder = tmp_path_factory.mktemp("model") / "base"
    shutil.copytree(model_source("builtin:smollm2"), folder)
    settings = json.loads((folder / "generation_config.json").read_text())
    settings |= {"do_sample": True, "temperature": 3.0, "no_repeat_ngram_size": 2, "repetition_penalty": 2.0, "top_k": 3}
    (folder / "generation_config.json").write_text(json.dumps(settings | {"suppress_tokens": list(range(400, 900))}))
    (folder / "provenance.json").unlink()  # digests of the files before
    return folder


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    """Two LoRA adapters that change what the model writes, of ranks 4 and 12 on all linear layers."""
    folders = {}
    for name, rank in (("one", 4), ("two", 12)):
        torch.manual_seed(rank)
        config = peft.LoraConfig(r=rank, lora_alpha=rank / 2, target_modules="all-linear", base_model_name_or_path=str(base))
        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        for label, parameter in model.named_parameters():
            if "lora_B" in label:
                torch.nn.init.normal_(parameter, std=0.06)
        folders[name] = tmp_path_factory.mktemp("adapters") / name
        model.save_pretrained(folders[name])
        policy_tokenizer(str(base)).save_pretrained(folders[name])
    return folders


def config_of(base, adapters, name, engine="vllm", **more):
    adapter = str(adapters[name]) if name in adapters else None
    model = {"model": name if adapter else str(base)} if engine == "vllm" else {}
    return EngineConfig(engine=engine, base_model=str(base), adapter=adapter, vllm_flags=FLAGS, **model, **more)


@pytest.fixture(scope="module")
def server(base, adapters, tmp_path_factory):
    log = str(tmp_path_factory.mktemp("log") / "vllm.log")
    folders = {name: str(folder) for name, folder in adapters.items()}
    with make_server(config_of(base, adapters, "base"), folders, log) as running:
        running.start(1024)
        yield running


def ask(base, adapters, settings, name="base", prompts=PROMPTS, seed=0, samples=1, server=None, **more):
    """Answers of the local engine, or of ``server``."""
    made = make_engine(config_of(base, adapters, name, "vllm" if server else "local", **more), server)
    requests = [user_request(prompt, number) for prompt in prompts for number in range(samples)]
    found = dict(one for answers in made.complete(requests, settings, seed) for one in answers)
    return [found[place] for place in range(len(requests))]


SHORT = SamplingSettings(max_new_tokens=12)
LONGER = SamplingSettings(top_k=1, max_new_tokens=48)
PLAIN = {"repetition_penalty": 1.0, "max_new_tokens": 12}
HOT = {"temperature": 1.5, "top_k": 0, "top_p": 1.0, **PLAIN}
CAPITAL = ["What is the capital of France? Answer in one word."]
LONG = (
    "Go on with this story in one sentence. "
    + "The old house stood at the end of the lane, and nobody knew who had lit the lamp. " * 32
)
THOUGHT = r"<think>[a-z]{4,9} [a-z]{4,9}</think>A (red|blue) door\."
NEVER_CLOSED = r"<think>[a-z ]{150,200}"
CASES = {
    **{f"greedy {name}": dict(settings=GREEDY, name=name) for name in ("base", "one", "two")},
    **{
        f"seed {seed}": dict(settings=SHORT, name="one", prompts=PROMPTS[:2], seed=int(seed), samples=2)
        for seed in ("1", "01", "2")
    },
    "likeliest": dict(settings=SamplingSettings(top_k=1, **PLAIN), prompts=PROMPTS[:2]),
    "hot": dict(settings=SamplingSettings(**HOT), prompts=PROMPTS[:2]),
    "min_p": dict(settings=SamplingSettings(min_p=1.0, **HOT), prompts=PROMPTS[:2]),
    "top_p": dict(settings=SamplingSettings(**HOT | {"top_p": 1e-6}), prompts=PROMPTS[:2]),
    "turn": dict(settings=SamplingSettings(top_k=1, repetition_penalty=1.0, max_new_tokens=24), prompts=CAPITAL),
    "long": dict(settings=SHORT, prompts=[f"{LONG} {number}." for number in range(4)]),
    "thought": dict(settings=LONGER, prompts=PROMPTS[:1], extra_body={"structured_outputs": {"regex": THOUGHT}}),
    "never closed": dict(settings=GREEDY, prompts=PROMPTS[:1], extra_body={"structured_outputs": {"regex": NEVER_CLOSED}}),
}  # fmt: skip


@pytest.fixture(scope="module")
def told(base, adapters, server):
    """The answers of all cases, asked at once, so that they share the steps of the server."""
    with ThreadPoolExecutor(len(CASES)) as pool:
        answers = pool.map(lambda case: ask(base, adapters, server=server, **case), CASES.values())
        return dict(zip(CASES, answers, strict=True))


@pytest.mark.parametrize("name", ["base", "one", "two"])
def test_greedy_texts_are_those_of_the_local_engine(base, adapters, told, name):
    """Token for token, with the paper's repetition penalty, whatever the model's own generation_config says."""
    assert told[f"greedy {name}"] == ask(base, adapters, GREEDY, name)
    assert all(sample.tokens > 3 for sample in told[f"greedy {name}"])


def test_every_model_of_one_server_is_another(told):
    assert len({tuple(sample.text for sample in told[f"greedy {name}"]) for name in ("base", "one", "two")}) == 3


def test_a_seed_decides_the_text(told):
    texts = [[sample.text for sample in told[f"seed {seed}"]] for seed in ("1", "01", "2")]
    assert texts[0] == texts[1]
    assert not set(texts[0]) & set(texts[2])
    assert len(set(texts[0])) == 4, "two samples of a prompt have other seeds"


@pytest.mark.parametrize("cut", ["min_p", "top_p"])
def test_a_cut_to_the_likeliest_token_is_greedy(told, cut):
    """At temperature 1.5 and without top-k, what min-p 1 or a tiny top-p leave is one token."""
    assert told[cut] == told["likeliest"]
    assert told["hot"] != told["likeliest"]


def test_long_prompts_with_seeds_are_answered(told):
    """Together they are more than vLLM reads in one step."""
    assert all(isinstance(sample, Sample) for sample in told["long"])


def test_a_response_ends_with_its_turn(base, adapters, told):
    (sample,) = told["turn"]
    assert [sample] == ask(base, adapters, **CASES["turn"])
    assert sample.finished
    assert sample.tokens < 24
    assert "<|im_end|>" not in sample.text


def test_reasoning_is_cut_off(told):
    """vLLM is made to write it, by a regular expression."""
    (sample,) = told["thought"]
    assert sample.text in ("A red door.", "A blue door.")
    assert sample.thinking > len("<think></think>")
    assert isinstance(told["never closed"][0], Failure)


def test_a_port_that_is_taken_is_one_line(base, adapters, tmp_path, monkeypatch):
    """Nobody is given a port that is held; where somebody has taken it all the same, vLLM says so."""
    held = vllm_server._held_port()
    held.setsockopt(vllm_server.socket.SOL_SOCKET, vllm_server.socket.SO_REUSEPORT, 0)
    held.listen()
    monkeypatch.setattr(vllm_server, "_held_port", lambda: held)
    server = make_server(config_of(base, adapters, "base"), {}, str(tmp_path / "vllm.log"))
    with pytest.raises(UserError, match=r"vLLM ended with code 1: .*[Aa]ddress already in use"):
        server.start(256)


@contextmanager
def command(base, adapters, output, *more):
    """``sample_adapters`` on both adapters, as a process; with it comes a function that counts what of it still runs."""
    mark = uuid.uuid4().hex
    source = output.parent / "prompts.jsonl"
    source.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))
    words = [
        sys.executable, "-m", "scripts_eval.sample_adapters", "--source", source, "--split", "train", "--start", "0",
        "--num_samples", "3", "--max_new_tokens", "12", "--base_model", base, "--output", output, "--vllm_flags", FLAGS, *more,
        "--adapters", *(f"{name}={folder}" for name, folder in adapters.items()),
    ]  # fmt: skip
    process = subprocess.Popen(
        list(map(str, words)), cwd=ROOT, env={**os.environ, MARK: mark}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )

    def running():
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={mark}".encode() in (place / "environ").read_bytes():
                    found.append(int(place.name))
            except OSError:
                continue
        return found

    try:
        yield process, running
    finally:
        for number in running():
            os.kill(number, signal.SIGKILL)
        process.wait()


def until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.2)


def rows(folder):
    path = folder / "samples.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def test_a_command_that_is_ended_leaves_no_process_and_goes_on(base, adapters, tmp_path):
    """SIGTERM while vLLM starts, then kill −9 while it samples, then SIGTERM while it samples, then to the end."""
    output, log = tmp_path / "eval", tmp_path / "eval.vllm.log"
    with command(base, adapters, output) as (process, running):
        until(lambda: log.is_file() and "non-default args" in log.read_text(), 300)
        process.terminate()
        process.wait(60)
        until(lambda: not running(), 10)
    assert not rows(output / "one")
    for number in (signal.SIGKILL, signal.SIGTERM):
        there = rows(output / "one")
        with command(base, adapters, output, "--concurrency", "1") as (process, running):
            until(lambda there=there: len(rows(output / "one")) > len(there), 900)
            process.send_signal(number)
            process.wait(60)
            until(lambda: not running(), 60)
        assert rows(output / "one")[: len(there)] == there
        assert len(rows(output / "one")) < 3 * len(PROMPTS), "it was in the middle"
    there = rows(output / "one")
    with command(base, adapters, output) as (process, running):
        said = process.communicate(timeout=900)[1].decode()
        assert process.returncode == 0, said[-2000:]
        until(lambda: not running(), 10)
    for name in adapters:
        found = rows(output / name)
        assert {(row["prompt_id"], row["sample"]) for row in found} == {(i, j) for i in range(len(PROMPTS)) for j in range(3)}
        assert len(found) == 3 * len(PROMPTS)
        assert json.loads((output / name / "sampling.json").read_text())["finished"]
    assert rows(output / "one")[: len(there)] == there
