"""The best checkpoint is what is kept, training stops when nothing gets better, and the model says what it is."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import Trainer

from diversity_tuning.trainers.batches import ExactEvaluationMixin
from scripts_dpo import generation_ddpo_model_train as ddpo
from scripts_finetuning import generation_model_train as sft
from scripts_reward_modeling import reward_model_train as reward
from tests.training_runs import LORA, adapter, hidden, history, make_world, stops, train

BEST = (
    "--eval_split test --eval_strategy steps --eval_steps 1 --save_strategy steps --save_steps 1 --load_best_model_at_end true "
    "--metric_for_best_model eval_loss --greater_is_better false --max_steps 8 --early_stopping_patience 2"
).split()
LOSSES = [3.0, 1.0, 2.0, 1.5, 0.5, 0.4, 0.3, 0.2]  # of the evaluations: the second is best, two later training stops
WHOLE = "model.safetensors"
ADAPTER = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("best"))


@pytest.mark.parametrize(
    ("name", "command", "source", "flags", "file"),
    [
        ("sft", sft, "filtered", LORA, ADAPTER),
        ("reward", reward, "filtered", [], WHOLE),
        ("reward-lora", reward, "filtered", LORA, ADAPTER),
        ("ddpo", ddpo, "pairs", None, ADAPTER),
    ],
)
def test_early_stopping_keeps_the_best_checkpoint(world, monkeypatch, name, command, source, flags, file):
    left, evaluate = iter(LOSSES), Trainer.evaluation_loop

    def evaluation_loop(self, *args, **kwargs):
        output = evaluate(self, *args, **kwargs)
        output.metrics["eval_loss"] = next(left)
        return output

    monkeypatch.delattr(ExactEvaluationMixin, "evaluation_loop")  # which would put the loss of the pairs in its place
    monkeypatch.setattr(Trainer, "evaluation_loop", evaluation_loop)
    train(command, world, f"{name}-best", source=source, flags=[*(adapter(world) if flags is None else flags), *BEST])
    run = world / f"{name}-best"
    assert [row["eval_loss"] for row in history(run) if "eval_loss" in row] == LOSSES[:4]
    record = json.loads((run / "provenance.json").read_text())
    assert (record["best_checkpoint"], record["best_metric"]) == ("checkpoint-2", 1.0)
    kept, last = load_file(run / file), load_file(run / "checkpoint-4" / file)
    for key, weight in load_file(run / "checkpoint-2" / file).items():
        assert torch.equal(kept[key], weight), key
    assert any(not torch.equal(kept[key], last[key]) for key in kept)


def test_a_best_checkpoint_needs_something_to_judge_by(world, capsys):
    without = [word for word in BEST if word not in ("--eval_split", "test")]
    line = stops(capsys, sft, world, "blind", source="filtered", flags=[*LORA, *without])
    assert "--load_best_model_at_end needs an --eval_split" in line


def header(card):
    _, front, body = card.split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_card_of_an_adapter(world):
    """Recipe, data, metrics and a way to load it that works as it is printed."""
    flags = [*adapter(world), "--beta", "0.25", "--save_strategy", "steps", "--save_steps", "2"]
    train(ddpo, world, "carded", flags=flags)
    run = world / "carded"
    front, card = header((run / "README.md").read_text())
    assert front["library_name"] == "peft"
    assert "base_model" not in front, "a folder is nothing that a hub could link to"
    assert front["tags"] == ["diversity-tuning", "ddpo", "lora"]
    assert card.lstrip().startswith("# carded\n")
    record = json.loads((run / "provenance.json").read_text())
    assert f"| SHA-256 of source | {record['inputs']['source']} |" in card
    assert f"| SHA-256 of adapter | {record['inputs']['adapter']} |" in card
    assert "| pairs | 24 |" in card
    assert "| beta | 0.25 |" in card
    assert "| learning_rate | 0.02 |" in card
    assert f"| loss | {record['metrics']['loss']:.6g} |" in card
    assert f"| trl | {record['versions']['trl']} |" in card
    code = card.split("```python\n")[1].split("```")[0]
    made = {}
    exec(code, made)
    assert made["model"].active_adapter == "default"
    assert made["tokenizer"].eos_token == "<|end|>"
    early = (run / "checkpoint-2" / "README.md").read_text()
    assert "| step | 2 |" in early
    assert "carded/checkpoint-2" in early
    assert "| step | 4 |" in card


def test_the_card_of_a_reward_model_and_of_a_whole_policy(world):
    for command, name, flags in ((reward, "judge", []), (sft, "whole", [])):
        train(command, world, name, source="filtered", flags=["--max_steps", "1", *flags])
        front, card = header((world / name / "README.md").read_text())
        assert front["library_name"] == "transformers"
        made = {}
        exec(card.split("```python\n")[1].split("```")[0], made)
        if command is reward:
            assert front["pipeline_tag"] == "text-classification"
            assert made["rewards"].shape == (1,)
        else:
            assert "merge" not in card
            assert made["tokenizer"].pad_token == "<|pad|>"


def test_a_card_of_a_hub_model_links_to_it_and_breaks_no_table():
    from diversity_tuning.training.model_card import model_card

    record = {
        "stage": "dorpo",
        "arguments": {"note": "a|b\nc"},
        "inputs": {"model_name_or_path": "hub:meta-llama/Llama-3.1-8B"},
    }
    card = model_card(record, {}, {}, "meta-llama/Llama-3.1-8B", "runs/my run", True, {}, None)
    assert header(card)[0]["base_model"] == "meta-llama/Llama-3.1-8B"
    assert "| note | a\\|b c |" in card
    assert "--adapter 'runs/my run' --output merged" in card


def test_the_base_model_that_a_card_names(tmp_path):
    """Of a folder, what its own card says; of the built-in model, where its weights are from."""
    from diversity_tuning.training.model_card import linked_base

    assert linked_base(str(tmp_path), "5f3c") is None
    (tmp_path / "README.md").write_text("---\nlibrary_name: transformers\nbase_model: meta-llama/Llama-3.1-8B\n---\n# x\n")
    assert linked_base(str(tmp_path), "5f3c") == "meta-llama/Llama-3.1-8B"
    (tmp_path / "README.md").write_text("# x\n\nbase_model: meta-llama/Llama-3.1-8B\n")
    assert linked_base(str(tmp_path), "5f3c") is None
    assert linked_base("builtin:smollm2", "5f3c") == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_curves_that_cannot_be_drawn_cost_no_model(tmp_path, monkeypatch, capsys):
    """matplotlib fails where it cannot write its cache, among others."""
    from diversity_tuning.training import life_cycle

    def fails(history, path, title):
        path.write_bytes(b"half a figure")
        raise OSError("no place for a cache")

    monkeypatch.setattr(life_cycle, "plot_curves", fails)
    root = make_world(tmp_path)
    assert not (root / "sft" / "curves.png").exists()
    assert (root / "sft" / "adapter_model.safetensors").is_file()
    assert not hidden(root, "sft").exists()
    assert f"{root / 'sft'}: no curves.png: no place for a cache" in capsys.readouterr().out.splitlines()
    card = (root / "sft" / "README.md").read_text()
    assert "curves.png" not in card
    assert "`metrics.jsonl`" in card


def test_what_a_curve_shows():
    from diversity_tuning.training.curves import curve_panels

    pairs = {"loss": 0.5, "rewards/chosen": 1.0, "rewards/rejected": 0.2, "rewards/margins": 0.8, "rewards/accuracies": 0.9}
    rows = [{"step": 2, **pairs, "mean_token_accuracy": 0.3, "weights/mean": 0.8}, {"step": 3, "eval_loss": 0.6}]
    panels = curve_panels(rows)
    assert list(panels) == ["loss", "reward", "margin", "accuracy", "δ"]
    assert panels["loss"] == {"training": [(2, 0.5)], "evaluation": [(3, 0.6)]}
    assert panels["margin"] == {"training": [(2, 0.8)]}
    assert panels["reward"] == {"chosen": [(2, 1.0)], "rejected": [(2, 0.2)]}
    assert list(curve_panels([{"step": 1, "loss": 2.0, "mean_token_accuracy": 0.3}])) == ["loss", "token accuracy"]
