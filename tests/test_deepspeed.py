"""Every training under DeepSpeed's ZeRO-3 in bf16, on the CPU: skipped where deepspeed is not installed (CONTRIBUTING.md)."""

import importlib.util
import json
import math
import os
import subprocess
import sys

import pytest
import torch

from tests.trainers.test_together import free_port
from tests.training_runs import LORA, ROOT, adapter, argv, history, losses, make_world, weights

pytestmark = pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed")
ZERO3 = {
    "bf16": {"enabled": True}, "zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True},
    **dict.fromkeys(("train_micro_batch_size_per_gpu", "train_batch_size", "gradient_accumulation_steps"), "auto"),
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = make_world(tmp_path_factory.mktemp("deepspeed"))
    (root / "zero3.json").write_text(json.dumps(ZERO3))
    return root


def train(world, module, name, source, flags):
    flags = [*flags, "--deepspeed", str(world / "zero3.json"), "--bf16", "true", "--max_steps", "2"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "1", "--master_port", str(free_port()), "-m"]
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    answer = subprocess.run(
        [*command, module, *argv(world, world / name, source, flags)], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr[-12000:]
    assert len(losses(world / name)) == 2
    assert all(math.isfinite(loss) for loss in losses(world / name))
    assert all(torch.isfinite(weight).all() for weight in weights(world / name).values())
    return history(world / name)[0]


@pytest.mark.parametrize("precomputed", ["false", "true"])
@pytest.mark.parametrize("method", ["dpo", "ddpo"])
def test_dpo_and_ddpo_start_at_ln_2_times_the_mean_weight(world, method, precomputed):
    flags = [*adapter(world), "--precompute_ref_log_probs", precomputed]
    first = train(world, f"scripts_dpo.generation_{method}_model_train", f"{method}-{precomputed}", "pairs", flags)
    assert first["loss"] == pytest.approx(math.log(2) * first.get("weights/mean", 1.0), rel=0.02)


@pytest.mark.parametrize("method", ["orpo", "dorpo"])
def test_orpo_and_dorpo(world, method):
    train(world, f"scripts_orpo.generation_{method}_model_train", method, "pairs", LORA)


def test_weights_are_not_rounded(world):
    """Three digits of a weight are what bfloat16 keeps: the logged mean would differ from the data's in the fourth."""
    from datasets import load_from_disk

    rows = load_from_disk(str(world / "pairs"))["train"].select(range(4))
    flags = [*LORA, "--max_train_samples", "4"]
    first = train(world, "scripts_orpo.generation_dorpo_model_train", "exact", "pairs", flags)
    assert first["weights/mean"] == pytest.approx(sum(rows["deviation_chosen"]) / 4, rel=1e-6)


def test_sft(world):
    train(world, "scripts_finetuning.generation_model_train", "sft-zero3", "filtered", LORA)


@pytest.mark.parametrize("flags", [[], [*LORA, "--lora_modules_to_save", "score"]], ids=["whole", "lora"])
def test_the_reward_model(world, flags):
    train(world, "scripts_reward_modeling.reward_model_train", f"reward-{len(flags)}", "filtered", flags)


def test_grpo_with_a_reward_model_and_an_encoder_beside_it(world):
    """Both are whole: their values are those without DeepSpeed."""
    from diversity_tuning.reward_model import load_reward_model
    from scripts_reward_modeling import reward_model_train

    train(world, reward_model_train.__name__, "reward-beside", "filtered", [])
    assert load_reward_model(str(world / "reward-beside"), "cpu").score(["a"], ["b"]).size == 1
    flags = [
        *("--reward", str(world / "reward-beside"), "--deviation", "reward", "--encoders", "builtin:minilm"),
        *("--num_generations", "2", "--max_completion_length", "4", "--truncated_reward", "0", *LORA),
    ]
    train(world, "scripts_grpo.generation_grpo_model_train", "grpo", "filtered", flags)
