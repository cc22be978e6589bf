"""The six narrative voices: a sentence frame for each moment of a story, and who is "I" and "you".

A frame holds ``{c}``, the clause of an event, or ``{C}``, the same with a capital, and may name the hero ``{H}``, the
supporting character ``{S}`` and the setting ``{place}``. The most common voice is plain past-tense narration, the middle
of all the others, so that a voice's distance in style grows with its rarity.
"""

import dataclasses
import re

from studies.miniature.events import Event
from studies.miniature.specification import Specification

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

VOICES = {
    "plain": Voice(
        {
            0: "{C}.", 1: "{C}.", SENSORY: "{C}.", 2: "Then {c}.", 3: "{C}.", TABOO: "{C}.", 4: "{C}.", TWIST: "{C}.",
            5: "Back in {place}, {c}.",
        }
    ),
    "ornate": Voice(
        {
            0: "Long ago, {c};", 1: "and {c}.", SENSORY: "Lo, {c}.", 2: "Alas, {c};", 3: "whereupon {c}.", TABOO: "Yet {c}.",
            4: "Forsooth, {c}.", TWIST: "Behold, {c}!", 5: "Thus in {place}, {c}.",
        }
    ),
    "dialogue": Voice(
        {
            0: '"{C}," said {H}.', 1: '"{C}," said {S}.', SENSORY: '"{C}!"', 2: '"Look, {c}!"', 3: '"{C}."',
            TABOO: '"Yes, {c}."', 4: '"{C}."', TWIST: '"But {c}!"', 5: '"Back in {place}, {c}," said {S}.',
        },
        narrator="quoted",
    ),
    "clipped": Voice(
        {
            0: "Night. {C}.", 1: "{C}.", SENSORY: "{C}.", 2: "Now: {c}.", 3: "Quick. {C}.", TABOO: "{C}.", 4: "Again. {C}.",
            TWIST: "Wait - {c}.", 5: "Done. Back in {place}, {c}.",
        },
        tense="present",
        drops_articles=True,
    ),
    "letter": Voice(
        {
            0: "Dear {S}, {c}!", 1: "Haha, {c}!", SENSORY: "Ugh, {c}!", 2: "Honestly, {c}!!", 3: "Yeah, {c}!",
            TABOO: "Okay, {c}!", 4: "OMG, {c}!", TWIST: "Wow, {c}!!", 5: "Back in {place}, {c}! Love, {H}",
        },
        narrator="H",
        addressee="S",
    ),
    "diary": Voice(
        {
            0: "diary of {H}: {c}.", 1: "& {c}.", SENSORY: "hmm, {c}.", 2: "then {c}...", 3: "today {c}.",
            TABOO: "um, {c}.", 4: "& {c}.", TWIST: "wow, {c}...", 5: "& back in {place}, {c}.",
        },
        narrator="H",
        lower_case=True,
    ),
}  # fmt: skip


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
