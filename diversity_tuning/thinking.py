"""Reasoning before a response: what engines and rewards cut off, so that no story holds it.

Forms: ``<think>…</think>`` and the same with thinking, thought or reasoning, ``[THINK]…[/THINK]``, ``◁think▷…◁/think▷``,
``<|begin_of_thought|>…``, ``<|START_THINKING|>…``, channels: ``<|channel|>analysis<|message|>…<|channel|>final<|message|>``,
which servers also send without the special tokens (``analysis…assistantfinal…``).
"""

import functools
import re

_NAME = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reasoning)"
_OPEN = re.compile(rf"(?i:<{_NAME}>|◁think▷)|\[THINK\]|<\|begin_of_thought\|>|<\|START_THINKING\|>")
_CLOSE = re.compile(rf"(?i:</{_NAME}>|◁/think▷)|\[/THINK\]|<\|end_of_thought\|>|<\|END_THINKING\|>")
_CHANNELS = re.compile(r"\s*(?:<\|start\|>\s*assistant\s*)?<\|channel\|>")
_FINAL = re.compile(r"<\|channel\|>\s*final\b[^<]*<\|message\|>(.*?)(?:<\|(?:end|return|start|call)\|>.*)?\Z", re.DOTALL)
# Without the special tokens the channel's name stands before the first word, with nothing between.
_BARE = re.compile(r"\s*(?:assistant)?(?:analysis|commentary)(?=[A-Z]|.*assistantfinal)", re.DOTALL)
_BARE_FINAL = "assistantfinal"
_MARK = re.compile(rf"{_OPEN.pattern}|{_CLOSE.pattern}|<\|channel\|>")
NOT_CLOSED = "the reasoning was not closed (as by </think>): more --max_new_tokens may help"


def cut_thinking(text: str, opened: bool = False) -> str | None:
    """The text without the reasoning before it; None when the reasoning was never closed.

    Some servers cut the opening tag off, being part of the template: all up to a closing tag without one is reasoning too.
    ``opened``: the template opens the reasoning, so that text without a closing tag is nothing else.
    """
    if _CHANNELS.match(text):
        finals = _FINAL.search(text)
        return finals[1] if finals else None
    if _BARE.match(text):
        _, closed, told = text.partition(_BARE_FINAL)
        return told if closed else None
    told, first = text, True
    while True:
        closing, opening = _CLOSE.search(told), _OPEN.search(told)
        begins = opening is not None and not told[: opening.start()].strip()
        if not begins and not (first and closing and (opened or opening is None or closing.start() < opening.start())):
            return None if first and opened else told
        if closing is None:
            return None
        inner = len(_OPEN.findall(told, 0, closing.start())) - begins
        while (
            inner > 0
            and (further := _CLOSE.search(told, closing.end()))
            and not _OPEN.search(told, closing.end(), further.start())
        ):  # reasoning within reasoning
            closing, inner = further, inner - 1
        told, first = told[closing.end() :], False


def opens_thinking(text: str) -> bool:
    """Whether a prompt, in the chat template, ends within reasoning that the response goes on with."""
    opening = next(iter(list(_OPEN.finditer(text))[-1:]), None)
    return opening is not None and not text[opening.end() :].strip()


@functools.cache
def template_opens_thinking(tokenizer) -> bool:
    """Whether the chat template begins every response within reasoning, as that of DeepSeek-R1."""
    if not tokenizer.chat_template:
        return False
    turns = [{"role": "user", "content": "x"}]
    return opens_thinking(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


@functools.cache
def _marks(tokenizer) -> tuple[frozenset[int], frozenset[int]]:
    """Ids of the special tokens that mark reasoning, which decoding would leave out, and of those that belong to them."""
    tokens = dict(zip(tokenizer.all_special_ids, tokenizer.convert_ids_to_tokens(tokenizer.all_special_ids), strict=True))
    marks = frozenset(number for number, token in tokens.items() if _MARK.fullmatch(token))
    return marks, marks | {number for number, token in tokens.items() if token in ("<|start|>", "<|message|>")}


def marks_thinking(tokenizer, ids: list[int]) -> bool:
    """Whether special tokens among the ids mark reasoning."""
    return not _marks(tokenizer)[0].isdisjoint(ids)


def decode_response(tokenizer, ids: list[int]) -> str:
    """The text of token ids without special tokens, but for those that mark reasoning (:func:`cut_thinking`)."""
    if not marks_thinking(tokenizer, ids):
        return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    special = set(tokenizer.all_special_ids) - _marks(tokenizer)[1]
    kept = [number for number in ids if number not in special]
    return tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
