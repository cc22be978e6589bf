"""The six narrative voices: a sentence frame for each moment of a story, and who is "I" and "you".

A frame holds ``{c}``, the clause of an event, or ``{C}``, the same with a capital, and may name the hero ``{H}``, the
supporting character ``{S}`` and the setting ``{place}``. The most common voice is plain past-tense narration, the middle
of all the others, so that a voice's distance in style grows with its rarity.
"""

import dataclasses
import re

from studies.miniature.events import Event
from studies.miniature.specification import Specification
from studies.pools import read_pools

_ARTICLE = re.compile(r"\b(?:the|an?) ")
SENSORY, TABOO, TWIST = "sensory", "taboo", "twist"
# The order of a story: six moments of the plot (0-5), and the sentences of craft between them.
ORDER = (0, 1, SENSORY, 2, 3, TABOO, 4, TWIST, 5)


@dataclasses.dataclass(frozen=True)
class Voice:
    """A narrative voice: a sentence frame for every place in :data:`ORDER`, and the habits below."""

    frames: dict[int | str, str]
    tense: str = "past"
    narrator: str = ""  # "H" where the hero says "I"; "quoted" where the speaker of each sentence does
    addressee: str = ""  # "S" where the supporting character is "you"
    drops_articles: bool = False
    lower_case: bool = False


# Who speaks each sentence of the dialogue.
_SPEAKERS = {0: "H", 1: "S", 2: "H", 3: "H", 4: "S", 5: "S", SENSORY: "S", TABOO: "H", TWIST: "S"}

VOICES = {name: Voice(**voice) for name, voice in read_pools(__file__, "voices").items()}


def sentence(voice: Voice, place: int | str, event: Event, specification: Specification) -> str:
    """One sentence: the event at this place of the story, as this voice tells it."""
    subject, tail = _people(voice, place, event, specification)
    clause, setting = f"{subject} {getattr(event, voice.tense)} {tail}", specification.setting
    if voice.drops_articles:
        clause, setting = _ARTICLE.sub("", clause), _ARTICLE.sub("", setting)
    named = {"H": specification.protagonist, "S": specification.supporting, "place": setting}
    text = voice.frames[place].format(c=clause, C=clause[0].upper() + clause[1:], **named)
    return text.lower() if voice.lower_case else text


def _people(voice: Voice, place: int | str, event: Event, specification: Specification) -> tuple[str, str]:
    """The subject, and the tail with everyone in it called what this narrator calls them."""
    names = {"H": specification.protagonist, "S": specification.supporting}
    first = _SPEAKERS[place] if voice.narrator == "quoted" else voice.narrator
    second = {"H": "S", "S": "H"}[first] if voice.narrator == "quoted" else voice.addressee
    subjects = names | {first: "I"} | {second: "you"}
    objects = names | {first: "me"} | {second: "you"}
    tail = event.tail.format(
        H=objects["H"],
        S=objects["S"],
        object="the " + specification.object.split(" ", 1)[1],
        setting=specification.setting,
        taboo=specification.taboo,
    )
    return subjects.get(event.subject, event.subject), tail
