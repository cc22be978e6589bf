"""A policy that can stop: what LoRA makes of a token whose row in the LM head was trained, and of one whose row was not."""

import dataclasses

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer
from trl import SFTConfig

from diversity_tuning.chat_template import check_can_stop
from diversity_tuning.data.schema import to_messages
from diversity_tuning.errors import UserError
from diversity_tuning.policy import load_base_model, load_tokenizer
from diversity_tuning.training.sft import ResumableSFTTrainer
from scripts_finetuning import generation_model_train as sft
from tests import families
from tests.training_runs import COMMON, LORA, responses

RESERVED = tuple(f"<|reserved_special_token_{i}|>" for i in range(40))
UNTRAINED = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", *RESERVED)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Folders of a tiny Llama base whose rows of chat tokens and reserved tokens are alike, and of its sibling's tokenizer."""
    llama = families.MODELS["llama"]
    model = dataclasses.replace(llama, specials=(*llama.specials, *RESERVED))
    base, sibling = families.save(tmp_path_factory.mktemp("base"), model)
    weights = load_file(base / "model.safetensors")
    rows = AutoTokenizer.from_pretrained(sibling).convert_tokens_to_ids(list(UNTRAINED))
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        weights[name][rows] = weights[name].mean(0)
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    return base, sibling


def chance_of_stopping(places, tokenizer, tmp_path):
    """p(EOS) after the last letter of a response, averaged over the responses that SFT with LoRA has seen many times."""
    examples = []
    for row in range(4):
        for text in responses(row)["filtered_comment_texts"]:
            user, assistant = to_messages(f"title {row}", text)
            examples.append({"prompt": [user], "completion": [assistant]})
    config = SFTConfig(
        str(tmp_path), max_steps=25, per_device_train_batch_size=8, learning_rate=2e-2, lr_scheduler_type="constant",
        bf16=False, use_cpu=True, report_to="none", save_strategy="no", disable_tqdm=True, gradient_checkpointing=False,
    )  # fmt: skip
    trainer = ResumableSFTTrainer(
        model=load_base_model(str(places[0]), dtype="float32"), args=config, train_dataset=Dataset.from_list(examples),
        processing_class=tokenizer, peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"),
    )  # fmt: skip
    trainer.train()
    batch = next(iter(trainer.get_train_dataloader()))
    with torch.no_grad():
        logits = trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    ends = (batch["input_ids"] == tokenizer.eos_token_id) & (batch["labels"] != -100)
    assert (ends.sum(1) == 1).all()
    return logits[:, :-1].softmax(-1)[..., tokenizer.eos_token_id][ends[:, 1:]].mean().item()


def test_a_policy_learns_to_stop_with_a_trained_token_only(places, tmp_path):
    borrowed = AutoTokenizer.from_pretrained(places[1])  # the sibling's, as it is
    borrowed.pad_token = "<|finetune_right_pad_id|>"
    assert borrowed.eos_token == "<|eot_id|>"
    assert chance_of_stopping(places, borrowed, tmp_path / "a") <= 1 / len(UNTRAINED) + 1e-3
    ours = load_tokenizer(*map(str, places))
    assert ours.eos_token == "<|end_of_text|>"
    assert chance_of_stopping(places, ours, tmp_path / "b") > 0.5


def test_a_token_that_cannot_be_learned_is_refused_before_training(places):
    model, tokenizer = load_base_model(str(places[0])), load_tokenizer(*map(str, places))
    check_can_stop(model, tokenizer, "base")
    tokenizer.eos_token = "<|eot_id|>"
    with pytest.raises(UserError, match=f"is equal to that of {len(UNTRAINED) - 1} other tokens: it was never trained"):
        check_can_stop(model, tokenizer, "base")
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] = 0
    with pytest.raises(UserError, match="whose row in the LM head is zero"):
        check_can_stop(model, tokenizer, "base")


def test_the_training_command_refuses_it(places, tmp_path, capsys):
    filtered = Dataset.from_list([responses(i) for i in range(4)])
    from datasets import DatasetDict

    DatasetDict({"train": filtered}).save_to_disk(tmp_path / "filtered")
    other = AutoTokenizer.from_pretrained(places[1])
    other.chat_template = other.chat_template.replace("<|eot_id|>", RESERVED[0])
    other.save_pretrained(tmp_path / "other")
    argv = ["--source", tmp_path / "filtered", "--model_name_or_path", places[0], "--output_dir", tmp_path / "run"]
    with pytest.raises(SystemExit):
        sft.main([*map(str, argv), "--chat_template_from", str(tmp_path / "other"), *COMMON, *LORA])
    assert f"a response ends with {RESERVED[0]}, whose row in the LM head" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
