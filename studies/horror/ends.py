"""Whether a story's end unsettles: families of cues in its last sentence, each with points, against comfort and closure."""

import re

from studies.horror.wording import any_of, normal, sentences, words
from studies.pools import read_pools

ENOUGH = 2  # points of an unsettling end
_SHORT = 6  # words: so short a last sentence leans on the one before it

_DATA, _PARTS = read_pools(__file__, "ends"), {}
for _name, _words in _DATA["parts"].items():
    _PARTS[_name] = any_of(_words, _PARTS)
# Family -> points, pattern over lower-case text.
FAMILIES = {
    name: (
        family["points"],
        re.compile(rf"\b{any_of(family['words'])}\b" if "words" in family else any_of(family["patterns"], _PARTS)),
    )
    for name, family in _DATA["families"].items()
}


def cues(last: str) -> dict[str, int]:
    """The families that a text's words hold, with their points."""
    text = normal(last).casefold()
    return {name: points for name, (points, pattern) in FAMILIES.items() if pattern.search(text)}


def is_unsettling(last_paragraph: str) -> bool:
    """Whether the points of the last sentence's cues sum up to at least :data:`ENOUGH`.

    The sentence before it counts too where the last one is short, or has no cue of comfort, closure or daily life.
    """
    last = sentences(last_paragraph)[-2:]
    if not last:
        return False
    alone = cues(last[-1])
    points = sum(alone.values())
    if len(words(last[-1])) <= _SHORT or min(alone.values(), default=0) >= 0:
        points = max(points, sum(cues(" ".join(last)).values()))
    return points >= ENOUGH
