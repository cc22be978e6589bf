"""The group of processes is left before Python ends (whole commands: test_engines.py, test_training_reward_pairs.py)."""

import os
import subprocess
import sys

import pytest

from diversity_tuning import group
from tests import ending

SCRIPT = """
import sys
from diversity_tuning.group import leave, prepare
if "prepared" in sys.argv:
    prepare()
from accelerate import PartialState
state = PartialState(cpu=True)
import torch.distributed.nn.functional  # as peft does
state.wait_for_everyone()
leave()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("words", [["prepared"], []])
def test_threads_end_where_it_was_prepared(tmp_path, words):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script), *words]
    environment = {**os.environ, **ending.with_record(tmp_path), "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(command, env=environment, text=True, capture_output=True)
    assert not words or answer.returncode == 0, answer.stderr[-3000:]
    left = ending.of_groups(tmp_path)
    assert not words or ending.both_left(tmp_path)
    assert words or any(left.values()), "the import keeps the group: what prepare() is for"


def test_one_process_has_nothing_to_leave(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert not group.is_launched()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not group.is_launched()
    group.leave()
