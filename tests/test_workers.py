"""Worker processes that are killed: what they held stops nobody, and the command ends with one line."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks")
BAR = """
import os, signal, tqdm
from tqdm.contrib.concurrent import thread_map  # a class of bars below tqdm's own, with a lock of its own once one is made
from datasets.utils import tqdm as bars
{early}
from diversity_tuning.workers import lock_bars_of_threads
lock_bars_of_threads()
worker = os.fork()
if not worker:
    with bars.get_lock():
        os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(worker, 0)
print(sum(bars(range(5), disable=False)), sum(tqdm.tqdm(range(5))))
"""
MAP = """
import functools, os, signal, threading, time
from datasets import Dataset
from multiprocess import active_children
from diversity_tuning import cli, workers
cli.bounded = functools.partial(workers.bounded, 2)

def work(batch, rank):
    if rank == 0:
        time.sleep(60)
    if {name!r} == "itself":
        os.kill(os.getpid(), signal.SIGKILL)
    return batch

def kill():
    while True:
        time.sleep(1)
        for one in active_children():
            if one.name.endswith({name!r}):
                os.kill(one.pid, signal.SIGKILL)

@cli.command
def main(argv=None):
    threading.Thread(target=kill, daemon=True).start()
    Dataset.from_dict({{"a": list(range(40))}}).map(work, batched=True, with_rank=True, num_proc=3)

main([])
"""


def run(text: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("early", ["tqdm.tqdm(range(1), disable=True)", "bars(range(1), disable=True)"])
def test_a_worker_killed_inside_the_lock_of_progress_bars_stops_no_bar(early):
    ended = run(BAR.format(early=early))
    assert (ended.returncode, ended.stdout) == (0, "10 10\n"), ended.stderr


@pytest.mark.parametrize("name", ["itself", "-2", "-3", "-4"])  # busy; one of the two that wait holds the queue; the manager
def test_a_killed_worker_ends_the_command_with_one_line(name):
    ended = run(MAP.format(name=name))
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("error: a worker process was killed, most often for memory; use fewer")
    assert "Traceback" not in ended.stderr
