"""Reasoning before a response: what engines and rewards cut off, so that no story holds it.

Forms: ``<think>…</think>`` and the same with thinking, thought, reasoning, reflection, scratchpad, analysis or planning, also
with a word before it (``<inner_thoughts>``, ``<seed:think>``); ``[THINK]…[/THINK]``; ``◁think▷…◁/think▷``;
``<|begin_of_thought|>…<|end_of_thought|>``, ``<|START_THINKING|>…<|END_THINKING|>``; Gemma's ``<|channel>thought…<channel|>``;
channels: ``<|channel|>analysis<|message|>…<|channel|>final<|message|>``, which servers also send without the special tokens
(``analysis…assistantfinal…``). Marks around the response itself, as ``<|begin_of_solution|>`` or ``<answer>`` after reasoning,
go too. Only a text that begins so is cut: a story may speak of such marks.
"""

import functools
import re

_THINK = r"(?:think(?:ing)?|thoughts?|reasoning)"
_NAME = rf"(?:[a-z]+[:_-])?(?:{_THINK}|reflections?|scratch_?pad|analysis|planning)"
_FORMS = [
    (re.compile(opening), re.compile(closing))
    for opening, closing in (
        (rf"(?i)<{_NAME}(?:\s[^<>]*)?>", rf"(?i)</{_NAME}\s*>"),
        (r"(?i)◁think▷", r"(?i)◁/think▷"),
        (r"\[THINK(?:ING)?\]", r"\[/THINK(?:ING)?\]"),
        (rf"(?i)<\|(?:(?:begin|start)_(?:of_)?)?{_THINK}\|>", rf"(?i)<\|(?:/|end_(?:of_)?){_THINK}\|>"),
        (r"<\|channel>\s*thought\b", r"<channel\|>"),
    )
]
# What closes reasoning that the template has opened, or a server has cut the opening mark off.
_CLOSE_ALONE = re.compile(rf"(?i)</(?:seed:)?{_THINK}\s*>|◁/think▷|<\|end_of_thought\|>|<\|END_THINKING\|>|\[/THINK\]")
_RESPONSE = re.compile(r"(?i)\s*<\|(?:begin|start)_(?:of_)?(?P<name>solution|response|answer|box)\|>")
_RESPONSE_AFTER = re.compile(r"(?i)\s*<(?P<name>answer|output|response|solution|final_answer|story)>")
_CHANNELS = re.compile(r"\s*(?:<\|start\|>\s*assistant\s*)?<\|channel\|>")
_FINAL = re.compile(r"<\|channel\|>\s*final\b[^<]*<\|message\|>(.*?)(?:<\|(?:end|return|start|call)\|>.*)?\Z", re.DOTALL)
# Without the special tokens the channel's name stands before the first word, with nothing between.
_BARE = re.compile(r"\s*(?:assistant)?(?:analysis|commentary)(?=[A-Z]|.*assistantfinal)", re.DOTALL)
_BARE_FINAL = "assistantfinal"
_MARK = re.compile("|".join(f"(?i:{one.pattern.removeprefix('(?i)')})" for form in _FORMS for one in form) + r"|<\|channel\|>")
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
    told, cut = text, False
    while True:
        begun = _beginning(told)
        if begun is None and not cut:
            begun = _closed_alone(told, opened)
        if begun is None:
            return None if opened and not cut else _unwrapped(told, cut)
        if begun < 0:
            return None
        told, cut = told[begun:], True


def _beginning(text: str) -> int | None:
    """Where the reasoning that a text begins with ends; -1 where it is not closed, None where there is none."""
    start = len(text) - len(text.lstrip())
    for opening, closing in _FORMS:
        if mark := opening.match(text, start):
            name = re.match(r"<([\w:-]+)", mark[0])  # of tags, the same name closes
            same = re.compile(rf"(?i)</{re.escape(name[1])}\s*>") if name else closing
            again = re.compile(rf"(?i)<{re.escape(name[1])}(?:\s[^<>]*)?>") if name else opening
            if name and not same.search(text, mark.end()) and re.fullmatch(rf"(?i)(?:seed:)?{_THINK}", name[1]):
                same = _CLOSE_ALONE  # <think>…</thinking>
            return _end(text, mark.end(), again, same)
    return None


def _closed_alone(text: str, opened: bool) -> int | None:
    """Where reasoning ends whose opening mark is not in the text, as :func:`_beginning`."""
    closing = _CLOSE_ALONE.search(text)
    if closing is None:
        return None
    again = next((opening for opening, close in _FORMS if close.fullmatch(closing[0])), _FORMS[0][0])
    first = again.search(text)
    return _end(text, 0, again, _CLOSE_ALONE) if opened or first is None or closing.start() < first.start() else None


def _end(text: str, start: int, opening: re.Pattern, closing: re.Pattern) -> int:
    """Where reasoning from ``start`` on ends, with reasoning within reasoning; -1 where it is not closed."""
    found = closing.search(text, start)
    if found is None:
        return -1
    inner = len(opening.findall(text, start, found.start()))
    while (
        inner > 0 and (further := closing.search(text, found.end())) and not opening.search(text, found.end(), further.start())
    ):
        found, inner = further, inner - 1
    return found.end()


def _unwrapped(text: str, after_reasoning: bool) -> str:
    """The text without marks around the whole of it."""
    mark = _RESPONSE.match(text) or (after_reasoning and _RESPONSE_AFTER.match(text))
    if not mark:
        return text
    end = re.compile(rf"(?i)(?:<\|end_(?:of_)?{mark['name']}\|>|</{mark['name']}>)\s*\Z")
    return end.sub("", text[mark.end() :])


def opens_thinking(text: str) -> bool:
    """Whether a prompt, in the chat template, ends within reasoning that the response goes on with."""
    openings = [mark for opening, _ in _FORMS for mark in opening.finditer(text)]
    return any(not text[mark.end() :].strip() for mark in openings)


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
