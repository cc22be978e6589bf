"""A horror story's specification, the prompt it becomes, and the pools that synthetic specifications are drawn from.

The prompt has one format everywhere: data preparation, training, sampling, play. It ends with the marker ``Story:``.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable

import numpy as np

from diversity_tuning.errors import UserError
from studies.pools import draw_different, pick, read_pools

INSTRUCTION = "You are a creative writing assistant. Write a short horror story that follows this specification."
CONSTRAINTS = "2 to 4 paragraphs; suspenseful and eerie, not graphic; ends with an unsettling implication"
MARKER = "Story:"  # the last line of a prompt: what comes after it is the story
KEPT, BROKEN = "it is kept", "it is broken"  # what the story should do with the taboo rule

_POOLS = read_pools(__file__, "specification")
_FEMALE, _MALE = _POOLS["female"], _POOLS["male"]
NAMES = _FEMALE + _MALE
SUPPORTING, OBJECTS = _POOLS["supporting"], _POOLS["objects"]
SETTINGS = [f"the {place}" for place in _POOLS["places"]]
TABOOS = _POOLS["taboos"]
TWIST_SUBJECTS, TWIST_TRUTHS = _POOLS["twist_subjects"], _POOLS["twist_truths"]
TITLE_HEADS, TITLE_TAILS = _POOLS["title_heads"], _POOLS["title_tails"]

FIELDS = {  # field -> its label in the prompt
    "title": "Title", "setting": "Setting", "protagonist": "Protagonist", "supporting": "Supporting character",
    "object": "Important object", "taboo": "Taboo rule", "twist": "Twist",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Specification:
    """What a story is asked to hold. Texts are free; :func:`draw_specification` draws them from this module's pools."""

    title: str
    setting: str  # "the salt house"
    protagonist: str
    supporting: str
    object: str  # "a brass key"
    taboo: str  # in its base form, without "never": "whistle after dark"
    taboo_kept: bool  # the story keeps the rule (True) or breaks it
    twist: str  # a clause: "the ferryman died years ago"

    def to_prompt(self) -> str:
        """The prompt, from the instruction to the marker ``Story:``."""
        values = {name: getattr(self, name) for name in FIELDS}
        values["taboo"] = f"never {self.taboo} ({KEPT if self.taboo_kept else BROKEN})"
        lines = [f"{label}: {values[name]}" for name, label in FIELDS.items()]
        return "\n".join([INSTRUCTION, *lines, f"Constraints: {CONSTRAINTS}.", MARKER])

    def to_post(self) -> tuple[str, str]:
        """The prompt as the data stages keep it: first line, and the rest."""
        title, text = self.to_prompt().split("\n", 1)
        return title, text

    @property
    def parts(self) -> tuple:
        """What decides whether two specifications are the same: everything but the title."""
        return dataclasses.astuple(self)[1:]


def from_mapping(values: dict, where: str = "specification") -> Specification:
    """A specification from the fields of a JSON or YAML mapping; one that is missing or of a wrong kind: :class:`UserError`."""
    if not isinstance(values, dict):
        raise UserError(f"{where}: must be a mapping of the fields {', '.join(_names())}")
    for name in _names():
        if name not in values:
            raise UserError(f"{where}: field '{name}' is missing; it needs {', '.join(_names())}")
        wanted = bool if name == "taboo_kept" else str
        if not isinstance(values[name], wanted) or values[name] == "":
            kind = "true or false" if wanted is bool else "a text that is not empty"
            raise UserError(f"{where}: field '{name}' must be {kind}, not {values[name]!r}")
    return Specification(**{name: values[name] for name in _names()})


def _names() -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(Specification))


_TABOO = re.compile(rf"never (?P<taboo>.+) \((?P<told>{KEPT}|{BROKEN})\)$")


@functools.lru_cache(maxsize=4096)
def from_prompt(prompt: str) -> Specification | None:
    """Read a prompt of :meth:`Specification.to_prompt` back; None for any other text."""
    labels = {label: name for name, label in FIELDS.items()}
    values = {}
    for line in prompt.split("\n"):
        label, found, value = line.partition(": ")
        if found and label in labels:
            values[labels[label]] = value
    taboo = _TABOO.match(values.get("taboo", ""))
    if values.keys() != FIELDS.keys() or taboo is None:
        return None
    values |= {"taboo": taboo["taboo"], "taboo_kept": taboo["told"] == KEPT}
    return Specification(**values)


def pronouns(name: str) -> dict[str, str]:
    """Subject, object and possessive pronouns of a name of the pools; "they" for another one."""
    if name in _FEMALE:
        return {"he": "she", "him": "her", "his": "her"}
    return {"he": "he", "him": "him", "his": "his"} if name in _MALE else {"he": "they", "him": "them", "his": "their"}


def past_of(taboo: str) -> str:
    """The past tense of a taboo of the pools."""
    return TABOOS[taboo]


def draw_specification(rng: np.random.Generator) -> Specification:
    """Draw every field independently and uniformly."""
    return Specification(
        title=f"The {pick(rng, TITLE_HEADS)} of {pick(rng, TITLE_TAILS)}",
        setting=pick(rng, SETTINGS),
        protagonist=pick(rng, NAMES),
        supporting=pick(rng, SUPPORTING),
        object=pick(rng, OBJECTS),
        taboo=pick(rng, list(TABOOS)),
        taboo_kept=bool(rng.integers(2)),
        twist=f"the {pick(rng, TWIST_SUBJECTS)} {pick(rng, TWIST_TRUTHS)}",
    )


def draw_specifications(rng: np.random.Generator, count: int, taken: Iterable[tuple] = ()) -> list[Specification]:
    """``count`` specifications, no two with the same :attr:`~Specification.parts`, none with parts that are ``taken``."""
    return draw_different(lambda: draw_specification(rng), lambda drawn: drawn.parts, count, taken)
