"""Training commands that are done, stopped, killed, or run as several processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from transformers import Trainer

from diversity_tuning.errors import UserError
from scripts_dpo import generation_ddpo_model_train as ddpo
from scripts_finetuning import generation_model_train as sft
from scripts_orpo import generation_dorpo_model_train as dorpo
from scripts_orpo import generation_orpo_model_train as orpo
from scripts_reward_modeling import pairwise_reward_model_train as reward_pairs
from scripts_reward_modeling import reward_model_train as reward
from tests.training_runs import (
    LORA,
    ROOT,
    adapter,
    argv,
    hidden,
    history,
    losses,
    make_world,
    stops,
    train,
    weights,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("training"))


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
    assert time.monotonic() - started < 60  # torch alone takes longer on a busy machine


def test_changed_settings_stop(world, capsys):
    before = (world / "sft" / "adapter_model.safetensors").stat().st_mtime_ns
    line = stops(capsys, sft, world, "sft", source="filtered", flags=["--max_steps", "13", "--lora_r", "8", *LORA[4:]])
    assert "sft: exists already and was made otherwise (different arguments: lora_r, max_steps, use_peft)" in line
    assert (world / "sft" / "adapter_model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        (
            ddpo,
            ["--weight_column", "deviation"],
            "no column 'deviation' (they have: deviation_chosen, prompt, chosen, rejected",
        ),
        (ddpo, ["--train_split", "validation"], "no split 'validation'; there is train, test"),
        (ddpo, ["--loss_type", "ipo"], "leave loss_type at TRL's default"),
        (ddpo, ["--label_smoothing", "0.5"], "label_smoothing must be at least 0 and below 0.5"),
        (ddpo, ["--eval_strategy", "steps"], "--eval_strategy steps needs an --eval_split"),
        (ddpo, ["--resume_from_checkpoint", "nowhere"], "--resume_from_checkpoint nowhere: no checkpoint there"),
        (
            ddpo,
            ["--source", "PAIRS/train", "--eval_split", "test"],
            "PAIRS/train: no split 'test'; a file or single split is 'train'",
        ),
        (reward, ["--source", "FILTERED", "--model_name_or_path", "nowhere"], "nowhere: cannot be loaded"),
        (ddpo, ["--adapter", "nowhere"], "nowhere: no adapter here"),
        (dorpo, [*LORA, "--weight_column", "nothing"], "no column 'nothing'"),
        (orpo, [*LORA, "--source", "nowhere"], "nowhere: not there (orpo's --source)"),
        (sft, LORA, "no column 'post_title'"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_leaves_nothing(world, capsys, command, flags, message):
    given = [*adapter(world), *flags] if command is ddpo and "--adapter" not in flags else flags
    given = [word.replace("PAIRS", str(world / "pairs")).replace("FILTERED", str(world / "filtered")) for word in given]
    message = message.replace("PAIRS", str(world / "pairs"))
    line = stops(capsys, command, world, "stopped", flags=given)
    assert line.startswith("error: ")
    assert message in line
    assert not (world / "stopped").exists()
    assert not hidden(world, "stopped").exists()


IMPOSSIBLE = {
    "--beta -1": "beta must be a finite number", "--beta nan": "beta must be a finite number",
    "--beta 0": "beta must be a finite number above 0", "--min_weight inf": "min_weight must be a finite number",
    "--learning_rate nan": "--learning_rate nan: give a finite number", "--learning_rate inf": "--learning_rate inf",
    "--learning_rate=-1e-3": "--learning_rate -0.001: give 0 or more", "--seed -1": "--seed -1: give 0 or more",
    "--seed 5000000000": "--seed 5000000000: give 0 or more, below", "--max_train_samples 0": "--max_train_samples 0: ",
    "--per_device_train_batch_size 0": "--per_device_train_batch_size 0: give 1 or more",
    "--gradient_accumulation_steps 0": "--gradient_accumulation_steps 0", "--max_length 0": "--max_length 0: give 1 or more",
    "--report_to wandb": "--report_to wandb: its package is missing: pip install wandb, or give --report_to none",
    "--report_to tensorbord": "--report_to tensorbord: no such service; did you mean tensorboard?",
    "--min_weight nan": "min_weight must be a finite number", "--num_train_epochs inf": "--num_train_epochs inf",
    "--adam_beta1 2": "--adam_beta1 2.0: give 0 or more, below 1", "--dataloader_num_workers -1": "_workers -1: give 0 or more",
    "--weight_decay nan": "--weight_decay nan", "--max_grad_norm -1": "--max_grad_norm -1.0: give 0 or more",
    "--min_weight -1": "min_weight must be at least 0", "--eval_steps 0": "--eval_steps 0.0: give a number above 0",
    "--save_total_limit 0": "_limit 0: give 1 or more", "--save_steps -1": "--save_steps -1.0: give a number above 0",
    "--logging_steps 0": "--logging_steps 0.0: give a number above 0", "--max_steps 0": "--max_steps 0: give 1 or more",
    "--num_train_epochs 0": "_epochs 0.0: give a number above 0", "--num_train_epochs nan": "give a finite number",
    "--lora_dropout 1.5": "--lora_dropout 1.5: give 0 or more, below 1", "--lora_alpha 0": "--lora_alpha 0: give 1 or more",
    "--max_grad_norm nan": "_norm nan: give a finite number", "--warmup_steps -1": "--warmup_steps -1.0: give 0 or more",
    "--warmup_ratio 2": "unknown flag --warmup_ratio",
}  # fmt: skip


@pytest.mark.parametrize("flags", IMPOSSIBLE)
def test_numbers_that_no_training_can_use_are_refused_before_anything_is_loaded(world, capsys, flags):
    """There is no such model."""
    nothing = ["--model_name_or_path", "nowhere"]
    assert IMPOSSIBLE[flags] in stops(capsys, ddpo, world, "stopped", flags=[*nothing, *flags.split()])
    assert not hidden(world, "stopped").exists()


@pytest.mark.parametrize("command", [sft, orpo, reward])
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--lora_r 0", "--lora_r 0: give 1 or more"),
        ("--lora_target_modules nope", "--lora_target_modules nope: the model has no such module"),
        (
            "--lora_target_modules q_proj v_prj",
            "v_prj: the model has no such module; did you mean v_proj?",
        ),
    ],
)
def test_an_adapter_of_nothing_is_refused(world, capsys, command, flags, message):
    source = "pairs" if command is orpo else "filtered"
    assert message in stops(capsys, command, world, "stopped", source=source, flags=[*LORA, *flags.split()])
    assert not (world / "stopped").exists()
    assert not hidden(world, "stopped").exists()


def test_one_target_module_is_a_name_like_several(world):
    flags = [*LORA, "--max_steps", "1", "--lora_target_modules", "q_proj"]
    assert train(sft, world, "named", source="filtered", flags=flags) == 0
    assert all(".q_proj." in name for name in weights(world / "named"))


@pytest.mark.parametrize("command", [sft, orpo, reward])
def test_weights_that_are_not_finite_are_not_published(world, capsys, command):
    """The loss and gradient of the only step are finite; what is left of the weights is not."""
    source = "pairs" if command is orpo else "filtered"
    rate = ["--learning_rate", "3e38", "--weight_decay", "10", "--max_steps", "1"]
    line = stops(capsys, command, world, "burst", source=source, flags=[*LORA, *rate])
    assert "holds numbers that are not finite after training, so nothing is published" in line
    assert not (world / "burst").exists()


def test_an_unknown_flag_ends_with_2(world, capsys):
    assert "--no_such_flag" in stops(capsys, ddpo, world, "stopped", flags=[*adapter(world), "--no_such_flag", "1"])
    assert not hidden(world, "stopped").exists()


# Killed.

KILLED = """
import os, signal, sys
import {module} as script
from transformers import Trainer

step = Trainer.training_step
def until_the_sixth(self, *args, **kwargs):
    if self.state.global_step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *args, **kwargs)

Trainer.training_step = until_the_sixth
script.main(sys.argv[1:])
"""
GROUPED = ["--train_sampling_strategy", "group_by_length"]
SAVED = "--max_steps 6 --save_strategy steps --save_steps 2 --lr_scheduler_type cosine".split()


@pytest.mark.parametrize(
    ("command", "source", "flags"),
    [
        (ddpo, "pairs", []),
        (dorpo, "pairs", [*LORA, *GROUPED, "--max_train_samples", "12"]),  # steps 4 to 6 are its second epoch, as below
        (sft, "filtered", [*LORA, *GROUPED]),
        (reward, "filtered", GROUPED),
        (reward_pairs, "pairs", [*LORA, *GROUPED, "--max_train_samples", "12", "--mismatched_prompts", "0.5"]),
    ],
    ids=["ddpo", "dorpo", "sft", "reward", "reward_pairs"],
)
def test_killed_and_started_again_is_as_never_killed(world, command, source, flags, capsys):
    """kill -9 in step 6; the checkpoint of step 4 is gone on from, and the weights are the same to the last bit."""
    flags = [*(adapter(world) if command is ddpo else ()), *flags, *SAVED]
    killed, whole = (f"{command.__name__.rpartition('.')[2]}-{name}" for name in ("killed", "whole"))
    code = KILLED.format(module=command.__name__)
    answer = subprocess.run(
        [sys.executable, "-c", code, *argv(world, world / killed, source, flags)], cwd=ROOT, capture_output=True
    )
    assert answer.returncode == -signal.SIGKILL, answer.stderr.decode()[-2000:]
    assert not (world / killed).exists()
    left = hidden(world, killed)
    assert (left / "checkpoint-4" / "trainer_state.json").is_file()
    shutil.copytree(left / "checkpoint-4", left / "checkpoint-6")
    (left / "checkpoint-6" / "trainer_state.json").unlink()  # killed while it was being written
    assert train(command, world, killed, source, flags) == 0
    assert f"{killed}: resuming from checkpoint-4" in capsys.readouterr().out
    assert train(command, world, whole, source, flags) == 0
    expected = weights(world / whole)
    for name, weight in weights(world / killed).items():
        assert torch.equal(weight, expected[name]), name
    assert losses(world / killed) == losses(world / whole)
    of_killed, of_whole = (json.loads((world / run / "provenance.json").read_text())["metrics"] for run in (killed, whole))
    assert of_killed["train_loss"] == pytest.approx(of_whole["train_loss"], rel=1e-5)
    assert of_killed.get("num_tokens") == of_whole.get("num_tokens")
    names = [{path.name for path in (world / run).rglob("*") if path.is_file()} for run in (killed, whole)]
    assert names[0] == names[1]


@pytest.mark.parametrize("damaged", ["optimizer.pt", "adapter_model.safetensors", "trainer_state.json"])
def test_killed_and_its_newest_checkpoint_damaged_is_as_never_killed(world, damaged, capsys, monkeypatch):
    flags = [*adapter(world), *SAVED]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "training_step", _at_step_five(KeyboardInterrupt()))
        with pytest.raises(SystemExit):
            train(ddpo, world, f"damaged-{damaged}", flags=flags)
    file = hidden(world, f"damaged-{damaged}") / "checkpoint-4" / damaged
    file.write_bytes(file.read_bytes()[:50])
    assert train(ddpo, world, f"damaged-{damaged}", flags=[*flags, "--logging_steps", "2"]) == 0
    said = capsys.readouterr().out
    assert f"checkpoint-4 is damaged ({damaged}) and not gone on from" in said
    assert f"damaged-{damaged}: resuming from checkpoint-2" in said
    expected = weights(world / "ddpo-whole") if (world / "ddpo-whole").is_dir() else None
    if expected is None:
        assert train(ddpo, world, "ddpo-whole", flags=flags) == 0
        expected = weights(world / "ddpo-whole")
    for name, weight in weights(world / f"damaged-{damaged}").items():
        assert torch.equal(weight, expected[name]), name


def test_a_resumed_run_counts_evaluations_without_a_better_one_from_the_start(world, monkeypatch):
    """No step changes anything: the first evaluation is the best, and three more stop the run."""
    flags = [*adapter(world), *"--eval_split test --eval_strategy steps --eval_steps 2 --load_best_model_at_end true".split()]
    flags += [*SAVED, *"--max_steps 20 --learning_rate 0 --early_stopping_patience 3".split()]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "training_step", _at_step_five(KeyboardInterrupt()))
        with pytest.raises(SystemExit):
            train(ddpo, world, "patient", flags=flags)
    assert train(ddpo, world, "patient", flags=flags) == 0
    assert history(world / "patient")[-1]["step"] == 8


def test_a_run_that_saved_no_optimizer_is_not_gone_on_from(world, capsys, monkeypatch):
    flags = [*adapter(world), *SAVED, "--save_only_model", "true"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "training_step", _at_step_five(KeyboardInterrupt()))
        with pytest.raises(SystemExit):
            train(ddpo, world, "bare", flags=flags)
    line = stops(capsys, ddpo, world, "bare", flags=flags)
    assert "bare: was stopped, and checkpoint-4 holds no optimizer" in line
    assert (hidden(world, "bare") / "checkpoint-4" / "adapter_model.safetensors").is_file()
    assert train(ddpo, world, "bare", flags=[*flags, "--overwrite", "yes"]) == 0
    assert "bare: begins again" in capsys.readouterr().out


# Stopped, and a disk that is full.


def _at_step_five(error):
    def step(self, *args, **kwargs):
        if self.state.global_step == 5:
            raise error
        return _STEP(self, *args, **kwargs)

    return step


_STEP = Trainer.training_step


def test_ctrl_c_is_one_line_and_the_same_command_goes_on(world, capsys, monkeypatch):
    flags = [*adapter(world), *SAVED]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "training_step", _at_step_five(KeyboardInterrupt()))
        with pytest.raises(SystemExit) as stopped:
            train(ddpo, world, "interrupted", flags=flags)
    assert stopped.value.code == 130
    assert capsys.readouterr().err.splitlines()[-1] == "stopped; the same command goes on"
    assert train(ddpo, world, "interrupted", flags=flags) == 0
    said = capsys.readouterr().out
    assert "interrupted: resuming from checkpoint-4" in said
    last = said.strip().splitlines()[-1]
    assert last.startswith("next: python -m scripts_eval.")
    assert f" --adapter {world / 'interrupted'} " in last


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(world, capsys, monkeypatch):
    """The weights cannot be written at the end, in the words of what writes them."""
    flags = [*adapter(world), *SAVED]

    def full(self, folder=None, _internal_call=False):
        torch.save({"weight": torch.zeros(300_000)}, "/dev/full")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save_model", full)
        line = stops(capsys, ddpo, world, "full", flags=flags)
    assert line.startswith("error: the disk is full (No space left on device); free some space")
    assert not (world / "full").exists()
    assert train(ddpo, world, "full", flags=flags) == 0


# Two processes.


@pytest.mark.parametrize(
    "environment", [{"WORLD_SIZE": "2"}, {"ACCELERATE_USE_CPU": "True", "MASTER_PORT": "29500"}], ids=["torchrun", "accelerate"]
)
def test_processes_that_would_train_alone_are_refused(monkeypatch, environment):
    """Two of them in the same folder, or one where two were asked for."""
    from diversity_tuning.training.arguments import check_processes

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="--use_cpu true"):
        check_processes(1)


def test_two_processes_are_one(world):
    """gloo, through accelerate launch: batches of 2 on two processes = batches of 4 on one; the last holds 2 of 10 pairs."""
    flags = [*adapter(world), "--max_steps", "3", "--max_train_samples", "10", "--learning_rate", "1e-3"]
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
