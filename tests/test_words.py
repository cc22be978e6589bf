"""A system line and an instruction around the prompt: written into the chat template, read alike in training and sampling."""

import pytest

from diversity_tuning.chat_template import put_words
from diversity_tuning.errors import UserError
from diversity_tuning.generation.local import LocalEngine, encode_conversations
from diversity_tuning.generation.requests import ChatRequest, user_request
from diversity_tuning.policy import load_tokenizer, policy_tokenizer
from diversity_tuning.trainers import GRPOTrainer
from diversity_tuning.training import preference
from diversity_tuning.training import sft as training_sft
from scripts_dpo import generation_dpo_model_train as dpo
from scripts_finetuning import generation_model_train as sft
from scripts_grpo import generation_grpo_model_train as grpo
from tests.tiny import make_tokenizer
from tests.training_runs import LORA, adapter, make_world, train

SYSTEM, INSTRUCTION = 'Be "brief" {{ 🙂 }}\n', "Q: {prompt} {% A %}:"
WORDS = ["--system_prompt", SYSTEM, "--instruction", INSTRUCTION]


def rendered(messages, system=None, instruction=None):
    tokenizer = make_tokenizer()
    put_words(tokenizer, system, instruction)
    return tokenizer.apply_chat_template([{"role": role, "content": text} for role, text in messages], tokenize=False)


def test_the_words_stand_where_they_should_and_as_they_are():
    turns = [("user", " one\n"), ("assistant", "two"), ("user", " three")]
    assert rendered(turns) == "<|bos|><|user|> one\n<|assistant|>two<|end|><|user|> three<|assistant|>"
    assert (
        rendered(turns, SYSTEM, INSTRUCTION)
        == '<|bos|>Be "brief" {{ 🙂 }}\n<|user|>Q: one {% A %}:<|assistant|>two<|end|><|user|> three<|assistant|>'
    )
    own = [("system", "mine"), ("user", "one")]  # a conversation's own system line wins
    assert rendered(own, "theirs") == "<|bos|>mine<|user|>one<|assistant|>"


@pytest.mark.parametrize("instruction", ["no place", "{prompt} and {prompt}", ""])
def test_an_instruction_holds_the_prompt_once(instruction):
    with pytest.raises(UserError, match=r"must hold \{prompt\} once"):
        put_words(make_tokenizer(), None, instruction)


def test_a_template_without_a_system_line_refuses_one():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none here') }}{% endif %}" + tokenizer.chat_template
    )
    with pytest.raises(UserError, match=r"takes no --system_prompt .*none here"):
        put_words(tokenizer, "words", None)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("words"))


def trained_on(monkeypatch, module, name, run):
    """The data set that a training command gives its trainer's loop."""
    seen = []
    original = getattr(module, name)
    monkeypatch.setattr(
        module, name, lambda trainer, arguments: seen.append(trainer.train_dataset) or original(trainer, arguments)
    )
    run()
    return seen[0]


def test_training_and_sampling_read_the_same_tokens(root, monkeypatch):
    more = ["--max_steps", "1", *LORA, *WORDS]
    data = trained_on(
        monkeypatch, training_sft, "check_examples_left", lambda: train(sft, root, "sft-words", source="filtered", flags=more)
    )
    tokenizer = policy_tokenizer(str(root / "base"), str(root / "sft-words"))
    [sampled] = encode_conversations(tokenizer, [user_request("title 0\n")])
    assert tokenizer.decode(sampled) == '<|bos|>Be "brief" {{ 🙂 }}\n<|user|>Q: title 0 {% A %}:<|assistant|>'
    assert sum(row["input_ids"][: len(sampled)] == sampled for row in data) == 6  # every other prompt is "title 1"

    flags = ["--max_steps", "1", "--adapter", str(root / "sft-words")]
    pairs = trained_on(monkeypatch, preference, "check_examples_left", lambda: train(dpo, root, "dpo-words", flags=flags))
    tokenizer = policy_tokenizer(str(root / "base"), str(root / "dpo-words"))
    from datasets import load_from_disk

    first = load_from_disk(root / "pairs")["train"][0]
    prompt = first["prompt"] if "prompt" in first else first["chosen"][:1]
    request = ChatRequest(tuple((turn["role"], turn["content"]) for turn in prompt))
    [sampled] = encode_conversations(tokenizer, [request])
    assert pairs[0]["prompt_ids"] == sampled
    assert "{% A %}" in tokenizer.decode(sampled)


def test_grpo_asks_with_the_words_of_the_adapter(root, monkeypatch):
    """What completions are drawn for is what sampling asks, token for token."""
    if not (root / "sft-words").exists():
        train(sft, root, "sft-words", source="filtered", flags=["--max_steps", "1", *LORA, *WORDS])
    seen, original = set(), GRPOTrainer._generate_and_score_completions

    def spy(trainer, inputs):
        made = original(trainer, inputs)
        rows = zip(made["prompt_ids"], made["prompt_mask"].bool(), strict=True)
        seen.update(tuple(ids[mask].tolist()) for ids, mask in rows)
        return made

    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", spy)
    flags = ["--adapter", str(root / "sft-words"), "--reward", "builtin:length", "--max_steps", "1"]
    flags += ["--per_device_train_batch_size", "4", "--num_generations", "2", "--max_completion_length", "4"]
    assert train(grpo, root, "grpo-words", source="filtered", flags=flags) == 0
    tokenizer = policy_tokenizer(str(root / "base"), str(root / "sft-words"))
    assert seen == set(map(tuple, encode_conversations(tokenizer, [user_request(f"title {i}\n") for i in (0, 1)])))
    assert all("{% A %}" in tokenizer.decode(ids) for ids in seen)


def test_an_untouched_model_is_sampled_with_the_words_of_an_adapter(root):
    if not (root / "sft-words").exists():
        train(sft, root, "sft-words", source="filtered", flags=["--max_steps", "1", *LORA, *WORDS])
    _, tokenizer = LocalEngine(str(root / "base"), template_from=str(root / "sft-words")).policy
    [sampled] = encode_conversations(tokenizer, [user_request("x")])
    assert tokenizer.decode(sampled) == '<|bos|>Be "brief" {{ 🙂 }}\n<|user|>Q: x {% A %}:<|assistant|>'
    assert tokenizer.eos_token == load_tokenizer(str(root / "base")).eos_token


def test_words_beside_an_adapter_that_brings_its_own_are_refused(root, capsys):
    with pytest.raises(SystemExit):
        train(dpo, root, "no", flags=[*adapter(root), "--system_prompt", "x"])
    assert "leave --system_prompt out" in capsys.readouterr().err
