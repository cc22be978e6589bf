"""A horror story's specification, the prompt it becomes, and the pools that synthetic specifications are drawn from.

The prompt has one format everywhere: data preparation, training, sampling, play. It ends with the marker ``Story:``.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from diversity_tuning.errors import UserError
from studies.pools import draw_different, pick, read_pools

INSTRUCTION = "You are a creative writing assistant. Write a short horror story that follows this specification."
CONSTRAINTS = "2 to 4 paragraphs; suspenseful and eerie, not graphic; ends with an unsettling implication"
MARKER = "Story:"  # the last line of a prompt: what comes after it is the story
KEPT, BROKEN = "it is kept", "it is broken"  # what the story should do with the taboo rule

INSIDE, OUTSIDE = read_pools(__file__, "specification"), read_pools(__file__, "held_out")  # field -> what it is drawn from
TABOOS, TWIST_SUBJECTS, TWIST_TRUTHS = INSIDE["taboos"], INSIDE["twist_subjects"], INSIDE["twist_truths"]
_FEMALE, _MALE = ((*INSIDE[kind], *OUTSIDE[kind]) for kind in ("female", "male"))
# The fields that the published poster shows, in a layout of their own.
POSTER = (Path(__file__).with_name("data") / "poster.txt").read_text(encoding="utf-8").strip()

GROUPS = ("inside", "outside", "poster")  # of test specifications

FIELDS = {  # field -> its label in the prompt
    "title": "Title", "setting": "Setting", "protagonist": "Protagonist", "supporting": "Supporting character",
    "object": "Important object", "taboo": "Taboo rule", "twist": "Twist",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Specification:
    """What a story is asked to hold. Texts are free; :func:`draw_specification` draws them from pools."""

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
    return (TABOOS | OUTSIDE["taboos"])[taboo]


def draw_specification(rng: np.random.Generator, pools: dict = INSIDE) -> Specification:
    """Draw every field independently and uniformly from ``pools``, :data:`INSIDE` or :data:`OUTSIDE`."""
    return Specification(
        title=f"The {pick(rng, pools['title_heads'])} of {pick(rng, pools['title_tails'])}",
        setting=f"the {pick(rng, pools['places'])}",
        protagonist=pick(rng, pools["female"] + pools["male"]),
        supporting=pick(rng, pools["supporting"]),
        object=pick(rng, pools["objects"]),
        taboo=pick(rng, list(pools["taboos"])),
        taboo_kept=bool(rng.integers(2)),
        twist=f"the {pick(rng, pools['twist_subjects'])} {pick(rng, pools['twist_truths'])}",
    )


def draw_specifications(rng: np.random.Generator, count: int, pools: dict = INSIDE) -> list[Specification]:
    """``count`` specifications, no two with the same :attr:`~Specification.parts`."""
    return draw_different(lambda: draw_specification(rng, pools), lambda drawn: drawn.parts, count)


def group(specification: Mapping) -> str:
    """Of :data:`GROUPS`, by the fields of a specification: of the pools that stories are trained on, held out, the poster's."""
    if f"Title: {specification['title']}\n" in POSTER:
        return "poster"
    return "outside" if specification.get("protagonist") in (*OUTSIDE["female"], *OUTSIDE["male"]) else "inside"
