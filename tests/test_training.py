"""Training commands end to end on a tiny model: SFT, DPO, DDPO, DORPO and the reward model through main(argv)."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from datasets import Dataset, DatasetDict
from safetensors.torch import load_file

from diversity_tuning.errors import UserError
from scripts_dpo import generation_ddpo_model_train as ddpo
from scripts_dpo import generation_dpo_model_train as dpo
from scripts_finetuning import generation_model_train as sft
from scripts_orpo import generation_dorpo_model_train as dorpo
from scripts_orpo import generation_orpo_model_train as orpo
from scripts_reward_modeling import reward_model_train as reward
from tests.tiny import make_pairs, make_tokenizer, save_base

ROOT = Path(__file__).parents[1]
COMMON = (
    "--max_steps 4 --per_device_train_batch_size 4 --learning_rate 2e-2 --lr_scheduler_type constant --logging_steps 1 "
    "--bf16 false --gradient_checkpointing false --report_to none --save_strategy no --disable_tqdm true --use_cpu true"
).split()
LORA = "--use_peft true --lora_r 4 --lora_alpha 8 --lora_dropout 0 --lora_target_modules q_proj v_proj down_proj".split()


def responses(row):
    """Six posts of two responses; what stage 1 makes."""
    texts = [f"the {row} cat sat.", f"a dog ran {row}!"]
    return {
        "post_title": f"title {row % 2}",
        "post_text": "",
        "filtered_comment_texts": texts,
        "filtered_transformed_scores": [1.0, -0.5],
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Folders: ``base``, ``filtered`` (stage 1), ``pairs`` (stage 3), and the SFT run ``sft``."""
    root = tmp_path_factory.mktemp("training")
    save_base(root / "base")
    filtered = Dataset.from_list([responses(i) for i in range(6)])
    DatasetDict({"train": filtered, "test": filtered}).save_to_disk(root / "filtered")
    pairs = Dataset.from_list(make_pairs(24, seed=4))
    DatasetDict({"train": pairs, "test": pairs.select(range(4))}).save_to_disk(root / "pairs")
    assert train(sft, root, "sft", source="filtered", flags=["--max_steps", "12", *LORA]) == 0
    return root


def argv(root, output, source="pairs", flags=()):
    places = ["--source", root / source, "--model_name_or_path", root / "base", "--output_dir", output]
    return [str(word) for word in (*places, *COMMON, *flags)]


def train(command, root, output, source="pairs", flags=()):
    return command.main(argv(root, root / output, source, flags))


def adapter(root):
    return ["--adapter", str(root / "sft")]


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def history(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder):
    return [row["loss"] for row in history(folder) if "loss" in row]


def hidden(root, name):
    return root / f".{name}.training"


# The chain.


def test_sft_learns_and_leaves_a_whole_folder(world):
    run = world / "sft"
    assert losses(run)[-1] < 0.7 * losses(run)[0]
    record = json.loads((run / "provenance.json").read_text())
    assert record["stage"] == "generation"
    assert record["inputs"].keys() == {"source", "model_name_or_path"}
    assert record["arguments"]["lora_r"] == "4"
    assert not {"source", "output_dir", "report_to"} & record["arguments"].keys()
    assert record["counts"] == {"train_examples": 12}
    assert record["metrics"]["step"] == 12
    resolved = json.loads((run / "resolved_config.json").read_text())
    assert (resolved["learning_rate"], resolved["max_length"]) == (2e-2, 2048)
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
    train(reward, world, "reward", source="filtered", flags=["--max_steps", "12", "--learning_rate", "5e-3"])
    assert losses(world / "reward")[-1] < 0.7 * losses(world / "reward")[0]
    from diversity_tuning.reward import load_reward_model

    model = load_reward_model(str(world / "reward"), device="cpu")
    good, bad = model.score(["title 0\n"] * 2, ["the 0 cat sat.", "a dog ran 0!"])
    assert good > bad


def test_a_reward_adapter_keeps_its_head(world):
    """Whatever --lora_task_type says (TRL's default is CAUSAL_LM)."""
    train(reward, world, "reward-lora", source="filtered", flags=[*LORA, "--max_steps", "2"])
    assert any("score" in name for name in weights(world / "reward-lora"))
    from diversity_tuning.reward import load_reward_model

    assert load_reward_model(str(world / "reward-lora"), device="cpu").score(["p"], ["r"]).shape == (1,)


def test_sft_loss_is_on_response_tokens_only(world, monkeypatch):
    from diversity_tuning import training

    batches = []

    class Spy(training.SFTTrainer):
        def train(self, **_):
            batches.extend(self.get_train_dataloader())
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "SFTTrainer", Spy)
    with pytest.raises(KeyboardInterrupt):
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


# Done, or not to be done.


def test_a_finished_run_is_skipped_at_once_and_says_so(world):
    """In a process of its own, without torch."""
    code = (
        "import sys; from scripts_finetuning.generation_model_train import main; code = main(sys.argv[1:]);"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    started = time.monotonic()
    command = [sys.executable, "-c", code, *argv(world, world / "sft", "filtered", ["--max_steps", "12", *LORA])]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == f"{world / 'sft'}: already made with these settings, skipped\n"
    assert time.monotonic() - started < 10


def stops(capsys, command, *arguments, **options):
    with pytest.raises(SystemExit) as caught:
        train(command, *arguments, **options)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_changed_settings_stop(world, capsys):
    before = (world / "sft" / "adapter_model.safetensors").stat().st_mtime_ns
    line = stops(capsys, sft, world, "sft", source="filtered", flags=["--max_steps", "13", "--lora_r", "8", *LORA[4:]])
    assert "sft: exists already and was made otherwise (different arguments: lora_r, max_steps, use_peft)" in line
    assert (world / "sft" / "adapter_model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        (ddpo, ["--weight_column", "deviation"], "no column 'deviation' (they have: chosen, rejected, deviation_chosen"),
        (ddpo, ["--train_split", "validation"], "no split 'validation', only train, test"),
        (ddpo, ["--loss_type", "ipo"], "leave loss_type at TRL's default"),
        (ddpo, ["--adapter", "nowhere"], "nowhere: no adapter here"),
        (dorpo, [*LORA, "--weight_column", "nothing"], "no column 'nothing'"),
        (orpo, [*LORA, "--source", "nowhere"], "nowhere: not there (orpo's --source)"),
        (sft, LORA, "no column 'post_title'"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_leaves_nothing(world, capsys, command, flags, message):
    given = [*adapter(world), *flags] if command is ddpo and "--adapter" not in flags else flags
    line = stops(capsys, command, world, "stopped", flags=given)
    assert line.startswith("error: ")
    assert message in line
    assert not (world / "stopped").exists()
    assert not hidden(world, "stopped").exists()


def test_an_unknown_flag_ends_with_2(world, capsys):
    assert "--no_such_flag" in stops(capsys, ddpo, world, "stopped", flags=[*adapter(world), "--no_such_flag", "1"])
    assert not hidden(world, "stopped").exists()


# Killed.

KILLED = """
import os, signal, sys
import {module} as script
from transformers import Trainer

step = Trainer.training_step
def until_the_fourth(self, *args, **kwargs):
    if self.state.global_step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *args, **kwargs)

Trainer.training_step = until_the_fourth
script.main(sys.argv[1:])
"""


@pytest.mark.parametrize("command", [ddpo])
def test_killed_and_started_again_is_as_never_killed(world, command, capsys):
    """kill -9 in step 4; the checkpoint of step 2 is gone on from, and the adapter is the same to the last bit."""
    flags = [
        *adapter(world),
        "--max_steps",
        "6",
        "--save_strategy",
        "steps",
        "--save_steps",
        "2",
        "--lr_scheduler_type",
        "cosine",
    ]
    code = KILLED.format(module=command.__name__)
    killed = subprocess.run(
        [sys.executable, "-c", code, *argv(world, world / "killed", flags=flags)], cwd=ROOT, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert not (world / "killed").exists()
    assert (hidden(world, "killed") / "checkpoint-2" / "trainer_state.json").is_file()
    shutil.copytree(hidden(world, "killed") / "checkpoint-2", hidden(world, "killed") / "checkpoint-4")
    (hidden(world, "killed") / "checkpoint-4" / "trainer_state.json").unlink()  # killed while it was being written
    assert train(command, world, "killed", flags=flags) == 0
    assert "killed: going on from checkpoint-2" in capsys.readouterr().out
    assert train(command, world, "whole", flags=flags) == 0
    whole = weights(world / "whole")
    for name, weight in weights(world / "killed").items():
        assert torch.equal(weight, whole[name]), name
    assert losses(world / "killed") == losses(world / "whole")
    names = [{path.name for path in (world / run).rglob("*") if path.is_file()} for run in ("killed", "whole")]
    assert names[0] == names[1]


# Two processes.


@pytest.mark.parametrize(
    "environment", [{"WORLD_SIZE": "2"}, {"ACCELERATE_USE_CPU": "True", "MASTER_PORT": "29500"}], ids=["torchrun", "accelerate"]
)
def test_processes_that_would_train_alone_are_refused(monkeypatch, environment):
    """Two of them in the same folder, or one where two were asked for."""
    from diversity_tuning import training

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="--use_cpu true"):
        training._check_processes(1)


def test_two_processes_are_one(world):
    """gloo, through accelerate launch: batches of 2 on two processes = batches of 4 on one."""
    flags = [*adapter(world), "--max_steps", "3", "--learning_rate", "1e-3"]
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(ROOT / "accelerate_configs" / "cpu.yaml")),
        *(
            "--multi_gpu",
            "--num_processes",
            "2",
            "--main_process_port",
            "0",
            "-m",
            ddpo.__name__,
        ),  # its launcher is torchrun's, on a CPU too
        *argv(world, world / "two", flags=[*flags, "--per_device_train_batch_size", "2"]),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    answer = subprocess.run(command, cwd=world, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert train(ddpo, world, "one", flags=flags) == 0
    one, start = weights(world / "one"), weights(world / "sft")
    for name, weight in weights(world / "two").items():
        torch.testing.assert_close(weight, one[name], rtol=0, atol=1e-5)
        assert (weight - start[name]).abs().max() > 1e-3
    assert losses(world / "two") == pytest.approx(losses(world / "one"), rel=1e-4)
