"""Flags of the training commands do what they say or are refused; a checkpoint keeps what it needs and no more."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from scripts_dpo import generation_ddpo_model_train as ddpo
from scripts_finetuning import generation_model_train as sft
from scripts_orpo import generation_dorpo_model_train as dorpo
from scripts_reward_modeling import reward_model_train as reward
from tests.training_runs import LORA, adapter, losses, make_world, stops, train, weights

FOUR_BITS = ["--load_in_4bit", "true", "--dtype", "bfloat16"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("flags"))


@pytest.mark.parametrize(
    ("command", "source", "flags", "message"),
    [
        (
            ddpo,
            "pairs",
            ["--adapter", "ADAPTER", "--lora_r", "8"],
            "--adapter brings its own LoRA settings: leave --lora_r out",
        ),
        (ddpo, "pairs", ["--adapter", "ADAPTER", "--use_peft", "true"], "leave --use_peft out"),
        (sft, "filtered", ["--adapter", "ADAPTER"], "generation starts from the base model: leave --adapter out"),
        (sft, "filtered", ["--lora_alpha", "8"], "--lora_alpha without --use_peft true would train the whole model"),
        (sft, "filtered", FOUR_BITS, "--load_in_4bit is for policies with an adapter"),
        (reward, "filtered", [*LORA, *FOUR_BITS], "--load_in_4bit is for policies with an adapter"),
        (reward, "filtered", ["--chat_template_from", "x"], "the reward model reads no chat template"),
        (dorpo, "pairs", [*LORA, "--bnb_4bit_quant_type", "fp4"], "--bnb_4bit_quant_type without --load_in_4bit true"),
        (dorpo, "pairs", [*LORA, "--label_smoothing", "0.1"], "leave label_smoothing at TRL's default"),
        (dorpo, "pairs", [*LORA, "--loss_type", "hinge"], "leave loss_type at TRL's default"),
        (dorpo, "pairs", [*LORA, "--ld_alpha", "0.5"], "leave ld_alpha at TRL's default"),
    ],
)
def test_a_flag_that_nothing_would_read_is_refused(world, capsys, command, source, flags, message):
    flags = [str(world / "sft") if flag == "ADAPTER" else flag for flag in flags]
    assert message in stops(capsys, command, world, "refused", source=source, flags=flags)
    assert not (world / "refused").exists()


def test_four_bits_are_asked_of_the_base_model(world, monkeypatch):
    """What reaches `from_pretrained`; the quantized training itself needs bitsandbytes (below)."""
    from diversity_tuning.training import models

    asked = {}

    def load_base_model(name, **options):
        asked.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(models, "load_base_model", load_base_model)
    with pytest.raises(SystemExit):
        train(ddpo, world, "four", flags=[*adapter(world), *FOUR_BITS])
    built = asked["quantization_config"]
    assert (built.load_in_4bit, built.bnb_4bit_quant_type, built.bnb_4bit_compute_dtype) == (True, "nf4", torch.bfloat16)


def test_four_bits_without_bitsandbytes_are_one_line(world, capsys, monkeypatch):

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = stops(capsys, sft, world, "four", source="filtered", flags=[*LORA, *FOUR_BITS])
    assert "need the package bitsandbytes: pip install" in message


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs bitsandbytes (requirements-optional.txt)")
@pytest.mark.parametrize("command", [sft, ddpo, dorpo])
def test_an_adapter_is_trained_in_single_precision_on_a_base_in_four_bits(world, command):
    name = f"four-{command.__name__.split('.')[0]}"
    source, start = ("filtered" if command is sft else "pairs"), (adapter(world) if command is ddpo else LORA)
    train(command, world, name, source=source, flags=[*start, *FOUR_BITS, "--bf16", "true", "--learning_rate", "1e-4"])
    assert all(weight.dtype == torch.float32 for weight in weights(world / name).values())
    assert len(losses(world / name)) == 4
    if command is ddpo:
        before = weights(world / "sft")
        moved = [(weight != before[key]).float().mean().item() for key, weight in weights(world / name).items()]
        assert min(moved) > 0.9, "steps of 1e-4 are lost in bfloat16 on most of the weights"


def test_only_the_two_newest_checkpoints_can_be_resumed_from_while_a_run_goes_on(world):
    from transformers import TrainerCallback

    from diversity_tuning.training import arguments

    states = []

    class Watch(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            places = sorted(Path(args.output_dir).glob("checkpoint-*"))
            states.append([(place.name, (place / "optimizer.pt").exists()) for place in places])
            assert all((place / "adapter_model.safetensors").exists() for place in places)

    original = arguments.callbacks_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arguments, "callbacks_of", lambda *given: [*original(*given), Watch()])
        train(ddpo, world, "kept", flags=[*adapter(world), "--save_strategy", "steps", "--save_steps", "1"])
    assert states[3] == [("checkpoint-1", False), ("checkpoint-2", True), ("checkpoint-3", True)]
    record = json.loads((world / "kept" / "provenance.json").read_text())
    assert record["arguments"]["save_steps"] == 1


@pytest.fixture
def hub(monkeypatch):
    """A hub that takes everything; what was asked of it."""
    from types import SimpleNamespace

    from huggingface_hub import HfApi

    asked = []

    def create_repo(self, name, **options):
        asked.append(("create", name))
        return SimpleNamespace(repo_id=f"me/{name}")

    def upload_folder(self, repo_id, folder_path, **options):
        asked.append(("upload", repo_id, str(folder_path), sorted(path.name for path in Path(folder_path).iterdir())))

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    return asked


@pytest.mark.parametrize("saving", ["no", "steps"])
def test_a_run_is_pushed_once_it_is_whole_and_under_its_own_name(world, hub, saving):
    flags = [*adapter(world), "--push_to_hub", "true", "--save_strategy", saving, "--save_steps", "2", "--max_steps", "2"]
    train(ddpo, world, f"pushed-{saving}", flags=flags)
    made, (action, name, folder, files), *more = hub
    assert (made, action, more) == (("create", f"pushed-{saving}"), "upload", [])
    assert (name, folder) == (f"me/pushed-{saving}", str(world / f"pushed-{saving}"))
    assert {"README.md", "provenance.json", "adapter_model.safetensors"} <= set(files)
    assert not {"launch.json", "training_args.bin"} & set(files)


def test_a_hub_that_is_not_there_is_one_line(world, hub, capsys, monkeypatch):
    from huggingface_hub import HfApi

    def fail(self, *arguments, **options):
        raise OSError("no route")

    with monkeypatch.context() as patch:
        patch.setattr(HfApi, "create_repo", fail)
        line = stops(capsys, ddpo, world, "unreached", flags=[*adapter(world), "--push_to_hub", "true"])
    assert line == "error: --push_to_hub: unreached cannot be made on the hub (no route)"
    monkeypatch.setattr(HfApi, "upload_folder", fail)
    line = stops(capsys, ddpo, world, "local", flags=[*adapter(world), "--push_to_hub", "true", "--max_steps", "1"])
    assert f"{world / 'local'}: is whole, but could not be pushed to me/local (no route): hf upload me/local" in line
    assert (world / "local" / "adapter_model.safetensors").is_file()
