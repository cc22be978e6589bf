"""Ctrl-C, as a terminal sends it: to every process of the command."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.generation.server import chat_server
from tests.scripts_dataset_cleaner.helpers import posts, write_jsonl

ROOT = Path(__file__).parents[1]
SLOW = """
import sys, time
from diversity_tuning.data import score

def slowly(batch, indices, **options):
    time.sleep(0.5)
    print("scoring a batch", flush=True)
    return batch_of(batch, indices, **options)

batch_of, score.score_batch = score.score_batch, slowly
import importlib
importlib.import_module("scripts_dataset_cleaner.0_data_prep_scoring").main(sys.argv[1:])
"""


def interrupted(command, ready, times=1):
    """Exit code and stderr of a command that is sent SIGINT, with its children, when ``ready(process)`` returns."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        ready(process)
        os.killpg(process.pid, signal.SIGINT)
        for _ in range(times - 1):
            while "Ctrl-C again" not in (line := process.stderr.readline()):
                assert line, "the command ended at the first Ctrl-C"
            os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said


def ends_well(code, said):
    assert code == 130, said
    assert said.strip().splitlines()[-1] == "stopped; the same command goes on"
    assert "Traceback" not in said


@pytest.mark.parametrize("processes", [1, 2])
def test_a_stage_with_worker_processes(tmp_path, processes):
    source = write_jsonl(tmp_path / "posts.jsonl", posts(count=900, responses=2))
    flags = ["--source", source, "--data_path", tmp_path / "out", "--num_proc", processes]
    command = [sys.executable, "-c", SLOW, *map(str, flags)]
    ends_well(*interrupted(command, lambda process: process.stdout.readline()))
    assert [path.name for path in tmp_path.iterdir()] == ["posts.jsonl"]


def test_requests_under_way_are_awaited_or_given_up_at_the_second(tmp_path):
    asked, answer = threading.Event(), threading.Event()

    def slow(body, times):
        asked.set()
        answer.wait(60)
        return {"choices": []}

    from datasets import Dataset, DatasetDict

    rows = [{"post_title": f"t{number}", "post_text": ""} for number in range(4)]
    DatasetDict({"test": Dataset.from_list(rows)}).save_to_disk(tmp_path / "data")
    with chat_server(slow) as server:
        flags = f"--source {tmp_path}/data --start 0 --engine openai --base_url {server.url} --model m --cache {tmp_path}/cache"
        command = [sys.executable, "-m", "scripts_eval.sample", *flags.split(), "--output", str(tmp_path / "run")]
        code, said = interrupted(command, lambda process: asked.wait(60), times=2)
        answer.set()
    ends_well(code, said)
