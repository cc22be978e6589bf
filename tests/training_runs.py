"""A tiny world to train in, and what the tests of training commands share."""

import json
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict
from safetensors.torch import load_file

from scripts_finetuning import generation_model_train as sft
from tests.tiny import make_pairs, save_base

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


def make_world(root):
    """Folders: ``base``, ``filtered`` (stage 1), ``pairs`` (stage 3), and the SFT run ``sft``."""
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
    """Of the adapter, or of the whole model."""
    names = ("adapter_model.safetensors", "model.safetensors")
    return load_file(next(folder / name for name in names if (folder / name).is_file()))


def history(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder):
    return [row["loss"] for row in history(folder) if "loss" in row]


def hidden(root, name):
    return root / f".{name}.training"


def stops(capsys, command, *arguments, **options):
    with pytest.raises(SystemExit) as caught:
        train(command, *arguments, **options)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]
