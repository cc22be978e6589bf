"""Data preparation, SFT, DPO and sampling agree on where a story begins, where it is cut, and on EOS."""

import pytest
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import DPOConfig, SFTConfig

from diversity_tuning.data import schema
from diversity_tuning.errors import UserError
from diversity_tuning.generation.local import encode_conversations
from diversity_tuning.generation.requests import user_request
from diversity_tuning.trainers import DPOTrainer
from diversity_tuning.training.sft import ResumableSFTTrainer, prompt_completions
from studies.horror.boundary import boundaries, encode_example, encode_prompt
from studies.miniature.base_model import encode

ARGUMENTS = {
    "per_device_train_batch_size": 2, "bf16": False, "gradient_checkpointing": False, "report_to": "none", "use_cpu": True,
    "save_strategy": "no",
}  # fmt: skip


@pytest.fixture(scope="module")
def examples(written, tokenizer):
    """Prompts with stories of usual length, cut ones among them: the limit is the median length."""
    pairs = [(spec.to_prompt(), story) for spec, story in written[:8]]
    lengths = sorted(len(encode_example(tokenizer, *pair, 10_000).ids) for pair in pairs)
    return pairs, lengths[len(lengths) // 2]


def check(ids, boundary, tokenizer, pair, limit):
    expected = encode_example(tokenizer, *pair, limit)
    assert ids == expected.ids
    assert boundary == expected.boundary
    assert ids[:boundary] == encode_prompt(tokenizer, pair[0]), "the prompt is whole"
    assert (ids[-1] == tokenizer.eos_token_id) is not expected.cut, "EOS where the story is whole, and only there"
    assert tokenizer.eos_token_id not in ids[boundary:-1]
    assert len(ids) <= limit
    return expected.cut


def test_sft_cuts_as_the_data_preparation(tmp_path, examples, tokenizer, base):
    pairs, limit = examples
    title, text = zip(*(prompt.split("\n", 1) for prompt, _ in pairs), strict=True)
    rows = Dataset.from_dict(
        {schema.POST_TITLE: title, schema.POST_TEXT: text, schema.FILTERED_COMMENT_TEXTS: [[story] for _, story in pairs]}
    )
    trainer = ResumableSFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base),
        args=SFTConfig(output_dir=str(tmp_path), max_length=limit, **ARGUMENTS),
        train_dataset=prompt_completions(rows, "rows"),
        processing_class=tokenizer,
    )
    cuts = 0
    for row, pair in zip(trainer.train_dataset, pairs, strict=True):
        batch = trainer.data_collator([row])
        ids, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
        boundary = next(place for place, label in enumerate(labels) if label != -100)
        assert labels[boundary:] == ids[boundary:], "the loss is on the whole story"
        cuts += check(ids, boundary, tokenizer, pair, limit)
    assert 0 < cuts < len(pairs)


def test_dpo_cuts_as_the_data_preparation(tmp_path, examples, tokenizer, base):
    pairs, limit = examples
    chosen, rejected = pairs, [(prompt, other) for (prompt, _), (_, other) in zip(pairs, pairs[1:] + pairs[:1], strict=True)]
    rows = [
        {"chosen": schema.to_messages(*one), "rejected": schema.to_messages(*two)}
        for one, two in zip(chosen, rejected, strict=True)
    ]
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(base),
        args=DPOConfig(output_dir=str(tmp_path), max_length=limit, **ARGUMENTS),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(rows))])
    cuts = 0
    for place, pair in enumerate(chosen + rejected):
        ids = batch["input_ids"][place][batch["attention_mask"][place] == 1].tolist()
        boundary = batch["completion_mask"][place].tolist().index(1)
        cuts += check(ids, boundary, tokenizer, pair, limit)
    assert 0 < cuts < 2 * len(pairs)


def test_sampling_and_the_base_model_see_the_same_tokens(examples, tokenizer):
    pairs, limit = examples
    for prompt, story in pairs:
        whole = encode_example(tokenizer, prompt, story, limit)
        assert encode_conversations(tokenizer, [user_request(prompt)]) == [whole.ids[: whole.boundary]]
        assert encode(tokenizer, [(prompt, story)])[0][:limit] == whole.ids


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_a_prompt_without_room_for_a_story_is_no_example(tmp_path, examples, tokenizer, base, kind):
    (prompt, story), limit = examples[0][0], None
    limit = len(encode_prompt(tokenizer, prompt))
    with pytest.raises(UserError, match="no story fits"):
        encode_example(tokenizer, prompt, story, limit)
    short = prompt.split("\n", 1)[0]
    arguments = {"model": AutoModelForCausalLM.from_pretrained(base), "processing_class": tokenizer}
    if kind == "sft":
        rows = [
            {"prompt": [schema.to_messages(p, story)[0]], "completion": [schema.to_messages(p, story)[1]]}
            for p in (prompt, short)
        ]
        config = SFTConfig(output_dir=str(tmp_path), max_length=limit, **ARGUMENTS)
        trainer = ResumableSFTTrainer(args=config, train_dataset=Dataset.from_list(rows), **arguments)
    else:
        rows = [
            {"chosen": schema.to_messages(p, story), "rejected": schema.to_messages(p, story[:50])} for p in (prompt, short)
        ]
        config = DPOConfig(output_dir=str(tmp_path), max_length=limit, **ARGUMENTS)
        trainer = DPOTrainer(args=config, train_dataset=Dataset.from_list(rows), **arguments)
    assert len(trainer.train_dataset) == 1, "the short prompt's alone"


def test_boundaries_are_counted(examples, tokenizer):
    pairs, limit = examples
    found = boundaries(tokenizer, pairs, limit)
    encoded = [encode_example(tokenizer, *pair, limit) for pair in pairs]
    assert found["examples"] == len(pairs)
    assert found["cut"] == sum(one.cut for one in encoded) > 0
    assert found["prompt_tokens_longest"] == max(one.boundary for one in encoded)
    assert found["story_tokens_longest"] + min(one.boundary for one in encoded) <= limit


def test_every_synthetic_example_is_whole_at_the_recipes_length(written, tokenizer):
    assert boundaries(tokenizer, ((spec.to_prompt(), story) for spec, story in written), 600)["cut"] == 0
