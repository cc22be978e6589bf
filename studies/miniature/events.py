"""The eight plots of the synthetic stories: what happens, independent of the narrative voice.

A plot is three beats (beginning, middle, end) of two moments each; a moment has interchangeable events. An event is written
``subject: base|past|present tail``. The subject ``H`` is the hero, ``S`` the supporting character, anything else a noun
phrase in the third person singular; the tail may hold ``{H}``, ``{S}``, ``{object}`` and ``{setting}``. The nouns belong to
one direction alone, so a sentence embedding tells directions apart before it tells voices apart.
"""

import dataclasses

from studies.pools import read_pools


@dataclasses.dataclass(frozen=True)
class Event:
    """One event of a plot, which every voice renders in its own person and tense."""

    subject: str
    base: str
    past: str
    present: str
    tail: str


def parse_event(line: str) -> Event:
    """Read ``subject: base|past|present tail``."""
    subject, rest = line.split(": ", 1)
    verbs, tail = rest.split(" ", 1)
    return Event(subject, *verbs.split("|"), tail)


_POOLS = read_pools(__file__, "events")
# direction -> six moments -> the events that may fill it
PLOTS = {name: [list(map(parse_event, moment)) for moment in plot] for name, plot in _POOLS["plots"].items()}
SENSORY, TABOO_VERBS = (list(map(parse_event, _POOLS[name])) for name in ("sensory", "taboo_verbs"))


def twist_event(twist: str) -> Event:
    """The event in which the twist "the X is a Y" comes out."""
    subject, truth = twist.split(" is ", 1)
    return Event(subject, "be", "was", "is", f"{truth} all along")
