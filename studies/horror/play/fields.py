"""A specification from a YAML file or from questions; what a person leaves open is drawn at random."""

import dataclasses
from collections.abc import Callable

import numpy as np

from diversity_tuning.errors import UserError
from diversity_tuning.recipe import read_mapping
from studies.horror.cues import without_special_tokens
from studies.horror.play.stream import printable
from studies.horror.specification import FIELDS, Specification, draw_specification
from studies.horror.wording import is_abbreviated

LONGEST = 200  # characters of a field
ASKED = ("title", "setting", "protagonist", "supporting", "object", "taboo", "taboo_kept", "twist")
_QUESTIONS = {
    "title": "Title", "setting": "Setting", "protagonist": "Protagonist", "supporting": "Supporting character",
    "object": "Important object", "taboo": "Taboo rule: never …", "taboo_kept": "Is the rule kept (y) or broken (n)",
    "twist": "Twist",
}  # fmt: skip
_YES, _NO = ("y", "yes", "k", "kept", "true"), ("n", "no", "b", "broken", "false")


def clean_field(text: str) -> str:
    """One line without control characters, marks of tokenizers or outer spaces."""
    return " ".join(without_special_tokens(printable(str(text))).split())


def clean_prompt(text: str, special_tokens: list[str]) -> str:
    """A prompt of one's own without control characters and without the tokenizer's special tokens."""
    text = printable(text)
    for token in sorted(special_tokens, key=len, reverse=True):
        text = text.replace(token, "")
    return without_special_tokens(text).strip()


def read_spec_file(path: str) -> dict:
    """The fields of a YAML file that are given, cleaned; a field that is unknown or of a wrong kind is a :class:`UserError`."""
    given = {}
    for name, value in read_mapping(path, f"--spec must be a mapping of fields: {', '.join(ASKED)}").items():
        if name not in ASKED:
            raise UserError(f"{path}: no field '{name}'; the fields are {', '.join(ASKED)}")
        if value is None or value == "":
            continue
        if name == "taboo_kept" and not isinstance(value, bool):
            raise UserError(f"{path}: field 'taboo_kept' must be true or false, not {value!r}")
        problem = None if name == "taboo_kept" else field_problem(name, value if isinstance(value, str) else "")
        if problem:
            raise UserError(f"{path}: field '{name}' {problem}")
        given[name] = value if name == "taboo_kept" else tidy(name, value)
    return given


def tidy(name: str, text: str) -> str:
    """A field as the prompt wants it: cleaned; a taboo without its "never", no field with a final full stop.

    The stop of an abbreviation ("2 a.m.", "Mr. K.") and an ellipsis are no full stop.
    """
    text = clean_field(text)
    if text.endswith(".") and not text.endswith("..") and not is_abbreviated(text):
        text = text[:-1].rstrip()
    if name == "taboo" and text.casefold().startswith("never "):
        text = text[6:].lstrip()
    return text


def field_problem(name: str, text: str) -> str | None:
    """Why a typed field cannot be taken, or None."""
    tidied = tidy(name, text)
    if not any(c.isalnum() for c in tidied):
        return "must be a text with letters or digits"
    if len(tidied) > LONGEST:
        return f"has {len(tidied)} characters; at most {LONGEST}"
    return None


def complete(
    given: dict, rng: np.random.Generator, ask: Callable[[str], str] | None, say: Callable[[str], None]
) -> Specification:
    """A whole specification: ``given`` fields stay, the others are asked for (``ask``: question -> answer) or drawn.

    An empty answer draws that field. ``say`` gets what was drawn and what was wrong with an answer.
    """
    drawn = draw_specification(rng)
    examples = [draw_specification(rng) for _ in range(2)]
    values = {}
    for name in ASKED:
        if name in given:
            values[name] = given[name]
        elif ask is None:
            values[name] = getattr(drawn, name)
        else:
            values[name] = _asked(name, drawn, examples, ask, say)
    missing = [name for name in ASKED if name not in given]
    if ask is None and missing:
        say("drawn at random: " + "; ".join(f"{name} {_shown(values[name])}" for name in missing))
    return Specification(**values)


def _asked(name: str, drawn: Specification, examples: list[Specification], ask, say):
    such_as = "" if name == "taboo_kept" else f", such as {getattr(examples[0], name)} / {getattr(examples[1], name)}"
    while True:
        answer = clean_field(ask(f"{_QUESTIONS[name]}{such_as} (Enter: random)"))
        if not answer:
            say(f"  {_shown(getattr(drawn, name))}")
            return getattr(drawn, name)
        if name == "taboo_kept":
            if answer.casefold() in (*_YES, *_NO):
                return answer.casefold() in _YES
            say("  please answer y (kept) or n (broken)")
            continue
        problem = field_problem(name, answer)
        if problem is None:
            return tidy(name, answer)
        say(f"  that {problem}; try again")


def _shown(value: str | bool) -> str:
    return {True: "kept", False: "broken"}[value] if isinstance(value, bool) else value


def summary(spec: Specification) -> str:
    """The specification in lines; each value is isolated, so that right-to-left text does not reorder its line."""
    values = dataclasses.asdict(spec)
    kept = "kept" if spec.taboo_kept else "broken"
    lines = [
        f"  {label}: \u2068{values[name]}\u2069{f' ({kept})' if name == 'taboo' else ''}" for name, label in FIELDS.items()
    ]
    return "\n".join(lines)
