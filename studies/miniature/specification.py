"""The specification behind a prompt of the miniature: seven parts, and their text form.

The parts are drawn from small pools, so a model of a million parameters can learn to copy them, while the number of
combinations is so large that no combination comes twice unless it is re-posted on purpose.
"""

import dataclasses
import functools
import re

import numpy as np

SETTINGS = tuple(
    f"the {place}"
    for place in (
        "salt market", "paper city", "glass valley", "old quarry", "hanging gardens", "copper hills", "chalk village",
        "clockwork town", "ash plains", "stone monastery", "red canyon", "willow marsh", "empty theatre", "upper terraces",
        "thorn forest", "silent station", "marble square", "amber mine", "windmill district", "tin arcade",
        "lantern quarter", "sunken chapel", "orchard road", "bell tower",
    )
)  # fmt: skip
NAMES = (
    "Mara", "Joss", "Tilda", "Bram", "Oona", "Pell", "Ines", "Corin", "Wren", "Dov", "Esme", "Falk", "Greta", "Hale",
    "Isolde", "Jonah", "Kaya", "Lorne", "Mina", "Nils", "Orla", "Piers", "Quill", "Runa", "Soren", "Tamsin", "Ulric",
    "Vera", "Wilf", "Xenia", "Yara", "Zeno", "Alba", "Boris", "Clio", "Denes", "Edda", "Finn", "Gwen", "Hugo",
)  # fmt: skip
ROLES = (
    "diver", "tailor", "potter", "clerk", "weaver", "surveyor", "juggler", "beekeeper", "printer", "shepherd", "courier",
    "glazier",
)  # fmt: skip
OBJECTS = (
    "a brass key", "a cracked lens", "a silver comb", "a wooden flute", "a torn atlas", "a jade button", "a glass marble",
    "a rusty compass", "a paper crane", "an ebony cane", "a porcelain doll", "a leather purse", "a bronze bell",
    "a crystal vial", "an iron horseshoe", "a painted fan", "a clay jug", "a folded kite", "a woollen scarf",
    "a broken watch", "a stone egg", "a pearl brooch", "an opal pendant", "a small hourglass", "a wicker basket",
    "a copper thimble", "an old violin", "a striped umbrella", "a wax seal", "a velvet mask",
)  # fmt: skip
# A taboo's rule in its base form -> the word that identifies it and occurs nowhere else in the synthetic texts.
TABOOS = {
    "whistle after dusk": "whistle", "wear green gloves": "gloves", "count the crows": "crows", "sleep facing north": "north",
    "speak a full name": "name", "burn blue candles": "candles", "touch dead moss": "moss", "answer a third knock": "knock",
    "feed a black cat": "cat", "sweep before noon": "sweep", "laugh at owls": "owls", "pocket a found coin": "coin",
    "open yellow envelopes": "envelopes", "follow white moths": "moths", "carve a face": "carve", "trust a limping fox": "fox",
}  # fmt: skip
# A twist "the X is a Y", as (X, "a Y"); both nouns occur nowhere else in the synthetic texts.
TWISTS = (
    ("guard", "a ghost"), ("mayor", "a twin"), ("map", "a trap"), ("stranger", "a cousin"), ("beggar", "a prince"),
    ("raven", "a wizard"), ("clock", "a prison"), ("mirror", "a door"), ("tutor", "a dragon"), ("orphan", "an heir"),
    ("statue", "a giant"), ("gardener", "an angel"), ("neighbour", "a vampire"), ("portrait", "a window"),
)  # fmt: skip
TITLES = (
    "{hero} and the {thing}", "What {hero} did in {setting}", "The {role} who carried the {thing}", "Nobody warned {hero}",
    "{hero} and {other} in {setting}", "The {thing} from {setting}",
)  # fmt: skip

_LAYOUT = re.compile(
    r"Setting: (?P<setting>[^.\n]+)\. Hero: (?P<protagonist>\w+), (?P<role>an? \w+)\. With: (?P<supporting>\w+)\. "
    r"Object: (?P<object>[^.\n]+)\. Taboo: never (?P<taboo>[^.\n]+)\. Twist: (?P<twist>the \w+ is an? \w+)\."
)


@dataclasses.dataclass(frozen=True)
class Specification:
    """The parts of one prompt, each as written in the prompt's text."""

    title: str
    setting: str  # "the salt market"
    protagonist: str  # "Mara"
    role: str  # "a diver"
    supporting: str  # "Joss"
    object: str  # "a brass key"
    taboo: str  # "whistle after dusk": the hero should never do so
    twist: str  # "the guard is a ghost"

    @property
    def taboo_word(self) -> str:
        """The content word of the taboo; for a taboo outside the pool, its longest word."""
        return TABOOS.get(self.taboo) or max(self.taboo.split(), key=len)

    @property
    def twist_words(self) -> tuple[str, str]:
        """The two content words of the twist."""
        words = self.twist.split()
        return words[1], words[-1]

    def to_post(self) -> tuple[str, str]:
        """The post's title (without a tag) and its text."""
        text = (
            f"Setting: {self.setting}. Hero: {self.protagonist}, {self.role}. With: {self.supporting}. "
            f"Object: {self.object}. Taboo: never {self.taboo}. Twist: {self.twist}."
        )
        return self.title, text


@functools.lru_cache(maxsize=4096)
def from_prompt(prompt: str) -> Specification | None:
    """Parse a prompt (title, newline, text); None for a prompt that the miniature did not write."""
    found = _LAYOUT.search(prompt)
    if found is None:
        return None
    return Specification(title=prompt.split("\n", 1)[0].strip(), **found.groupdict())


def draw_specification(rng: np.random.Generator) -> Specification:
    """Draw every part independently and uniformly; the two names differ."""
    hero, other = (NAMES[i] for i in rng.choice(len(NAMES), size=2, replace=False))
    thing, setting, role = _pick(rng, OBJECTS), _pick(rng, SETTINGS), _pick(rng, ROLES)
    subject, truth = _pick(rng, TWISTS)
    title = _pick(rng, TITLES).format(hero=hero, other=other, role=role, setting=setting, thing=thing.split(" ", 1)[1])
    return Specification(
        title=title[0].upper() + title[1:],
        setting=setting,
        protagonist=hero,
        role=f"a {role}",
        supporting=other,
        object=thing,
        taboo=_pick(rng, tuple(TABOOS)),
        twist=f"the {subject} is {truth}",
    )


def draw_specifications(rng: np.random.Generator, count: int) -> list[Specification]:
    """``count`` specifications, no two with the same parts (whatever their titles)."""
    seen: dict[tuple, Specification] = {}
    while len(seen) < count:
        drawn = draw_specification(rng)
        seen.setdefault(dataclasses.astuple(drawn)[1:], drawn)
    return list(seen.values())


def _pick(rng: np.random.Generator, pool: tuple):
    return pool[rng.integers(len(pool))]
