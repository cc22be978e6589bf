"""Training commands on files of the reader's own, from a base model without an adapter."""

import json
import math

import pytest
import torch
from datasets import Dataset

from scripts_dpo import generation_ddpo_model_train as ddpo
from scripts_finetuning import generation_model_train as sft
from scripts_grpo import generation_grpo_model_train as grpo
from scripts_orpo import generation_orpo_model_train as orpo
from scripts_reward_modeling import reward_model_train as reward
from tests import families
from tests.tiny import make_pairs, save_base
from tests.training_runs import LORA, history, losses, stops, train, weights

PAIRS = make_pairs(8, seed=4)
PLAIN = [
    {
        "prompt": pair["chosen"][0]["content"],
        **{side: pair[side][1]["content"] for side in ("chosen", "rejected")},
        "weight": pair["deviation_chosen"],
    }
    for pair in PAIRS
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A base model and, in files, pairs with weights, responses and ratings."""
    root = tmp_path_factory.mktemp("sources")
    save_base(root / "base")
    Dataset.from_list(PAIRS).save_to_disk(root / "pairs")
    answers = [{"prompt": row["prompt"], "response": row["chosen"], "score": 0.5} for row in PLAIN]
    for name, rows in {"pairs.jsonl": PLAIN, "answers.jsonl": answers}.items():
        (root / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def test_ddpo_on_a_file_of_weighted_pairs_as_a_newcomer_types_it(world, monkeypatch):
    """No recipe, no adapter, no word about the device: on a laptop too."""
    monkeypatch.chdir(world)
    flags = "--source pairs.jsonl --weight_column weight --model_name_or_path base --output_dir out --max_steps 1"
    assert ddpo.main(f"{flags} --logging_steps 1 --report_to none".split()) == 0
    (first,) = [row for row in history(world / "out") if "loss" in row]
    assert first["weights/mean"] == pytest.approx(sum(row["weight"] for row in PLAIN) / 8)
    assert first["loss"] == pytest.approx(math.log(2) * first["weights/mean"], rel=1e-3)
    assert (world / "out" / "model.safetensors").is_file()
    assert ddpo.main(f"{flags} --logging_steps 1".split()) == 0, "finished: skipped by the file's content"


def test_texts_in_a_file_train_what_conversations_in_a_folder_train(world):
    """The chat template is applied to both; the same weights to the last bit."""
    assert train(ddpo, world, "plain", "pairs.jsonl", [*LORA, "--weight_column", "weight"]) == 0
    assert train(ddpo, world, "conversations", "pairs", LORA) == 0
    expected = weights(world / "conversations")
    assert all(torch.equal(weight, expected[name]) for name, weight in weights(world / "plain").items())


@pytest.mark.parametrize(
    ("command", "source", "flags", "counts"),
    [
        (sft, "answers.jsonl", LORA, {"train_examples": 8}),
        (orpo, "pairs.jsonl", LORA, {"pairs": 8, "trained_pairs": 8, "pairs_cut_at_max_length": 0}),
        (reward, "answers.jsonl", ["--max_train_samples", "4"], {"train_responses": 4}),
    ],
)
def test_every_other_trainer_reads_files_too(world, command, source, flags, counts):
    assert train(command, world, command.__name__, source, flags) == 0
    record = json.loads((world / command.__name__ / "provenance.json").read_text())
    assert record["counts"] == counts
    assert losses(world / command.__name__)[-1] < losses(world / command.__name__)[0]


@pytest.mark.parametrize(("command", "source"), [(sft, "answers.jsonl"), (orpo, "pairs.jsonl")])
def test_prompts_that_leave_no_room_for_a_response(world, capsys, command, source):
    line = stops(capsys, command, world, "short", source=source, flags=[*LORA, "--max_length", "6"])
    assert f"{source}: no example is left to train on: every prompt alone has --max_length 6 tokens or more" in line
    assert not (world / "short").exists()


UNUSED = {
    "image": ["http://x.org/a.jpg"] * 8, "images": [None] * 8, "tools": ["pen"] * 8, "chat_template_kwargs": [None] * 8,
    "ref_chosen_logps": [-1.0] * 8, "prompt_ids": [[1]] * 8, "length": [5, None] * 4, "labels": ["x"] * 8,
}  # fmt: skip


def test_columns_that_no_training_needs_change_nothing(world):
    """Not one of TRL's own names either: the weights are those without them, to the last bit."""
    rows = [row | {name: values[number] for name, values in UNUSED.items()} for number, row in enumerate(PLAIN)]
    (world / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("pairs", "more"):
        flags = [*LORA, "--weight_column", "weight", "--max_steps", "1"]
        assert train(ddpo, world, f"columns-{name}", f"{name}.jsonl", flags) == 0
    expected = weights(world / "columns-pairs")
    assert all(torch.equal(weight, expected[name]) for name, weight in weights(world / "columns-more").items())


@pytest.mark.parametrize("command", [ddpo, orpo])
def test_pairs_that_are_equal_after_the_cut_are_left_out_and_counted(world, command, capsys):
    long = {"prompt": "p", "chosen": "x" * 60 + " one", "rejected": "x" * 60 + " two", "weight": 1}
    rows = [*PLAIN, {**PLAIN[0], "rejected": PLAIN[0]["chosen"]}, long]
    (world / "equal.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = [*LORA, "--max_steps", "1", "--max_length", "60"] + (["--weight_column", "weight"] if command is ddpo else [])
    assert train(command, world, f"equal-{command.__name__}", "equal.jsonl", flags) == 0
    counts = json.loads((world / f"equal-{command.__name__}" / "provenance.json").read_text())["counts"]
    assert (counts["pairs"], counts["trained_pairs"], counts["pairs_equal_after_cut"]) == (10, 8, 2)
    (world / "all.jsonl").write_text((json.dumps({**long, "rejected": long["chosen"]}) + "\n") * 4)
    assert "no pair is left to train on" in stops(capsys, command, world, "none", source="all.jsonl", flags=flags)


@pytest.mark.parametrize("command", [sft, ddpo, grpo])
def test_a_template_without_a_system_turn_is_one_line(world, tmp_path, capsys, command):
    base, sibling = families.save(tmp_path, families.MODELS["gemma2"])
    row = {"system": "Be brief.", "prompt": "p", "chosen": "a", "rejected": "b", "weight": 1, "completion": "c"}
    (world / "system.jsonl").write_text(json.dumps(row) + "\n")
    flags = [*LORA, "--model_name_or_path", str(base), "--chat_template_from", str(sibling)]
    flags += {ddpo: ["--weight_column", "weight"], grpo: ["--reward", "builtin:length", "--num_generations", "2"]}.get(
        command, []
    )
    line = stops(capsys, command, world, "gemma", source="system.jsonl", flags=flags)
    assert "its chat template does not write turns of system, user" in line
    assert "write the system text into the user's turn" in line
