"""One and two processes on the CPU, plain and sharded by FSDP 2 (real, over gloo): nothing is rounded, nothing counts twice."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What tests/trainers/together.py finds on one process and on two."""

    def launch(processes):
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", processes, "--master_port", free_port()),
            *("-m", "tests.trainers.together", tmp_path_factory.mktemp(f"together{processes}")),
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        return subprocess.Popen(
            list(map(str, command)), cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    found = []
    for running in [launch(1), launch(2)]:
        output, errors = running.communicate(timeout=300)
        assert running.returncode == 0, errors[-3000:]
        found.append(json.loads(next(line for line in output.splitlines() if line.startswith("ANSWER "))[7:]))
    return found


def test_the_evaluation_loss_is_the_mean_over_the_pairs_on_any_number_of_processes(answers):
    one, two = (answer["evaluation"] for answer in answers)
    per_pair = ("dpo", "ddpo", "dorpo")
    assert {name: two[name] for name in per_pair} == pytest.approx({name: one[name] for name in per_pair}, rel=1e-5)


def test_rewards_of_an_evaluation_are_means_over_the_pairs_on_any_number_of_processes(answers):
    one, two = (answer["evaluation"]["by pair"] for answer in answers)
    assert two == pytest.approx(one, rel=1e-4, abs=1e-5)
    assert one["rewards/margins"] == pytest.approx(one["rewards/chosen"] - one["rewards/rejected"], abs=1e-5)


def test_losses_of_a_batch_leave_filled_in_pairs_out(answers):
    """4 + 1 pairs on one process and on two: the batches are the same, so the losses are."""
    one, two = (answer["evaluation"] for answer in answers)
    assert (two["released"], two["batch"]) == pytest.approx((one["released"], one["batch"]), rel=1e-5)


@pytest.mark.parametrize("processes", [1, 2])
def test_margins_of_long_pairs_survive_sharding_in_bf16(answers, processes):
    """Sums of -4,500 nats are multiples of 32 in bfloat16; what is left is the rounding of the matrix products."""
    single, sharded = answers[0]["single"], answers[processes - 1]["sharded"]
    assert max(single["chosen"]) < -4000
    assert sharded["margins"] == pytest.approx(single["margins"], abs=6)
    assert sharded["chosen"] == pytest.approx(single["chosen"], abs=10)


def test_the_first_step_sees_rounded_log_probabilities(answers):
    for answer in answers:
        assert "rounded to bfloat16 before they were summed" in answer["rounded"]


def test_orpo_of_a_whole_model_is_sharded_without_a_second_one(answers):
    one, two = (answer["orpo"] for answer in answers)
    assert one > 0
    assert two > 0
