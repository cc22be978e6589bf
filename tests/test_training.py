"""Training commands end to end on a tiny model: SFT, DPO, DDPO, DORPO and the reward model through main(argv)."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from diversity_tuning.training.arguments import OneResumeState
from scripts_dpo import generation_ddpo_model_train as ddpo
from scripts_dpo import generation_dpo_model_train as dpo
from scripts_finetuning import generation_model_train as sft
from scripts_orpo import generation_dorpo_model_train as dorpo
from scripts_reward_modeling import reward_model_train as reward
from tests.tiny import make_tokenizer
from tests.training_runs import (
    LORA,
    adapter,
    hidden,
    history,
    losses,
    make_world,
    responses,
    train,
    weights,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("training"))


# The chain.


def test_sft_learns_and_leaves_a_whole_folder(world):
    run = world / "sft"
    assert losses(run)[-1] < 0.7 * losses(run)[0]
    record = json.loads((run / "provenance.json").read_text())
    assert record["stage"] == "generation"
    assert record["inputs"].keys() == {"source", "model_name_or_path"}
    assert (record["arguments"]["lora_r"], record["request"]["lora_r"]) == (4, 4), "what was built, what was asked for"
    assert record["arguments"].keys() == record["request"].keys()
    assert not {"source", "output_dir", "report_to"} & record["arguments"].keys()
    assert record["counts"] == {"train_examples": 12}
    assert record["metrics"]["step"] == 12
    resolved = json.loads((run / "resolved_config.json").read_text())
    assert (resolved["learning_rate"], resolved["max_length"], resolved["lora_r"], resolved["train_split"]) == (
        2e-2,
        2048,
        4,
        "train",
    )
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((run / "adapter_config.json").read_text())["r"] == 4
    assert (run / "tokenizer_config.json").is_file()
    assert not [path for path in run.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    assert not (run / "launch.json").exists()
    assert not hidden(world, "sft").exists()


def test_dpo_starts_at_ln_2_and_falls(world):
    train(dpo, world, "dpo", flags=[*adapter(world), "--max_steps", "8", "--beta", "0.3", "--max_train_samples", "4"])
    assert losses(world / "dpo")[0] == pytest.approx(math.log(2), abs=1e-3)
    assert losses(world / "dpo")[-1] < 0.5 * math.log(2)


def test_ddpo_goes_on_from_sft_and_moves_its_adapter_only(world):
    base = load_file(world / "base" / "model.safetensors")
    train(ddpo, world, "ddpo", flags=[*adapter(world), "--save_strategy", "steps", "--save_steps", "2", "--eval_split", "test"])
    run, start = world / "ddpo", weights(world / "sft")
    moved = weights(run)
    assert moved.keys() == start.keys(), "the adapter, and neither the base model nor the reference beside it"
    assert all(not torch.equal(moved[name], start[name]) for name in start)
    assert all((moved[name] - start[name]).abs().max() < 0.5 for name in start), "SFT's adapter, not a fresh one"
    after = load_file(world / "base" / "model.safetensors")
    assert all(torch.equal(base[name], after[name]) for name in base)
    first = history(run)[0]
    assert first["loss"] == pytest.approx(math.log(2) * first["weights/mean"], rel=1e-3)
    assert {path.name for path in run.glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-4"}
    assert not [path for path in run.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl") or path.name == "ref"]
    record = json.loads((run / "provenance.json").read_text())
    assert record["counts"] == {"pairs": 24, "trained_pairs": 24, "pairs_cut_at_max_length": 0}
    assert record["inputs"].keys() == {"source", "model_name_or_path", "adapter"}


def test_a_checkpoint_and_the_run_itself_can_be_sampled_from(world):
    from diversity_tuning.policy import load_policy

    for folder in (world / "ddpo", world / "ddpo" / "checkpoint-2"):
        model, tokenizer = load_policy(str(world / "base"), str(folder), device="cpu")
        assert tokenizer.eos_token == "<|end|>"
        assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_dorpo_trains_a_fresh_adapter(world):
    flags = [*LORA, "--max_steps", "8", "--max_train_samples", "4"]
    train(dorpo, world, "dorpo", flags=flags)
    assert losses(world / "dorpo")[-1] < 0.9 * losses(world / "dorpo")[0]
    assert weights(world / "dorpo").keys() == weights(world / "sft").keys()
    assert "adapter" not in json.loads((world / "dorpo" / "provenance.json").read_text())["inputs"]


def test_the_reward_model_learns_the_votes(world):
    train(reward, world, "reward", source="filtered", flags=["--max_steps", "30", "--learning_rate", "5e-3"])
    assert losses(world / "reward")[-1] < 0.7 * losses(world / "reward")[0]
    from diversity_tuning.reward_model import load_reward_model

    model = load_reward_model(str(world / "reward"), device="cpu")
    good, bad = model.score(["title 0\n"] * 2, ["the 0 cat sat.", "a dog ran 0!"])
    assert good > bad


def test_a_reward_adapter_keeps_its_head(world):
    """Whatever --lora_task_type says (TRL's default is CAUSAL_LM)."""
    train(reward, world, "reward-lora", source="filtered", flags=[*LORA, "--max_steps", "2"])
    assert any("score" in name for name in weights(world / "reward-lora"))
    from diversity_tuning.reward_model import load_reward_model

    assert load_reward_model(str(world / "reward-lora"), device="cpu").score(["p"], ["r"]).shape == (1,)


def test_the_head_of_a_reward_adapter_is_trained_in_single_precision(world):
    """The base in bfloat16, as in the 8B recipes: a step of 3e-5 would round to nothing on most of its weights."""
    flags = [*LORA, "--lora_modules_to_save", "score", "--dtype", "bfloat16", "--bf16", "true"]
    small = ["--max_steps", "1", "--learning_rate", "3e-5"]
    train(reward, world, "reward-half", source="filtered", flags=[*flags, *small])
    train(reward, world, "reward-start", source="filtered", flags=[*flags, "--max_steps", "1", "--learning_rate", "0"])
    after, before = (weights(world / name) for name in ("reward-half", "reward-start"))
    (head,) = (name for name in after if "score" in name)
    assert after[head].dtype == torch.float32
    assert (after[head] != before[head]).float().mean() > 0.9


def test_sft_loss_is_on_response_tokens_only(world, monkeypatch):
    from diversity_tuning.training import sft as module

    batches = []

    class Spy(module.ResumableSFTTrainer):
        def train(self, **_):
            batches.extend(self.get_train_dataloader())
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "ResumableSFTTrainer", Spy)
    with pytest.raises(SystemExit):
        train(sft, world, "spied", source="filtered", flags=LORA)
    tokenizer = make_tokenizer()
    expected = {f"{text}<|end|>" for i in range(6) for text in responses(i)["filtered_comment_texts"]}
    seen = set()
    for batch in batches:
        for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
            counted = labels != -100
            assert torch.equal(ids[counted], labels[counted])
            seen.add(tokenizer.decode(labels[counted]))
            whole = tokenizer.decode(ids)
            assert whole.startswith("<|bos|><|user|>title ")
            assert whole.count("<|bos|>") == 1
    assert seen == expected


def test_a_token_stands_in_no_file_of_a_run(world, monkeypatch):
    """Nor in its checkpoints while it trains, in records or as a pickle."""
    token, seen = "hf_ABCDEFabcdef0123456789", []
    monkeypatch.setenv("HF_TOKEN", "")

    def look(folder):
        seen.append([str(file) for file in folder.rglob("*") if file.is_file() and token.encode() in file.read_bytes()])

    monkeypatch.setattr(OneResumeState, "on_save", lambda self, args, *rest, **more: look(Path(args.output_dir)))
    train(
        sft,
        world,
        "token",
        "filtered",
        ["--hub_token", token, "--max_steps", "1", "--save_steps", "1", "--save_strategy", "steps"],
    )
    look(world / "token")
    assert seen == [[], []]
    assert json.loads((world / "token" / "provenance.json").read_text())["request"]["hub_token"] == "***"


@pytest.mark.parametrize("command", [sft, dpo])
def test_a_whole_model_in_half_precision_is_trained_in_float32(world, capsys, command):
    """At a rate of 3e-7 a bfloat16 weight stays as it is; with float32 weights nearly all move."""
    from tests.tiny import save_base

    root = world / f"half-{command.__name__.rsplit('.', 1)[-1]}"
    root.mkdir()
    save_base(root / "base")
    (root / "filtered").symlink_to(world / "filtered")
    (root / "pairs").symlink_to(world / "pairs")
    flags = ["--dtype", "bfloat16", "--learning_rate", "3e-7", "--max_steps", "3"]
    assert train(command, root, "whole", "filtered" if command is sft else "pairs", flags) == 0
    assert "in float32 weights, not bfloat16" in capsys.readouterr().out
    before, after = weights(root / "base"), weights(root / "whole")
    moved = [(before[name] != after[name]).float().mean().item() for name in before]
    assert {one.dtype for one in after.values()} == {torch.float32}
    assert sum(moved) / len(moved) > 0.5


@pytest.mark.parametrize(
    ("environment", "whole", "expected"),
    [
        ({}, True, "float32"),
        ({}, False, "bfloat16"),
        ({"USE_FSDP": "true", "MIXED_PRECISION": "bf16"}, True, "bfloat16"),
        ({"USE_FSDP": "true", "MIXED_PRECISION": "no"}, True, "float32"),  # without mixed precision there are no copies
        ({"USE_DEEPSPEED": "true"}, True, "bfloat16"),
    ],
)
def test_only_a_sharding_engine_keeps_float32_copies(monkeypatch, environment, whole, expected):
    from diversity_tuning.training.models import dtype_to_train

    for name in ("USE_FSDP", "USE_DEEPSPEED", "MIXED_PRECISION"):
        monkeypatch.setenv(f"ACCELERATE_{name}", environment.get(name, ""))
    assert dtype_to_train("bfloat16", whole) == expected


def test_a_whole_model_that_does_not_fit_is_refused_before_it_trains(world, monkeypatch):
    from types import SimpleNamespace

    from diversity_tuning.errors import UserError
    from diversity_tuning.policy import load_base_model
    from diversity_tuning.training.models import check_room

    model = load_base_model(str(world / "base"), dtype="float32")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=1000))
    with pytest.raises(UserError, match="ACCELERATE=fsdp"):
        check_room(model, "bfloat16")
