"""The specification behind a prompt of the miniature: seven parts, and their text form.

The parts are drawn from small pools, so a model of a million parameters can learn to copy them, while the number of
combinations is so large that no combination comes twice unless it is re-posted on purpose.
"""

import dataclasses
import functools
import re

import numpy as np

from studies.pools import draw_different, pick, read_pools

_POOLS = read_pools(__file__, "specification")
SETTINGS = [f"the {place}" for place in _POOLS["places"]]
NAMES, ROLES, OBJECTS, TITLES = (_POOLS[name] for name in ("names", "roles", "objects", "titles"))
TABOOS = _POOLS["taboos"]  # rule -> the word that identifies it
TWISTS = _POOLS["twists"]  # "the X is a Y", as [X, "a Y"]

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
    thing, setting, role = pick(rng, OBJECTS), pick(rng, SETTINGS), pick(rng, ROLES)
    subject, truth = pick(rng, TWISTS)
    title = pick(rng, TITLES).format(hero=hero, other=other, role=role, setting=setting, thing=thing.split(" ", 1)[1])
    return Specification(
        title=title[0].upper() + title[1:],
        setting=setting,
        protagonist=hero,
        role=f"a {role}",
        supporting=other,
        object=thing,
        taboo=pick(rng, list(TABOOS)),
        twist=f"the {subject} is {truth}",
    )


def draw_specifications(rng: np.random.Generator, count: int) -> list[Specification]:
    """``count`` specifications, no two with the same parts (whatever their titles)."""
    return draw_different(lambda: draw_specification(rng), lambda drawn: dataclasses.astuple(drawn)[1:], count)
