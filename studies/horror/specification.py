"""A horror story's specification, the prompt it becomes, and the pools that synthetic specifications are drawn from.

The prompt has one format everywhere: data preparation, training, sampling, play. It ends with the marker ``Story:``.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable

import numpy as np

from diversity_tuning.errors import UserError

INSTRUCTION = "You are a creative writing assistant. Write a short horror story that follows this specification."
CONSTRAINTS = "2 to 4 paragraphs; suspenseful and eerie, not graphic; ends with an unsettling implication"
MARKER = "Story:"  # the last line of a prompt: what comes after it is the story
KEPT, BROKEN = "it is kept", "it is broken"  # what the story should do with the taboo rule

_FEMALE = ("Mara", "Tilda", "Oona", "Ines", "Wren", "Esme", "Greta", "Isolde", "Kaya", "Orla", "Runa", "Yara")
_MALE = ("Joss", "Bram", "Pell", "Corin", "Falk", "Jonah", "Nils", "Piers", "Soren", "Ulric", "Wilf", "Amos")
NAMES = _FEMALE + _MALE  # protagonists; a supporting character is of another kind, so that a small model can tell who is who
SUPPORTING = (
    "Mr Ashdown", "Mrs Vane", "Father Quill", "Doctor Hale", "Aunt Sabine", "Uncle Roth", "Sister Agnes", "Captain Dorn",
    "Miss Larkin", "Old Tobias", "Madame Corvo", "Professor Lind", "Mr Pike", "Mrs Thorne", "Father Anselm", "Doctor Marsh",
    "Aunt Hester", "Uncle Bly", "Sister Maud", "Captain Reyes", "Miss Garrow", "Old Fenna", "Madame Zell", "Professor Ames",
)  # fmt: skip
SETTINGS = tuple(
    f"the {place}"
    for place in (
        "drowned chapel", "salt house", "winter asylum", "disused mill", "island observatory", "shuttered theatre",
        "quarry cottage", "marsh station", "orphan school", "mountain sanatorium", "coastal signal tower", "flooded archive",
        "abandoned dairy", "moorland inn", "riverside boathouse", "hilltop convent", "underground baths", "timber lodge",
        "lakeside hotel", "forgotten museum", "harbour hospital", "ruined vineyard", "glass nursery", "canal warehouse",
    )
)  # fmt: skip
OBJECTS = (
    "a brass key", "a cracked mirror", "a silver comb", "a bone whistle", "a torn photograph", "a wooden doll", "a music box",
    "a rusted lantern", "a black ribbon", "an iron bell", "a wax candle", "a leather diary", "a clay mask", "a velvet glove",
    "an ivory chess piece", "a broken compass", "a pocket watch", "a porcelain hand", "a knotted rope", "an unsigned letter",
    "a glass eye", "a copper coin", "a child's shoe", "a painted fan",
)  # fmt: skip
# A taboo rule in its base form -> its past tense.
TABOOS = {
    "whistle after dark": "whistled after dark",
    "open the cellar door": "opened the cellar door",
    "answer the third knock": "answered the third knock",
    "look into the well": "looked into the well",
    "speak the drowned man's name": "spoke the drowned man's name",
    "count the stairs": "counted the stairs",
    "uncover the portraits": "uncovered the portraits",
    "sleep facing north": "slept facing north",
    "feed the grey dog": "fed the grey dog",
    "touch the wet stones": "touched the wet stones",
    "follow the small light": "followed the small light",
    "sing near the water": "sang near the water",
    "ring for a servant": "rang for a servant",
    "wake the sleeper": "woke the sleeper",
    "dig beneath the elm": "dug beneath the elm",
    "thank the stranger": "thanked the stranger",
    "turn the last page": "turned the last page",
    "burn the old letters": "burned the old letters",
    "cross the frozen pond": "crossed the frozen pond",
    "enter the yellow room": "entered the yellow room",
}
# A twist is one of these subjects and one of these truths.
TWIST_SUBJECTS = (
    "caretaker", "ferryman", "landlady", "surgeon", "organist", "postman", "priest", "gardener", "widow", "guide", "tutor",
    "neighbour", "cook", "sexton", "painter", "midwife", "baker", "lawyer", "porter", "pilot", "clockmaker", "nun", "butler",
    "lodger",
)  # fmt: skip
TWIST_TRUTHS = (
    "died years ago", "never left the attic", "is only a reflection", "was buried alive", "wears a stolen face",
    "casts no shadow", "invented the whole village", "lives beneath the floor", "has no heartbeat", "forged every record",
    "has already been replaced", "is dreaming all of this",
)  # fmt: skip
TITLE_HEADS = (
    "Hour", "Hunger", "Keeper", "Silence", "Debt", "Weight", "Patience", "Echo", "Memory", "Price", "Promise", "Shape",
    "Colour", "Taste", "Oath", "Harvest", "Burden", "Cradle", "Ladder", "Lesson", "Season", "Pulse", "Ransom", "Verdict",
)  # fmt: skip
TITLE_TAILS = (
    "Still Water", "Empty Rooms", "Black Bread", "Cold Ash", "Borrowed Names", "Closed Doors", "Low Tide", "Long Winters",
    "Thin Ice", "Dead Leaves", "Lost Hours", "White Salt",
)  # fmt: skip

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
        taboo=pick(rng, tuple(TABOOS)),
        taboo_kept=bool(rng.integers(2)),
        twist=f"the {pick(rng, TWIST_SUBJECTS)} {pick(rng, TWIST_TRUTHS)}",
    )


def draw_specifications(rng: np.random.Generator, count: int, taken: Iterable[tuple] = ()) -> list[Specification]:
    """``count`` specifications, no two with the same :attr:`~Specification.parts`, none with parts that are ``taken``."""
    seen: dict[tuple, Specification] = {}
    taken = set(taken)
    while len(seen) < count:
        drawn = draw_specification(rng)
        if drawn.parts not in taken:
            seen.setdefault(drawn.parts, drawn)
    return list(seen.values())


def pick(rng: np.random.Generator, pool: tuple):
    """One of ``pool``, uniformly."""
    return pool[rng.integers(len(pool))]
