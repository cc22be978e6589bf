"""Sampling with vLLM: a stand-in with its command line serves on loopback; started, asked and stopped by our commands."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import peft
import pytest
from transformers import AutoModelForCausalLM

from diversity_tuning.generation import vllm_server
from diversity_tuning.generation.local import encode_conversations
from diversity_tuning.generation.requests import row_key, user_request
from diversity_tuning.policy import policy_tokenizer
from scripts_eval import generation_eval1_1, sample, sample_adapters
from tests.generation import fake_vllm
from tests.scripts_eval.test_evaluation import sampling_flags, scoring_flags

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def adapters(world, tmp_path_factory):
    """Two adapters of the base model, of ranks 3 and 12."""
    folders = {}
    for name, rank in (("dpo", 3), ("ddpo-both", 12)):
        model = AutoModelForCausalLM.from_pretrained(world / "base")
        config = peft.LoraConfig(r=rank, target_modules=["q_proj", "v_proj"], base_model_name_or_path=str(world / "base"))
        folders[name] = tmp_path_factory.mktemp("adapters") / name
        peft.get_peft_model(model, config).save_pretrained(folders[name])
        policy_tokenizer(str(world / "base")).save_pretrained(folders[name])
    return folders


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """The folder in which the stand-in writes what it was asked; ``vllm`` on the PATH is the stand-in."""
    folder, binary = tmp_path / "fake", tmp_path / "bin" / "vllm"
    folder.mkdir()
    binary.parent.mkdir()
    binary.write_text(f'#!/bin/sh\nexec {sys.executable} {fake_vllm.__file__} "$@"\n')
    binary.chmod(0o755)
    monkeypatch.setenv("FAKE_VLLM", str(folder))
    monkeypatch.setenv("PATH", f"{binary.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(vllm_server, "gpus", lambda: 8)
    monkeypatch.setattr(vllm_server, "_GRACE", 1.0)
    monkeypatch.delenv("VLLM", raising=False)
    return folder


def read(folder, name):
    path = folder / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def runs(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def assert_stopped(fake):
    for call in read(fake, "calls.jsonl"):
        for pid in (call["pid"], call["child"]):
            for _ in range(200):
                if not runs(pid):
                    break
                time.sleep(0.05)
            assert not runs(pid), "the server and its children have ended"


def flags(world, output, **changes):
    settings = {"num_samples": 2, "max_new_tokens": 9, "temperature": 0.9, "top_k": 7, "top_p": 0.8, "repetition_penalty": 1.2}
    return sampling_flags(world, output, **{**settings, **changes})


def several(world, adapters, output):
    return [*flags(world, output), "--adapters", *(f"{name}={folder}" for name, folder in adapters.items())]


def test_one_server_samples_every_adapter_and_is_stopped(world, adapters, fake, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    sample_adapters.main(several(world, adapters, tmp_path / "eval"))
    (call,) = read(fake, "calls.jsonl")
    asked = fake_vllm.parse(call["argv"])
    assert (asked.model, asked.host, asked.generation_config) == (str(world / "base"), "127.0.0.1", "vllm")
    assert asked.enable_lora
    assert (asked.max_lora_rank, asked.max_loras, asked.max_cpu_loras) == (16, 2, 2)
    assert asked.lora_modules == [f"{name}={folder}" for name, folder in adapters.items()]
    assert (asked.tensor_parallel_size, asked.data_parallel_size) == (1, 8)
    bodies = read(fake, "bodies.jsonl")
    assert {body["path"] for body in bodies} == {"/v1/completions"}
    assert {body["key"] for body in bodies} == {None}, "nobody's key is sent to a local server"
    assert [body["model"] for body in bodies] == sorted((body["model"] for body in bodies), key=list(adapters).index)
    assert_stopped(fake)
    for name, folder in adapters.items():
        record = json.loads((tmp_path / "eval" / name / "sampling.json").read_text())
        assert record["finished"]
        assert record["arguments"]["engine"] == "vllm"
        assert record["arguments"]["top_k"] == 7
        assert record["inputs"].keys() == {"source", "base_model", "adapter"}
        rows = read(tmp_path / "eval" / name, "samples.jsonl")
        tokenizer = policy_tokenizer(str(world / "base"), str(folder))
        by_seed = {body["seed"]: body for body in bodies if body["model"] == name}
        assert len(rows) == len(by_seed)
        for row in rows:
            body = by_seed[row_key(42, f"0\0{row['prompt']}", row["sample"]) % 2**31]
            assert body["prompt"] == encode_conversations(tokenizer, [user_request(row["prompt"])])[0]
            assert body["stop_token_ids"] == [tokenizer.eos_token_id]
            sent = ("temperature", "top_k", "top_p", "repetition_penalty", "max_tokens")
            assert [body[key] for key in sent] == [0.9, 7, 0.8, 1.2, 9]
            assert len(body["prompt"]) + 9 <= asked.max_model_len
            assert (row["tokens"], row["finished"]) in ((5, True), (9, False)), "the stop token is not counted"
            assert row["response"] != "not read"


def test_what_is_there_starts_no_server_and_is_scored_by_the_same_flags(world, adapters, fake, tmp_path, capsys):
    sample_adapters.main(several(world, adapters, tmp_path / "eval"))
    sample_adapters.main(several(world, adapters, tmp_path / "eval"))
    adapter = ["--engine", "vllm", "--adapter", str(adapters["dpo"])]
    generation_eval1_1.main([*flags(world, tmp_path / "eval" / "dpo"), *adapter, *scoring_flags(world)])
    assert len(read(fake, "calls.jsonl")) == 1
    assert (tmp_path / "eval" / "dpo" / "metrics.json").is_file()
    assert capsys.readouterr().out.count("responses are there") == 3
    other = ["--engine", "vllm", "--adapter", str(adapters["ddpo-both"])]
    with pytest.raises(SystemExit):
        sample.main([*flags(world, tmp_path / "eval" / "dpo"), *other])
    assert "another adapter" in capsys.readouterr().err


def test_one_adapter_starts_a_server_of_its_own_and_frees_the_gpus_before_scoring(world, adapters, fake, tmp_path, monkeypatch):
    from diversity_tuning.evaluation.scoring import run

    def summarise(*args, **options):
        assert_stopped(fake)
        return original(*args, **options)

    original = run.summarise
    monkeypatch.setattr(run, "summarise", summarise)
    more = ["--engine", "vllm", "--adapter", str(adapters["dpo"]), "--data_parallel", "2", "--vllm_flags", "--dtype bfloat16"]
    generation_eval1_1.main([*flags(world, tmp_path / "dpo"), *more, *scoring_flags(world)])
    asked = fake_vllm.parse(read(fake, "calls.jsonl")[0]["argv"])
    assert (asked.max_lora_rank, asked.data_parallel_size, asked.dtype) == (8, 2, "bfloat16")
    assert (tmp_path / "dpo.vllm.log").read_text().startswith("$ ")


@pytest.mark.parametrize(("given", "sent"), [([], "float32"), (["--dtype", "bfloat16"], "bfloat16")])
def test_the_precision_is_that_of_the_saved_weights_unless_given(world, adapters, fake, tmp_path, given, sent):
    """By itself vLLM would serve float32 weights in half precision. One flag of vLLM's may stand alone, too."""
    flags_of_vllm = ["--vllm_flags", "--enable-lora"]
    sample_adapters.main([*several(world, {"dpo": adapters["dpo"]}, tmp_path / "eval"), *given, *flags_of_vllm])
    (call,) = read(fake, "calls.jsonl")
    assert fake_vllm.parse(call["argv"]).dtype == sent
    assert call["argv"][-1] == "--enable-lora"


@pytest.mark.parametrize("number", [0, 2])
def test_without_a_gpu_no_prompt_is_read_in_parts(monkeypatch, fake, number):
    """vLLM for the CPU ends when the prompt of a seeded request is."""
    monkeypatch.setattr(vllm_server, "gpus", lambda: number)
    server = vllm_server.VllmServer("m", {}, "log")
    assert ("--no-enable-chunked-prefill" in server.command(100)) is (number == 0)
    assert server.gpus == max(number, 1)


@pytest.mark.parametrize(("number", "slots"), [(0, "3"), (2, "2")])
def test_without_a_gpu_there_is_an_empty_slot_for_the_base_model(monkeypatch, fake, adapters, number, slots):
    """vLLM for the CPU reads "no adapter" as the last slot, so that the base would answer as the last adapter."""
    monkeypatch.setattr(vllm_server, "gpus", lambda: number)
    asked = fake_vllm.parse(vllm_server.VllmServer("m", adapters, "log").command(100)[1:])
    assert (str(asked.max_loras), str(asked.max_cpu_loras)) == (slots, slots)


def test_two_servers_are_never_given_the_same_port():
    """A port is held from before its server binds it, seconds later, until that is stopped."""
    first = vllm_server._held_port()
    port = first.getsockname()[1]
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.socket() as server:  # as vLLM binds it
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), 5):
                server.accept()[0].close()
    first.close()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("die", "vLLM ended with code 1: torch.OutOfMemoryError: CUDA out of memory; its log: "),
        ("silent", "vLLM has not answered for 1 s (--server_timeout)"),
        ("crash", "vLLM ended with code 1: RuntimeError: engine core died"),
    ],
)
def test_a_server_that_fails_is_one_line_and_leaves_nothing_running(world, adapters, fake, tmp_path, capsys, fault, said):
    (fake / "fault").write_text(fault)
    with pytest.raises(SystemExit) as ended:
        sample_adapters.main(
            [
                *several(world, adapters, tmp_path / "eval"),
                *("--server_timeout 1 --concurrency 1".split() if fault == "silent" else ["--concurrency", "1"]),
            ]
        )
    error = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2
    assert error.startswith(f"error: {said}")
    assert_stopped(fake)


def test_a_server_that_does_not_want_to_end_is_killed(world, adapters, fake, tmp_path):
    (fake / "fault").write_text("stubborn")
    sample_adapters.main(several(world, {"dpo": adapters["dpo"]}, tmp_path / "eval"))
    assert_stopped(fake)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_process_stops_its_server(fake, tmp_path, number):
    """Ctrl-C, the end of a job, a closed terminal: while the server starts, and while it is used."""
    for fault in ("silent", ""):
        (fake / "fault").write_text(fault)
        (fake / "calls.jsonl").unlink(missing_ok=True)
        code = (
            "import sys, time; from diversity_tuning.generation.vllm_server import VllmServer\n"
            "server = VllmServer('m', {}, sys.argv[1], data_parallel=1); server.start(10)\n"
            "print('up', flush=True); time.sleep(60)"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, tmp_path / "log"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            lines = 1 if fault else 2  # "vLLM: … its log", then "up"
            assert [process.stdout.readline() for _ in range(lines)][-1]
            for _ in range(100):
                if read(fake, "calls.jsonl"):
                    break
                time.sleep(0.1)
            process.send_signal(number)
            assert process.wait(30) != 0
        finally:
            process.kill()
            process.wait()
        assert len(read(fake, "calls.jsonl")) == 1
        assert_stopped(fake)


def test_a_killed_command_takes_a_server_along_that_does_not_heed_sigterm(fake, tmp_path):
    """As vLLM while it starts."""
    (fake / "fault").write_text("stubborn")
    code = (
        "import sys, time; from diversity_tuning.generation import vllm_server; vllm_server._GRACE = 1.0\n"
        "server = vllm_server.VllmServer('m', {}, sys.argv[1], data_parallel=1); server.start(10)\n"
        "print('up', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "log"], cwd=ROOT, stdout=subprocess.PIPE)
    assert [process.stdout.readline() for _ in range(2)][-1] == b"up\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert_stopped(fake)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_samples_ends_at_once_and_keeps_what_has_come(world, adapters, fake, tmp_path, number):
    """What is under way is not waited for: nobody has paid for it, and a job that ends is given seconds."""
    (fake / "fault").write_text("slow")
    words = [*several(world, {"dpo": adapters["dpo"]}, tmp_path / "eval"), "--concurrency", "2"]
    code = "import sys; from scripts_eval import sample_adapters; sample_adapters.main(sys.argv[1:])"
    options = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-c", code, *words], **options)
    try:
        for _ in range(1200):
            if len(read(fake, "bodies.jsonl")) > 2 and read(tmp_path / "eval" / "dpo", "samples.jsonl"):
                break
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(number)
        assert process.wait(120) == 128 + number, "the server would answer in 600 s"
    finally:
        process.kill()
        process.wait()
    assert_stopped(fake)
    (fake / "fault").unlink()
    (row,) = read(tmp_path / "eval" / "dpo", "samples.jsonl")
    sample_adapters.main(words)
    assert read(tmp_path / "eval" / "dpo", "samples.jsonl")[0] == row


def test_what_vllm_cannot_serve_is_said_before_it_is_started(world, adapters, fake, tmp_path, capsys, monkeypatch):
    def refused(command):
        with pytest.raises(SystemExit) as ended:
            sample_adapters.main(command)
        assert ended.value.code == 2
        return capsys.readouterr().err

    dora = tmp_path / "dora"
    dora.mkdir()
    (dora / "adapter_config.json").write_text(
        (adapters["dpo"] / "adapter_config.json").read_text().replace('"use_dora": false', '"use_dora": true')
    )
    (dora / "provenance.json").write_text("{}")
    assert "vLLM cannot serve adapters with use_dora; give --engine local" in refused(
        several(world, {"d": dora}, tmp_path / "a")
    )
    assert "no adapter here" in refused(several(world, {"d": tmp_path / "nowhere"}, tmp_path / "a"))
    assert "each name once" in refused([*flags(world, tmp_path / "a"), "--adapters", "dpo"])
    monkeypatch.setenv("VLLM", str(tmp_path / "no" / "vllm"))
    assert "not installed" in refused(several(world, adapters, tmp_path / "a"))
    assert read(fake, "calls.jsonl") == []
