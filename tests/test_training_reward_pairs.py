"""The reward model from pairs: its loss, what it reads, mismatched prompts, and two processes through cm_reward_pairs.sh."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from datasets import Dataset

from diversity_tuning.errors import UserError
from diversity_tuning.reward_model import load_reward_model, reward_pair_dataset, reward_text, with_mismatched_prompts
from scripts_reward_modeling import pairwise_reward_model_train as reward_pairs
from tests import ending
from tests.tiny import make_pairs, save_base
from tests.training_runs import LORA, ROOT, history, losses, stops, train, weights

PAIRS = [
    {name: row[name][-1]["content"] for name in ("chosen", "rejected")} | {"prompt": row["chosen"][0]["content"]}
    for row in make_pairs(8, seed=4)
]
ROWS = Dataset.from_list([{"prompt": f"p{i // 2}", "chosen": f"c{i}", "rejected": f"r{i}"} for i in range(10)])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A base model, and the same pairs as texts in a file and as conversations in a folder."""
    root = tmp_path_factory.mktemp("reward_pairs")
    save_base(root / "base")
    (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    Dataset.from_list(make_pairs(8, seed=4)).save_to_disk(root / "pairs")
    return root


def scores(folder, side):
    return load_reward_model(str(folder), "cpu").score([row["prompt"] for row in PAIRS], [row[side] for row in PAIRS])


# What it reads.


def test_texts_of_a_pair():
    row = {"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], "chosen": "a", "rejected": "b"}
    row |= {side: [{"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")}
    (pair,) = reward_pair_dataset(Dataset.from_list([row]))
    assert pair == {
        "prompt": "s\nu", "response": "a", "chosen": reward_text("s\nu", "a"), "rejected": reward_text("s\nu", "b"),
    }  # fmt: skip


def test_mismatched_prompts():
    """Half as many more, drawn without replacement: the response of another prompt is the rejected one."""
    pairs = reward_pair_dataset(ROWS)
    more = with_mismatched_prompts(pairs, 0.5, seed=1)
    assert more.select(range(10))[:] == pairs[:]
    added = more.select(range(10, 15))
    own = {row["chosen"]: row["prompt"] for row in ROWS}
    assert len(set(added["response"][:])) == 5
    for row in added:
        assert row["prompt"] == own[row["response"]]
        assert row["chosen"] == reward_text(row["prompt"], row["response"])
        (other,) = [c for c in own if row["rejected"] == reward_text(row["prompt"], c)]
        assert own[other] != row["prompt"]
    assert with_mismatched_prompts(pairs, 0.5, seed=1)[:] == more[:] != with_mismatched_prompts(pairs, 0.5, seed=2)[:]


def test_no_other_prompt_to_mismatch():
    rows = ROWS.map(lambda row: {**row, "prompt": "the same"})
    with pytest.raises(UserError, match=r"pairs\.jsonl: every pair has the same prompt"):
        with_mismatched_prompts(reward_pair_dataset(rows), 0.5, 0, "pairs.jsonl")


def test_a_response_that_answers_every_prompt_is_no_mismatch():
    """Two prompts, one chosen response: nothing can be added."""
    rows = Dataset.from_list([{"prompt": p, "chosen": "c", "rejected": "r"} for p in "ab"])
    assert len(with_mismatched_prompts(reward_pair_dataset(rows), 1.0, 0)) == 2


# Training.


def test_the_loss_is_bradley_terry_on_what_the_loaded_model_reads(world):
    """At a learning rate of 0 the loss of the first batch, all pairs, is the mean of −log σ(r_w − r_l) of the saved model."""
    flags = "--learning_rate 0 --max_steps 1 --per_device_train_batch_size 8".split()
    assert train(reward_pairs, world, "still", "pairs.jsonl", flags) == 0
    margins = scores(world / "still", "chosen") - scores(world / "still", "rejected")
    assert np.abs(margins).min() > 1e-3
    assert losses(world / "still") == pytest.approx([np.log1p(np.exp(-margins)).mean()], rel=1e-4)
    (first,) = [row for row in history(world / "still") if "loss" in row]
    assert first["accuracy"] == pytest.approx((margins > 0).mean())


def test_texts_train_what_conversations_train_and_the_model_learns(world):
    """LoRA: the adapter and its head are saved, loaded and right about the pairs; the same from both forms."""
    for name, source in (("texts", "pairs.jsonl"), ("messages", "pairs")):
        flags = [*LORA, "--max_steps", "12", "--per_device_train_batch_size", "8", "--mismatched_prompts", "0"]
        assert train(reward_pairs, world, name, source, flags) == 0
    expected = weights(world / "messages")
    assert any("score" in name for name in expected)
    assert all(torch.equal(weight, expected[name]) for name, weight in weights(world / "texts").items())
    assert losses(world / "texts")[-1] < losses(world / "texts")[0]
    assert (scores(world / "texts", "chosen") > scores(world / "texts", "rejected")).mean() >= 0.75
    card = (world / "texts" / "README.md").read_text()
    assert "Bradley–Terry loss on pairs" in card
    assert "load_reward_model" in card
    assert (world / "texts" / "curves.png").is_file()


def test_counts_of_added_and_cut_pairs(world):
    flags = ["--max_steps", "1", "--mismatched_prompts", "0.5", "--max_length", "60"]
    assert train(reward_pairs, world, "counted", "pairs.jsonl", flags) == 0
    counts = json.loads((world / "counted" / "provenance.json").read_text())["counts"]
    assert (counts["train_pairs"], counts["mismatched_pairs"]) == (8, 4)
    assert 0 < counts["train_pairs_cut_at_max_length"] <= 12


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mismatched_prompts", "1.5"], "--mismatched_prompts 1.5: give a share from 0 to 1"),
        (["--eval_split", "test"], "no split 'test'"),
    ],
)
def test_what_a_person_can_put_right(world, capsys, flags, message):
    assert message in stops(capsys, reward_pairs, world, "stopped", source="pairs.jsonl", flags=flags)
    assert not (world / "stopped").exists()


def test_two_processes_are_one(world, tmp_path):
    """`bash cm_reward_pairs.sh` with the miniature's recipe: batches of 2 on two processes = batches of 4 on one."""
    launcher = tmp_path / "accelerate"
    launcher.write_text(f'#!/bin/bash\nexec {sys.executable} -m accelerate.commands.launch --main_process_port 0 "${{@:2}}"\n')
    launcher.chmod(0o755)
    environment = {
        **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "MODEL": "miniature", "ACCELERATE": "cpu", "PROCESSES": "2",
        "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **ending.with_record(tmp_path),
    }  # fmt: skip
    places = ["--source", world / "pairs.jsonl", "--model_name_or_path", world / "base"]
    same = "--max_steps 3 --logging_steps 1 --train_sampling_strategy random --warmup_steps 0".split()
    command = ["bash", ROOT / "cm_reward_pairs.sh", *places, "--output_dir", world / "two", *same]
    command += ["--per_device_train_batch_size", "2"]
    answer = subprocess.run(list(map(str, command)), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert ending.both_left(tmp_path)
    assert answer.stdout.count('"mismatched_pairs": 4') == 1, "only the first process speaks"
    recipe = ["--config", ROOT / "recipes" / "miniature" / "reward_pairs.yaml"]
    alone = [*recipe, *places, "--output_dir", world / "one", *same, "--per_device_train_batch_size", "4", "--use_cpu", "true"]
    assert reward_pairs.main(list(map(str, alone))) == 0
    assert losses(world / "two") == pytest.approx(losses(world / "one"), rel=1e-4)
    expected = weights(world / "one")
    for name, weight in weights(world / "two").items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-5)
