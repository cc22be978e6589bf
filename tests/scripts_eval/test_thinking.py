"""Reasoning before a response: cut off by every engine, and said."""

import json

import pytest

from diversity_tuning.generation.local import read_tokens
from diversity_tuning.generation.requests import Failure
from diversity_tuning.generation.vllm import VllmCompletions
from diversity_tuning.thinking import cut_thinking, opens_thinking
from scripts_eval import sample
from tests.generation.server import chat_server, openai_reply
from tests.scripts_eval.test_engines import lines, record, server_flags
from tests.tiny import make_tokenizer

HARMONY = "<|channel|>analysis<|message|>plan<|end|><|start|>assistant<|channel|>final<|message|>A story."
CUT = [
    "<think>plan</think>A story.",
    "<think>\n\n</think>\n\nA story.",
    "plan</think>A story.",
    "<thinking>plan</thinking> A story.",
    "<Thinking>plan</Thinking>A story.",
    "<reasoning>plan</reasoning>A story.",
    "[THINK]plan[/THINK]A story.",
    "◁think▷plan◁/think▷A story.",
    "<|begin_of_thought|>plan<|end_of_thought|>A story.",
    "<|START_THINKING|>plan<|END_THINKING|>A story.",
    "<seed:think>plan</seed:think>A story.",
    "<think>one</think>\n<think>two</think>\nA story.",
    "<think>one <think>two</think> three</think>A story.",
    "<think>I shall use <think> tags.</think>A story.",
    "analysisThe user wants one.assistantfinalA story.",
    "analysis\nwe write.assistantcommentaryhm.assistantfinalA story.",
    HARMONY,
    f"<|start|>assistant{HARMONY}<|return|>",
    "<scratchpad>plan</scratchpad>\n\nA story.",
    "<reflection>plan</reflection>A story.",
    "<inner_thoughts>plan</inner_thoughts>A story.",
    '<think mode="long">plan</think>A story.',
    "<thinking>plan <reflection>better</reflection> so</thinking>\n<output>A story.</output>",
    "<thinking>plan</thinking><reflection>better</reflection>A story.",
    "<think>plan</thinking>A story.",
    "<|begin_of_thought|>plan<|end_of_thought|>\n\n<|begin_of_solution|>A story.<|end_of_solution|>",
    "<|begin_of_thought|>plan<|end_of_thought|><|begin_of_solution|>A story.",
    "<|START_THINKING|>plan<|END_THINKING|><|START_RESPONSE|>A story.<|END_RESPONSE|>",
    "<|START_RESPONSE|>A story.<|END_RESPONSE|>",
    "<think>plan</think>\n<answer>\nA story.\n</answer>\n",
    "◁think▷one ◁think▷two◁/think▷ three◁/think▷A story.",
    "<|channel>thought\nplan<channel|>A story.",
    "\ufeff <Reasoning>plan</Reasoning> A story.".lstrip("\ufeff"),
]
OPEN = [
    "<think>plan",
    "<thinking>plan",
    "[THINK]plan",
    "analysisThe user wants",
    HARMONY.partition("<|end|>")[0],
    "<think>a</think><think>b",
    "<scratchpad>plan",
    "<reflection>plan </think> more",
    "<thinking>plan <reflection>better</reflection> so",
    "◁think▷plan",
    "<|begin_of_thought|>plan",
    "<|START_THINKING|>plan",
    "<reasoning>",
]
STORIES = [
    "A story.",
    "He said <think> and </think> aloud.",
    "Analysis was her job.",
    "analysis of a dream: a story.",
    "[Thinking] he went.",
    "She wrote [THINK] on the wall.",
    "The scratchpad said <scratchpad>milk</scratchpad>, no more.",
    "Her <reflection> smiled. </reflection> she read, was the closing tag.",
    "Reflection\n\nShe looked into the lake.",
    "A tag </scratchpad> hung on the door.",
    "<answer>Yes,</answer> she wrote.",
    "<output> of the mill fell.",
    "Thinking: that was all he did.",
    "",
]


def test_every_form_is_cut_and_no_story_is():
    assert [cut_thinking(text).strip() for text in CUT] == ["A story."] * len(CUT)
    assert [cut_thinking(text) for text in OPEN] == [None] * len(OPEN)
    assert [cut_thinking(text) for text in STORIES] == STORIES


def test_a_template_may_open_the_reasoning():
    assert cut_thinking("plan</think>A story.", opened=True) == "A story."
    assert cut_thinking("plan", opened=True) is None
    assert opens_thinking("<|assistant|>\n<think>\n")
    assert not opens_thinking("<|assistant|><think>\n\n</think>\n\n")


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("text", [*CUT, *OPEN, *STORIES])
def test_both_engines_of_token_ids_cut_alike(text, special):
    """Whether the tokenizer has the marks as special tokens, which decoding leaves out, or as text."""
    tokenizer = make_tokenizer()
    if special:
        marks = ["[THINK]", "[/THINK]", "<think>", "</think>", "<|channel|>", "<|message|>", "<|start|>"]
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|assistant|>", *marks]})
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    local = read_tokens(tokenizer, ids, {tokenizer.eos_token_id} if "<|end|>" not in text else set())
    reply = {"choices": [{"finish_reason": "stop", "token_ids": ids}]}
    vllm = VllmCompletions(tokenizer, [] if "<|end|>" in text else [tokenizer.eos_token_id]).read(reply)
    if text in OPEN:
        assert isinstance(local, Failure)
        assert local == vllm
        assert "not closed" in local.error
    elif special and text in STORIES[1:]:
        return  # a special token in a story is not the story's
    else:
        assert local.text == vllm.text == cut_thinking(text).strip()
        assert (local.thinking > 0) == (text in CUT)


def test_a_template_that_opens_the_reasoning_is_known_to_the_engines():
    tokenizer = make_tokenizer()
    tokenizer.chat_template += "{% if add_generation_prompt %}<think>\n{% endif %}"
    ids = tokenizer("plan", add_special_tokens=False)["input_ids"]
    assert isinstance(read_tokens(tokenizer, ids, set()), Failure)
    ids = tokenizer("plan</think>A story.", add_special_tokens=False)["input_ids"]
    assert read_tokens(tokenizer, ids, set()).text == "A story."


def test_the_row_says_how_much_was_cut_and_what_is_not_closed_is_a_failure(world, tmp_path):
    def answer(body, times):
        return openai_reply("<think>endless" if "title 3" in body["messages"][0]["content"] else "<think>plan</think>A story.")

    with chat_server(answer) as server, pytest.raises(SystemExit):
        sample.main(server_flags(world, server, tmp_path / "gpt"))
    assert {(row["response"], row["thinking"]) for row in lines(tmp_path / "gpt")} == {("A story.", len("<think>plan</think>"))}
    failures = record(tmp_path / "gpt")["failures"]
    assert [(failure["prompt_id"], failure["sample"]) for failure in failures] == [(3, 0), (3, 1)]
    assert "not closed" in json.dumps(failures)
