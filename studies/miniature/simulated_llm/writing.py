"""Stories of the synthetic grammar with chosen flaws put in, and with none of the other flaws of the pool."""

import dataclasses
import random
import re

import numpy as np

from studies.miniature import recognise
from studies.miniature.simulated_llm.flaws import SHORT, flaws_of, words
from studies.miniature.specification import NAMES, Specification
from studies.miniature.stories import Author, Craft, draw_author, write_story
from studies.pools import read_pools

_TRIES = 20
_DESTROY = {"short", "nonsense"}  # what is left of the story has other flaws, too
_CLOSE = re.compile(r"\W*(?:\bDone\. )?\b(?:back|thus) in\b.*$", re.IGNORECASE | re.DOTALL)
_SENTENCES = read_pools(__file__, "writing")


def write_flawed(rng: np.random.Generator, specification: Specification, flaws: set[str]) -> str:
    """A story in which the rules find just these flaws of the pool, and those that follow from ``short`` and ``nonsense``."""
    for _ in range(_TRIES):
        text = _draw(rng, specification, flaws)
        found = flaws_of(specification, text)
        if found == flaws or (flaws & _DESTROY and flaws <= found):
            break
    return text


def _draw(rng: np.random.Generator, specification: Specification, flaws: set[str]) -> str:
    craft = Craft("taboo" not in flaws, "twist" not in flaws, "sensory" not in flaws, "repetition" not in flaws)
    author = dataclasses.replace(draw_author(rng), craft=craft)
    text = write_story(rng, author, specification)
    for name, put_in in _PUT_IN.items():
        if name in flaws:
            text = put_in(text, specification, author, rng)
    return text


def _renamed(text: str, name: str, by: str) -> str:
    text = re.sub(rf"(^|[.!?\"] )\b{re.escape(name)}\b", lambda at: f"{at[1]}{by.capitalize()}", text)
    return re.sub(rf"\b{re.escape(name)}\b", by, text, flags=re.IGNORECASE)


def _vague(part: str, by: str):
    """A part of the specification is replaced by something vague."""

    def put(text: str, specification: Specification, author: Author, rng) -> str:
        noun = re.sub(r"^(?:the|an?) ", "", getattr(specification, part))
        return re.sub(rf"(?:the )?\b{re.escape(noun)}\b", by, text, flags=re.IGNORECASE)

    return put


def _broken_off(text: str, specification: Specification, author: Author, rng) -> str:
    """Cut in front of the closing sentence, or a few words into it."""
    close = _CLOSE.search(text)
    if close is None or rng.random() < 0.5:
        return text[: close.start() if close else len(text) * 3 // 4].rstrip(' .!,"')
    return " ".join(text[: close.end()].split()[: -int(rng.integers(3, 6))]).rstrip(' .!,"')


def _other_tense(text: str, specification: Specification, author: Author, rng) -> str:
    """Every second verb in the other tense."""
    count = -1

    def changed(found: re.Match) -> str:
        nonlocal count
        word = found[0]
        other = recognise.OTHER_TENSE.get(word.lower())
        if other is None:
            return word
        count += 1
        return word if count % 2 else other

    return re.sub(r"[A-Za-z]+", changed, text)


def _too_short(text: str, specification: Specification, author: Author, rng) -> str:
    return " ".join(text.split()[: int(rng.integers(SHORT // 2, SHORT - 2))]) + "."


def padded(rng: np.random.Generator, text: str, specification: Specification) -> str:
    """A story made longer than 125 words by scenes of other plots before its end: nobody is named there, no craft is shown."""
    extra, close = dataclasses.replace(draw_author(rng), craft=Craft(False, False, False, True)), _CLOSE.search(text)
    specification = dataclasses.replace(specification, protagonist="they", supporting="others")
    begin = close.start() if close else len(text)
    body, end = text[:begin], text[begin:]
    while len(words(body + end)) <= 125:
        more = write_story(rng, dataclasses.replace(extra, direction=draw_author(rng).direction), specification)
        body += end[:1] + " " + _CLOSE.sub("", more)
    return body + end


def _rambling(text: str, specification: Specification, author: Author, rng) -> str:
    return padded(rng, text, specification)


def _stranger(text: str, specification: Specification, author: Author, rng) -> str:
    others = [name for name in NAMES if name not in (specification.protagonist, specification.supporting)]
    others = [name for name in others if name not in specification.title]
    first, _, rest = text.partition(" ")
    return f"{others[rng.integers(len(others))]} waved from far away. {first} {rest}"


def _nonsense(text: str, specification: Specification, author: Author, rng) -> str:
    """All words but the first and last dozen are shuffled among senseless ones."""
    all_words = text.split()
    middle = [word.strip(".,;!?") for word in all_words[12:-12]] + _SENTENCES["senseless"].split()
    return " ".join([*all_words[:12], *(middle[i] for i in rng.permutation(len(middle))), *all_words[-12:]])


def _picked(sentences: list[str], before: bool):
    def put(text: str, specification: Specification, author: Author, rng) -> str:
        one = sentences[rng.integers(len(sentences))]
        return f"{one} {text}" if before else f"{text} {one}"

    return put


_PUT_IN = {  # in this order: a longer story first, then names, then what is cut, then what is added
    "rambling": _rambling,
    "hero": lambda text, specification, author, rng: _renamed(text, specification.protagonist, "someone"),
    "companion": lambda text, specification, author, rng: _renamed(text, specification.supporting, "a friend"),
    "setting": _vague("setting", "a town"),
    "object": _vague("object", "a thing"),
    "ending": _broken_off,
    "tense": _other_tense,
    "nonsense": _nonsense,
    "short": _too_short,
    "cliche": _picked(_SENTENCES["cliches"], before=False),
    "moral": _picked(_SENTENCES["morals"], before=False),
    "stranger": _stranger,
    "preamble": _picked(_SENTENCES["preambles"], before=True),
}


def seeded(rng: random.Random) -> np.random.Generator:
    """A NumPy generator that continues a standard one."""
    return np.random.default_rng(rng.getrandbits(63))
