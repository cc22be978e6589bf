"""The GRPO command: its sources and errors, killed and resumed, and as two processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset

from diversity_tuning.errors import UserError
from diversity_tuning.training import grpo as training_grpo
from diversity_tuning.training.grpo import prompts_of, short_prompts, updates_line
from scripts_grpo import generation_grpo_model_train as grpo
from tests.test_training_survival import KILLED
from tests.tiny import make_pairs, make_tokenizer
from tests.training_runs import ROOT, adapter, argv, hidden, history, make_world, stops, train, weights

ENDS = json.dumps({"sequence_bias": [[[1], 4.0]]})  # the tiny model hardly ever ends by itself
RECIPE = [
    *("--per_device_train_batch_size", "8", "--num_generations", "4", "--max_completion_length", "8", "--beta", "0.02"),
    *("--generation_kwargs", ENDS, "--reward", "builtin:length=0.1", "tests.test_training_grpo:vowels"),
]
STEPS = ["--max_steps", "3", "--learning_rate", "1e-3", "--lr_scheduler_type", "constant"]


def vowels(prompts, completions, finished):
    return [float(sum(letter in "aeiou" for letter in text)) for text in completions]


def letters(texts):
    return np.array([[text.count(chr(code)) + 0.01 for code in range(32, 127)] for text in texts])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("grpo"))


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch):
    """The encoder is a count of letters, under a name."""
    import diversity_tuning.embeddings as embeddings

    encoder = type("Letters", (), {"encode": staticmethod(letters)})
    monkeypatch.setattr(embeddings, "load_encoder", lambda name, **_: encoder)


def test_a_run_leaves_an_adapter_its_record_and_what_was_logged(world):
    """On the prompts of stage 1: two different ones of six rows; only the adapter moves."""
    flags = [*adapter(world), *RECIPE, *STEPS, "--deviation", "advantage", "--encoders", "letters"]
    flags += ["--eval_split", "test", "--eval_strategy", "steps", "--eval_steps", "3"]
    assert train(grpo, world, "run", "filtered", flags) == 0
    start, end = weights(world / "sft"), weights(world / "run")
    assert start.keys() == end.keys()
    assert any((end[name] - start[name]).abs().max() > 0 for name in start)
    first = history(world / "run")[0]
    assert {"finished/reward", "truncated/share", "length/characters", "openings/distinct", "diversity/letters"} <= first.keys()
    assert first["delta/mean"] == pytest.approx(1)
    assert 0 < first["truncated/share"] < 1
    assert any("eval_finished/reward" in row for row in history(world / "run"))
    record = json.loads((world / "run" / "provenance.json").read_text())
    assert record["request"]["reward_0"] == "builtin:length=0.1"
    assert record["arguments"]["deviation"] == "advantage"
    assert record["counts"] == {
        "train_prompts": 2, "train_prompts_too_long": 0, "eval_prompts": 2, "eval_prompts_too_long": 0,
    }  # fmt: skip
    assert "GRPO" in (world / "run" / "README.md").read_text()
    assert (world / "run" / "curves.png").is_file()
    assert not hidden(world, "run").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "grpo: --reward is missing"),
        (["--reward", "./nowhere"], "--reward ./nowhere: not there"),
        (["--reward", "builtin:length", "--deviation", "reward"], "--deviation reward needs --encoders"),
        (["--reward", "builtin:length", "--deviation", "darling", "--encoders", "x"], "needs a distinct_threshold"),
        (["--reward", "builtin:length", "--reward_weights", "1"], "and not as --reward_weights"),
        (["--reward", "builtin:length", "--num_generations", "3"], "must be divisible by num_generations (3)"),
        (["--reward", "builtin:length", "--mask_truncated_completions", "true"], "leave it off and set truncated_reward"),
        (["--reward", "builtin:length", "--max_prompt_length", "3"], "no prompt has at most --max_prompt_length 3 tokens"),
    ],
)
def test_what_a_person_can_mend_is_one_line(world, capsys, flags, message):
    line = stops(capsys, grpo, world, "stopped", "filtered", [*adapter(world), "--num_generations", "4", *flags])
    assert line.startswith("error: ")
    assert message in line
    assert not hidden(world, "stopped").exists()


def test_prompts_of_every_kind_of_row():
    titles = Dataset.from_list([{"post_title": "a", "post_text": "b"}, {"post_title": "a", "post_text": "b"}])
    assert prompts_of(titles, "x")["prompt"][:] == [[{"role": "user", "content": "a\nb"}]]
    assert prompts_of(Dataset.from_list([{"prompt": "祝福"}]), "x")["prompt"][:] == [[{"role": "user", "content": "祝福"}]]
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert prompts_of(Dataset.from_list([{"prompt": messages}]), "x")["prompt"][:] == [messages]
    pairs = make_pairs(2)
    assert prompts_of(Dataset.from_list(pairs), "x")["prompt"][:] == [row["chosen"][:1] for row in pairs]
    with pytest.raises(UserError, match="x: row 2: no prompt"):
        prompts_of(Dataset.from_list([{"prompt": "a"}, {"prompt": ""}]), "x")
    with pytest.raises(UserError, match="x: no prompts: no column 'prompt'"):
        prompts_of(Dataset.from_list([{"text": "a"}]), "x")


def exact(prompts, completions, finished, answer, hint=None):
    EXACT.append((prompts, answer))
    return [float(text == right) for text, right in zip(completions, answer, strict=True)]


EXACT = []


def test_columns_that_a_reward_takes_stay_beside_the_prompt():
    rows = Dataset.from_list([{"prompt": "a", "answer": one, "image": None, "other": 1} for one in ("x", "y", "x")])
    assert prompts_of(rows, "x").column_names == ["prompt"]
    found = prompts_of(rows, "x", [vowels, exact])
    assert (found.column_names, found["answer"][:]) == (["prompt", "answer"], ["x", "y"])
    every = prompts_of(rows, "x", [lambda prompts, completions, finished, **columns: None])
    assert every.column_names == ["prompt", "answer", "other"]
    with pytest.raises(UserError, match="x: the reward exact takes a column 'answer'; there is prompt"):
        prompts_of(rows.select_columns(["prompt"]), "x", [exact])


def test_a_reward_gets_the_columns_of_the_data_that_it_names(world):
    EXACT.clear()
    (world / "answers.jsonl").write_text("".join(json.dumps({"prompt": p, "answer": p.upper()}) + "\n" for p in "ab"))
    flags = [*adapter(world), *RECIPE[:-3], "--reward", "tests.test_training_grpo:exact", "--max_steps", "2"]
    assert train(grpo, world, "columns", "answers.jsonl", flags) == 0
    assert len(EXACT) == 2
    assert all(prompt.upper() == right for prompts, answer in EXACT for prompt, right in zip(prompts, answer, strict=True))


def test_how_many_updates_a_generation_makes_is_said():
    """Two of 64 on four processes become one of 128 on eight."""
    one = SimpleNamespace(
        per_device_train_batch_size=8, gradient_accumulation_steps=2, world_size=4, generation_batch_size=128, num_generations=4
    )
    assert "128 completions (32 prompts x 4), 2 updates of 64 completions (8 x 2 x 4 processes)" in updates_line(one)
    one.world_size = 8
    assert "1 updates of 128 completions" in updates_line(one)
    one.gradient_accumulation_steps = 4
    assert "an update: 256 completions (8 x 4 x 8 processes), from 2 generations" in updates_line(one)


def test_a_preflight_makes_one_step_says_what_came_of_it_and_leaves_nothing(world, capsys):
    from scripts_grpo import preflight

    flags = [*adapter(world), *RECIPE, "--max_steps", "500"]
    before = sorted(path.name for path in world.iterdir())
    assert preflight.main(argv(world, world / "long", "filtered", flags)) == 0
    said = capsys.readouterr().out
    for word in (
        "a generation: 8 completions (2 prompts x 4), 1 updates of 8",
        "one step, with loading",
        "truncated/share:",
        "failed/share:",
    ):
        assert word in said
    assert "next:" not in said
    assert sorted(path.name for path in world.iterdir()) == before


def test_long_prompts_are_left_out():
    """Byte-level: <|bos|>, <|user|>, the bytes, <|assistant|>."""
    prompts = prompts_of(Dataset.from_list([{"prompt": "abc"}, {"prompt": "abcd"}]), "x")
    assert [row["prompt"][0]["content"] for row in short_prompts(prompts, make_tokenizer(), 6)] == ["abc"]


def test_killed_and_started_again_is_as_never_killed(world, capsys):
    """kill -9 in step 6; the checkpoint of step 4 is gone on from, with the same samples: weights equal to the last bit."""
    saved = "--max_steps 6 --save_strategy steps --save_steps 2 --lr_scheduler_type cosine --learning_rate 1e-3".split()
    flags = [*adapter(world), *RECIPE, *saved]
    command = [sys.executable, "-c", KILLED.format(module=grpo.__name__), *argv(world, world / "killed", "filtered", flags)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert answer.returncode == -signal.SIGKILL, answer.stderr.decode()[-2000:]
    assert (hidden(world, "killed") / "checkpoint-4" / "trainer_state.json").is_file()
    assert train(grpo, world, "killed", "filtered", flags) == 0
    assert "killed: resuming from checkpoint-4" in capsys.readouterr().out
    assert train(grpo, world, "whole", "filtered", flags) == 0
    expected = weights(world / "whole")
    for name, weight in weights(world / "killed").items():
        assert torch.equal(weight, expected[name]), name
    rewards = [[row["reward"] for row in history(world / run) if "reward" in row] for run in ("killed", "whole")]
    assert rewards[0] == rewards[1]
    assert len(rewards[0]) == 6
    shutil.rmtree(world / "killed")


TWO = """
import json, sys
import numpy as np
import diversity_tuning.embeddings as embeddings
from tests import test_training_grpo as test
embeddings.load_encoder = lambda name, **_: type("Letters", (), {"encode": staticmethod(test.letters)})
from diversity_tuning.trainers import GRPOTrainer

generate = GRPOTrainer._generate_and_score_completions
def shown(self, inputs):
    output = generate(self, inputs)
    texts = self._tokenizer.batch_decode(output["completion_ids"], skip_special_tokens=True)
    prompts = [row["prompt"][0]["content"] for row in inputs]
    ended = [any(token == 1 for token in ids) for ids in output["completion_ids"].tolist()]
    row = [self.accelerator.process_index, prompts, texts, ended, output["advantages"].tolist()]
    print("ROW " + json.dumps(row), flush=True)
    return output
GRPOTrainer._generate_and_score_completions = shown
sys.exit(test.grpo.main(sys.argv[1:]))
"""


def test_two_processes_share_a_group(world, tmp_path):
    """A group of four lies on both, two each: its advantages are those of the four, by hand, with δ from all four vectors."""
    from diversity_tuning.trainers.group_advantages import group_advantages

    (tmp_path / "two.py").write_text(TWO)
    flags = [*adapter(world), *RECIPE, "--max_steps", "1", "--deviation", "reward", "--encoders", "letters", "--beta", "0"]
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    command = [sys.executable, tmp_path / "two.py"]
    command += argv(world, world / "two", "filtered", [*flags, "--per_device_train_batch_size", "2"])
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    processes = [
        subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**environment, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in "01"
    ]  # fmt: skip
    try:
        answers = [process.communicate(timeout=180) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], answers[0][1][-3000:]
    said = "".join(out for out, _ in answers)
    rows = sorted(json.loads(line[4:]) for line in said.splitlines() if line.startswith("ROW "))
    assert [row[0] for row in rows] == [0, 1]
    prompts, texts, ended, advantages = ([*rows[0][i], *rows[1][i]] for i in (1, 2, 3, 4))
    assert len(set(prompts)) == 1
    assert len(texts) == 4
    finished = torch.tensor(ended)
    delta = np.ones(4)
    if sum(ended) > 1:
        from diversity_tuning.deviation import response_weights

        kept = [text for text, end in zip(texts, ended, strict=True) if end]
        delta[finished.numpy()] = response_weights(kept, [letters(kept)])
    rewards = torch.tensor([0.1 * len(text) + vowels([], [text], [])[0] for text in texts])
    expected = group_advantages(rewards, finished, torch.tensor(delta, dtype=torch.float32), 4, deviation="reward")
    assert advantages == pytest.approx(expected.tolist(), abs=1e-4)
    assert (world / "two" / "adapter_model.safetensors").is_file()


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is here")
def test_vllm_that_is_not_installed_is_one_line(world, capsys):
    error = stops(capsys, grpo, world, "vllm", "filtered", [*RECIPE, "--use_vllm", "true"])
    assert "--use_vllm true needs the package vllm" in error
    assert not (world / "vllm").exists()


def test_vllm_that_cannot_be_used_is_one_line(world, capsys, monkeypatch):
    """What TRL or vLLM raise, here since TRL finds none, is told without a traceback."""
    monkeypatch.setattr(training_grpo, "find_spec", lambda name: True)
    error = stops(capsys, grpo, world, "vllm", "filtered", [*RECIPE, "--use_vllm", "true"])
    assert "--use_vllm true: ImportError: vLLM is not available" in error
    assert error.strip().endswith("leave it out to sample with transformers")
    assert not (world / "vllm").exists()
