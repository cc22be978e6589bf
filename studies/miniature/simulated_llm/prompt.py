"""What the simulated LLM reads in a prompt: which role it is asked to play, and the inputs between their tags."""

import json
import re
from dataclasses import dataclass

from studies.miniature.specification import Specification, from_prompt

_INPUT = re.compile(r"^<(\w+)>[ \t]*\n(.*?)\n?^</\1>[ \t]*$", re.MULTILINE | re.DOTALL)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)、])\s*")
# The JSON keys that only this role is asked for, the most telling first.
_KEYS = {
    "optimizer": '"rules"', "reflector": '"missing"', "detector": '"suggestion"', "reflect": '"overturned"',
    "generator": '"explanation"', "positive": '"strengths"', "negative": '"weaknesses"', "judge": '"verdict"',
}  # fmt: skip


@dataclass(frozen=True)
class Prompt:
    """A prompt as read. ``role``: None where none is recognised; ``inputs``: tag to text, the first of each name."""

    role: str | None
    inputs: dict[str, str]

    @property
    def specification(self) -> Specification | None:
        """The parts of the miniature's prompt between ``<query>`` and ``</query>``, None for any other."""
        return from_prompt(self.inputs.get("query", "").strip())

    @property
    def response(self) -> str:
        return self.inputs.get("response", "").strip()

    def lines(self, tag: str) -> list[str]:
        """The entries of an input: of a JSON list or object, else its lines without bullets and numbers."""
        return entries(self.inputs.get(tag, ""))


def read_prompt(text: str) -> Prompt:
    """Find the role by the keys asked for behind all inputs, and the inputs."""
    inputs: dict[str, str] = {}
    for found in _INPUT.finditer(text):
        inputs.setdefault(found[1], found[2])
    instructions = _INPUT.sub("", text)
    role = next((role for role, key in _KEYS.items() if key in instructions), None)
    return Prompt(role, inputs)


def entries(text: str) -> list[str]:
    """A text as a list: of a JSON list its values, of an object ``name: reason``, else the lines that are not empty."""
    try:
        read = json.loads(text)
    except ValueError:
        lines = [_BULLET.sub("", line).strip() for line in text.splitlines()]
        return [line for line in lines if line and line.strip("()[]{}-–— .").lower() not in ("", "none", "empty", "无")]
    if isinstance(read, dict):
        return [f"{name}: {reason}" for name, reason in read.items()]
    read = read if isinstance(read, list) else []
    return [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in read]
