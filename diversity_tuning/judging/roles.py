"""Roles of an LLM: a prompt from a text file, what it reads, and the JSON object that it must reply.

    role = load_role("judge", language="en", task="stories")
    inputs = [{"query": "…", "response": "…", "examples": [], "strengths": {}, "weaknesses": {}}]
    answers = ask(engine, role, inputs, SamplingSettings(), seed=0)

A template holds a slot ``{{name}}`` for each input. A filled prompt carries every input between the tags ``<name>`` and
``</name>``, each on a line of its own; no input can close its tag (:func:`neutralised`).
"""

import hashlib
import itertools
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from diversity_tuning.errors import UserError
from diversity_tuning.generation.requests import ChatRequest, Engine, Failure, Sample, SamplingSettings, user_request
from diversity_tuning.judging import replies
from diversity_tuning.names import nearest

TAGS = (
    *("query", "response", "examples", "strengths", "weaknesses", "judge_verdict", "principles", "strategies", "feedback"),
    *("rubric", "label", "verdict", "explanation"),
)
_OPENING = re.compile(r"[<＜﹤]")
_TAG = re.compile(rf"\s*/?\s*(?:{'|'.join(TAGS)})(?![a-z0-9_])", re.IGNORECASE)
_LONGEST_TAG = 100  # characters in which a tag is looked for, blanks and invisible ones counted
_UNSEEN = ("Cf", "Cc", "Mn")  # kinds of characters that show nothing


def tagged(tag: str, value: object) -> str:
    """A value between the tags of that name, which stand on lines of their own.

    A text stands as it is, a list of texts as numbered lines, anything else as JSON.
    """
    return f"<{tag}>\n{neutralised(_rendered(value))}\n</{tag}>"


def neutralised(text: str) -> str:
    """The text with ``‹`` in place of the ``<`` of every tag of ours, so that nothing in an input can pass for the prompt's.

    Tags in full-width letters or with invisible characters count too: an LLM may read them all the same.
    """

    def replaced(sign: re.Match) -> str:
        after = unicodedata.normalize("NFKC", text[sign.end() : sign.end() + _LONGEST_TAG])
        visible = "".join(letter for letter in after if letter.isspace() or unicodedata.category(letter) not in _UNSEEN)
        return "‹" if _TAG.match(visible) else sign[0]

    return _OPENING.sub(replaced, text)


def _rendered(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return "\n".join(f"{number}. {' '.join(one.split())}" for number, one in enumerate(value, start=1))
    return json.dumps(value, ensure_ascii=False, indent=1)


LANGUAGES = ("en", "zh")
SETTINGS = SamplingSettings(temperature=0.2, top_p=1.0, top_k=0, repetition_penalty=1.0, max_new_tokens=1024)
ATTEMPTS = 3  # the first, and at most two more for a bad reply
_PHRASE = 5  # letters of a text of the prompt's example that a reply could not hold by chance
_GIVEN_UP = "all replies so far were of no use"
WARMER = (0.0, 0.6, 1.0)  # the least temperature of each attempt
HOPELESS = 24  # bad replies before the first good one: no more are asked for
KINDS = ("principles", "strategies")  # what the optimizer may be given as its rules
_PROMPTS = Path(__file__).parent / "prompts"
_SLOT = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class Kind:
    """What a role reads and must reply."""

    inputs: tuple[str, ...]
    keys: tuple[str, ...]
    parse: Callable[[str], dict]  # raises replies.BadReply


_EXAMINED = ("query", "response", "examples")
_ARGUED = (*_EXAMINED, "strengths", "weaknesses")
ROLES = {
    "positive": Kind((*_EXAMINED, "rubric"), ("strengths",), replies.parse_strengths),
    "negative": Kind((*_EXAMINED, "rubric"), ("weaknesses",), replies.parse_weaknesses),
    "judge": Kind((*_ARGUED, "rubric"), ("verdict", "reason"), replies.parse_judge),
    "reflect": Kind((*_ARGUED, "judge_verdict", "rubric"), ("verdict", "reason", "overturned"), replies.parse_reflect),
    "generator": Kind(("query", "strategies", "rubric"), ("response", "explanation"), replies.parse_generator),
    "detector": Kind(
        ("query", "response", "principles", "rubric"), ("verdict", "reason", "suggestion"), replies.parse_detector
    ),
    "reflector": Kind(("query", "response", "principles", "label", "verdict"), ("why", "missing"), replies.parse_reflector),
    "optimizer": Kind(("rules", "feedback"), ("rules",), replies.parse_optimizer),
}


# What a key holds in a schema; texts are bounded, so that a model that repeats itself comes to the closing brace.
_TEXT = {"type": "string", "maxLength": 300}
_REASONS = {"type": "object", "propertyNames": {"maxLength": 60}, "additionalProperties": _TEXT, "maxProperties": 4}
_TYPES = {
    "verdict": {"type": "integer", "enum": [0, 1]}, "overturned": {"type": "boolean"}, "response": {"type": "string"},
    "strengths": _REASONS, "weaknesses": _REASONS,
    "rules": {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": replies.MOST_RULES},
}  # fmt: skip


@dataclass(frozen=True)
class Role:
    """A role's prompt, and how its reply is read. ``rubric`` is that of the task, empty for roles that read none."""

    name: str
    template: str
    parse: Callable[[str], dict]
    rubric: str = ""

    @property
    def schema(self) -> str:
        """The JSON schema of its reply, as JSON."""
        keys = ROLES[self.name].keys
        properties = {key: _TYPES.get(key, _TEXT) for key in keys}
        return json.dumps({"type": "object", "properties": properties, "required": keys, "additionalProperties": False})


@dataclass
class Usage:
    """Requests that were answered, also from the cache of paid answers, and their tokens where they are known."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def add(self, other: "Usage") -> None:
        """Count another's too."""
        self.calls += other.calls
        self.tokens_in += other.tokens_in
        self.tokens_out += other.tokens_out


@dataclass(frozen=True)
class Answer:
    """What a role replied, parsed."""

    value: dict
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True)
class Failed:
    """No usable reply, why in one line, and the last reply as it came.

    ``tried``: how many sample numbers have had a bad reply; asked again, the next one is used. ``stopped``: the run ended, or a
    cap was reached, before the engine had its chance.
    """

    reason: str
    raw: str = ""
    usage: Usage = field(default_factory=Usage)
    tried: int = 0
    stopped: bool = False


def load_role(name: str, language: str = "en", task: str = "stories", folder: str | Path | None = None) -> Role:
    """The role of that name, with the rubric of a task.

    ``folder``: the user's prompts, ``NAME.txt`` and ``rubrics/TASK.txt``; what it has not is taken from ours. A
    :class:`UserError` for an unknown name, language or task, and for a template that lacks a slot or does not ask for a key.
    """
    if name not in ROLES:
        raise UserError(f"role '{name}': is one of {', '.join(ROLES)}")
    if language not in LANGUAGES:
        raise UserError(f"--language {language}: is one of {', '.join(LANGUAGES)}")
    if folder is not None:
        _check_folder(Path(folder))
    path = _file(folder, language, f"{name}.txt")
    template = _read(path)
    _check_template(template, name, path)
    rubric = _rubric(folder, language, task) if "rubric" in ROLES[name].inputs else ""
    return Role(name, template, ROLES[name].parse, rubric)


def tasks(language: str = "en", folder: str | Path | None = None) -> list[str]:
    """The tasks that there is a rubric for."""
    places = [Path(one) / "rubrics" for one in (folder, _PROMPTS / language) if one is not None]
    return sorted({path.stem for place in places for path in place.glob("*.txt")})


def prompt_hash(roles: Iterable[Role]) -> str:
    """SHA-256 of the roles' templates and rubrics, whatever their order."""
    texts = sorted([role.name, role.template, role.rubric] for role in roles)
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def filled(role: Role, inputs: dict) -> str:
    """The prompt of a role for one item.

    Values are texts or anything else that JSON holds, written as :func:`tagged` says. The rubric
    is the role's unless ``inputs`` has one. The optimizer's ``rules`` stand under the tag of their ``kind``, of :data:`KINDS`.
    """
    values = {"rubric": role.rubric, **inputs}
    needed = ROLES[role.name].inputs
    missing = [name for name in needed if name not in values]
    if missing:
        raise ValueError(f"{role.name} needs the input '{missing[0]}'")

    def fill(slot: re.Match) -> str:
        name = slot[1]
        tag = values["kind"] if name == "rules" else name
        if tag not in (KINDS if name == "rules" else TAGS):
            raise ValueError(f"the optimizer's kind is {tag!r}, not one of {', '.join(KINDS)}")
        return tagged(tag, values[name])

    return _SLOT.sub(fill, role.template)


def ask(
    engine: Engine, role: Role, inputs: list[dict], settings: SamplingSettings, seed: int = 0, attempts: int = ATTEMPTS,
    progress: Callable[[int], object] | None = None, first: list[int] | None = None, patience: int | None = HOPELESS,
) -> list[Answer | Failed]:  # fmt: skip
    """The role's answers in the order of ``inputs``; see :func:`ask_each`. ``progress`` is called with how many have come."""
    found: list[Answer | Failed | None] = [None] * len(inputs)
    for position, answer in ask_each(engine, role, inputs, settings, seed, attempts, first, patience):
        found[position] = answer
        if progress is not None:
            progress(1)
    return found


def ask_each(
    engine: Engine, role: Role, inputs: list[dict], settings: SamplingSettings, seed: int = 0, attempts: int = ATTEMPTS,
    first: list[int] | None = None, patience: int | None = HOPELESS,
) -> Iterator[tuple[int, Answer | Failed]]:  # fmt: skip
    """Yield ``(position in inputs, answer)`` as they come.

    A bad reply is asked for again, ``attempts`` times in all, with the next sample number and at a higher temperature
    (:data:`WARMER`), since a model that decodes all but greedily would say the same; where the engine's ``extra`` fields fix
    greedy decoding, it is not asked again. An engine's failure is final. Equal prompts are asked once; the usage is that of
    the first of them. ``first``: sample numbers to begin with, ``(n,)``. ``patience``: after so many bad
    replies without a good one nothing more is asked, and what has had no reply is stopped; None: never.
    """
    first = first or [0] * len(inputs)
    waiting: dict[ChatRequest, list[int]] = {}
    for position, item in enumerate(inputs):
        waiting.setdefault(user_request(filled(role, item), first[position], role.schema), []).append(position)
    usage = {positions[0]: Usage() for positions in waiting.values()}
    bad: dict[int, Failed] = {}  # by the first position: the last bad reply, of those that have no answer yet
    left = float("inf") if patience is None else patience
    attempts = 1 if getattr(engine, "extra", {}).get("temperature") == 0 else attempts
    for attempt in range(attempts):
        asked, again = list(waiting), {}
        warm = replace(settings, temperature=max(settings.temperature, WARMER[min(attempt, len(WARMER) - 1)]))
        answers = itertools.chain.from_iterable(engine.complete(asked, warm, seed)) if left > 0 else ()
        for i, answer in answers:
            positions = waiting.pop(asked[i])
            read = _read_answer(role, answer, usage[positions[0]], settings, asked[i].sample)
            left = float("inf") if isinstance(read, Answer) else left - isinstance(answer, Sample)
            if isinstance(answer, Sample) and isinstance(read, Failed) and (attempt + 1 < attempts or left <= 0):
                bad[positions[0]] = read
                again[replace(asked[i], sample=read.tried)] = positions
            else:
                yield from _of_all(positions, read)
            if left <= 0:
                break
        waiting |= again
        if left <= 0 or not waiting:
            break
    for positions in waiting.values():
        told = (
            f"the first {patience} replies were all of no use, the last: {list(bad.values())[-1].reason}" if bad else _GIVEN_UP
        )
        yield from _of_all(positions, bad.get(positions[0]) or Failed(f"not asked: {told}", stopped=True))


def _of_all(positions: list[int], read: Answer | Failed) -> Iterator[tuple[int, Answer | Failed]]:
    """One answer for equal prompts: nothing more was asked for the others."""
    yield positions[0], read
    for position in positions[1:]:
        yield position, Answer(read.value) if isinstance(read, Answer) else replace(read, usage=Usage())


def _read_answer(
    role: Role, answer: Sample | Failure, usage: Usage, settings: SamplingSettings, number: int
) -> Answer | Failed:
    if isinstance(answer, Failure):
        return Failed(answer.error, "", usage, number, answer.stopped)
    usage.add(Usage(1, answer.tokens_in or 0, answer.tokens or 0))
    try:
        value = role.parse(answer.text)
        if copied := _copied(value, role.template):
            raise replies.BadReply(f"it repeats the form that the prompt shows, {copied!r}")
        return Answer(value, usage)
    except replies.BadReply as error:
        cut = "" if answer.finished else f" (the reply was cut at {settings.max_new_tokens} tokens: --max_new_tokens)"
        return Failed(f"{error}{cut}", answer.text, usage, number + 1)


def _copied(value, template: str) -> str | None:
    """The first text of a reply that is a text of the prompt's own example of a reply, which a small model copies."""
    if isinstance(value, str):
        _, found, example = template.rpartition("\n{")
        return value if found and len(value) >= _PHRASE and f'"{value}"'.casefold() in example.casefold() else None
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for part in parts if (found := _copied(part, template))), None)


def _file(folder: str | Path | None, language: str, name: str) -> Path:
    """The user's file of that name, or else ours."""
    own = Path(folder) / name if folder is not None else None
    return own if own is not None and own.is_file() else _PROMPTS / language / name


def _rubric(folder: str | Path | None, language: str, task: str) -> str:
    there = tasks(language, folder)
    if task not in there:
        raise UserError(f"--task {task}: no rubric of that name; there is {', '.join(there)}{nearest(task, there)}")
    path = _file(folder, language, f"rubrics/{task}.txt")
    rubric = _read(path)
    if not rubric:
        raise UserError(f"{path}: empty; a rubric is a list of criteria, one a line")
    return rubric


def _check_folder(folder: Path) -> None:
    """Refuse a folder without a prompt of ours to replace: it is the wrong one."""
    if not folder.is_dir():
        raise UserError(f"--prompts {folder}: no such folder")
    if not any((folder / f"{name}.txt").is_file() for name in ROLES) and not list(folder.glob("rubrics/*.txt")):
        raise UserError(f"--prompts {folder}: holds none of {', '.join(f'{name}.txt' for name in ROLES)}, rubrics/TASK.txt")


def _check_template(template: str, name: str, path: Path) -> None:
    kind = ROLES[name]
    slots = _SLOT.findall(template)
    for slot in kind.inputs:
        if slots.count(slot) != 1:
            raise UserError(f"{path}: the slot {{{{{slot}}}}} is there {slots.count(slot)} times; once is needed")
    for slot in slots:
        if slot not in kind.inputs:
            raise UserError(f"{path}: unknown slot {{{{{slot}}}}}; {name} reads {', '.join(kind.inputs)}")
    for key in kind.keys:
        if f'"{key}"' not in template:
            raise UserError(f'{path}: does not ask for "{key}"; the reply must be a JSON object with {", ".join(kind.keys)}')


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; save it as UTF-8") from None
