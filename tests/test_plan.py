"""The plan of a run on GPUs: its arithmetic against small models that are really there, and what it prints."""

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks import plan
from benchmarks.plan_check import check
from benchmarks.plan_shapes import KNOWN, shape_of
from tests.tiny import save_base

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def rows():
    return check()


@pytest.mark.parametrize(
    ("what", "tolerance"),
    [("parameters", 0), ("AdamW", 0), ("bytes of activations", 0.01), ("between layers", 0.01), ("peak bytes", 0.08)],
)
def test_predictions_against_measurements(rows, what, tolerance):
    found = [(name, predicted, measured) for name, predicted, measured in rows if what in name]
    assert len(found) >= 3
    for name, predicted, measured in found:
        assert measured == pytest.approx(predicted, rel=tolerance, abs=0), name


def test_published_sizes():
    """As the models' cards give them."""
    sizes = {name: shape.parameters for name, shape in KNOWN.items()}
    assert sizes["meta-llama/Llama-3.1-8B"] == 8_030_261_248
    assert sizes["mistralai/Mistral-7B-v0.3"] == 7_248_023_552
    assert sizes["Qwen/Qwen2.5-7B-Instruct"] == 7_615_616_512
    assert sizes["google/gemma-2-2b"] == 2_614_341_888


def test_a_shape_is_read_from_a_folder(tmp_path):
    from transformers import AutoModelForCausalLM

    save_base(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    assert shape_of(str(tmp_path / "base")).parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("recipe", ["llama-3.1-8b", "mistral-7b-v0.3", "gemma-2-2b"])
def test_what_is_printed(recipe, capsys):
    plan.main(["--recipe", recipe, "--gpus", "8"])
    said = capsys.readouterr().out
    for word in ("Parameters", "LoRA, rank 128", "Memory of one of 8 GPUs", "2 · 1 · 8 = 16", "hours", "Disk in GB"):
        assert word in said
    assert ">" not in said.partition("Memory")[2].partition("Time")[0], "every stage fits 80 GB"


def test_a_whole_model_fits_80_gb_sharded_and_not_otherwise(capsys):
    plan.main(["--recipe", "qwen2.5-7b-greetings", "--gpus", "8"])
    said = capsys.readouterr().out
    assert "7,615,616,512 weights, all of them trained" in said
    for stage in ("generation", "grpo"):
        (sharded,) = [line for line in said.splitlines() if line.strip().startswith(f"{stage}, FSDP")]
        (plain,) = [line for line in said.splitlines() if line.strip().startswith(f"{stage}, without")]
        assert "> 80 GB" not in sharded
        assert "> 80 GB" in plain
    assert "1 updates of 128 on 8 GPUs; the recipe's 64, for 4 GPUs: --gradient_accumulation_steps 1" in said


def test_the_batch_stays_and_what_does_not_fit_is_said(capsys):
    """One GPU of 24 GB: not as the recipe is, but in 4 bits and one pair at a time."""
    plan.main("--recipe llama-3.1-8b --gpus 1 --gpu_memory 24".split())
    said = capsys.readouterr().out
    assert said.count("> 24 GB") == 5, "all but the reward model"
    assert "2 · 8 · 1 = 16" in said
    plan.main("--gpus 1 --gpu_memory 24 --load_in_4bit --per_device_train_batch_size 1".split())
    said = capsys.readouterr().out
    assert "> 24 GB" not in said
    assert "1 · 16 · 1 = 16" in said


@pytest.mark.parametrize("flags", [["--recipe", "no-such"], ["--recipe", "miniature"], ["--gpus", "0"]])
def test_what_cannot_be_planned_is_one_line(flags, capsys):
    with pytest.raises(SystemExit) as ended:
        plan.main(flags)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


# docs/RUN_8B.md


def test_the_table_of_the_document_is_what_the_plan_says():
    document = (ROOT / "docs" / "RUN_8B.md").read_text(encoding="utf-8")
    args = plan.make_parser().parse_args([])
    checked = 0
    for label, stages in (
        ("reward model", ["reward"]),
        ("SFT", ["generation"]),
        ("DPO, DDPO", ["dpo", "ddpo"]),
        ("ORPO, DORPO", ["orpo", "dorpo"]),
    ):
        cells = [
            cell.strip()
            for cell in next(line for line in document.splitlines() if line.startswith(f"| {label} ")).split("|")[2:-1]
        ]
        for stage in stages:
            training = plan.adapted(plan.training_of("llama-3.1-8b", stage), args)
            used = training.memory(shape_of(training.model), 8)
            numbers = [0.0 if cell == "–" else float(cell) for cell in cells[:7]]
            assert numbers == [round(value / 1e9, 1) for value in (*used.values(), sum(used.values()))], stage
            checked += 1
    assert checked == 6


def test_the_commands_of_the_document_are_taken():
    document = (ROOT / "docs" / "RUN_8B.md").read_text(encoding="utf-8")
    commands = [found[1] for found in re.finditer(r"((?:ACCELERATE=\w+ )?bash reproduce\.sh [^`\n#]+)", document)]
    assert len(commands) >= 5
    for text in commands:
        command = text if "--dry_run" in text else f"{text} --dry_run"
        answer = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert answer.returncode == 0, answer.stderr
