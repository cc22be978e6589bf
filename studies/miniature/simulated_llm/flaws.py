"""The pool of flaws that the simulated LLM knows: each with sentences about it, a rule that finds it, and how often that errs.

Every rule reads a response and the specification of its prompt. A principle in plain language stands for a flaw where its
words match the flaw's pattern; the sentences here match their own flaw only.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from studies.miniature import recognise
from studies.miniature.specification import NAMES, Specification
from studies.pools import read_pools

SHORT, LONG = 32, 115  # words; the synthetic stories have 40 to 95
_CLOSING = re.compile(r"\b(?:back|thus) in\b", re.IGNORECASE)
_FINISHED = re.compile(r"(?:[.!?\"”]|\blove, \w+)\s*$", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z']+")


@dataclass(frozen=True)
class Flaw:
    """A flaw: what a judge is told to look for, how a writer puts it in, what a critic says, and the rule that finds it.

    ``missed``: probability that the simulated LLM overlooks it where it is; ``imagined``: that it sees it where it is not.
    """

    name: str
    principle: str
    strategy: str
    complaint: str
    pattern: str
    rule: Callable[[Specification, str], bool]
    missed: float = 0.1
    imagined: float = 0.015

    def seen(self, there: bool, rng: random.Random, noise: float) -> bool:
        """A noisy look at a text where the flaw is, or is not, ``there``."""
        draw = rng.random()
        return draw >= self.missed * noise if there else draw < self.imagined * noise


def words(text: str) -> list[str]:
    """The words of a text, as written."""
    return _WORD.findall(text)


def _lacks(part: str) -> Callable[[Specification, str], bool]:
    """A rule: the content words of that part of the specification do not stand in the text."""

    def rule(specification: Specification, text: str) -> bool:
        wanted = re.sub(r"^(?:the|an?) ", "", getattr(specification, part)).lower()
        return re.search(rf"\b{re.escape(wanted)}\b", text.lower()) is None

    return rule


def _sentences(text: str) -> list[list[str]]:
    return [[word.lower() for word in words(part)] for part in re.split(r"[.!?;\"]+", text)]


def _without_taboo(specification: Specification, text: str) -> bool:
    return not any(specification.taboo_word in sentence for sentence in _sentences(text))


def _without_twist(specification: Specification, text: str) -> bool:
    return not any(set(specification.twist_words) <= set(sentence) for sentence in _sentences(text))


def _breaks_off(specification: Specification, text: str) -> bool:
    """No closing sentence in the last part of the text, or the last sentence is not finished."""
    return _CLOSING.search(text[len(text) // 2 :]) is None or _FINISHED.search(text) is None


def _mixes_tenses(specification: Specification, text: str) -> bool:
    past, present = recognise.tenses(text)
    return past >= 2 and present >= 2


def _names_a_stranger(specification: Specification, text: str) -> bool:
    known = {specification.protagonist.lower(), specification.supporting.lower()}
    strangers = {name.lower() for name in NAMES} - known - set(re.findall(r"\w+", specification.title.lower()))
    return any(word in strangers for word in _lower_words(text))


def _lower_words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _matches(pattern: str) -> Callable[[Specification, str], bool]:
    found = re.compile(pattern, re.IGNORECASE)
    return lambda specification, text: found.search(text) is not None


# Flaw -> whether a text has it.
_RULES: dict[str, Callable[[Specification, str], bool]] = {
    "hero": _lacks("protagonist"),
    "companion": _lacks("supporting"),
    "setting": _lacks("setting"),
    "object": _lacks("object"),
    "taboo": _without_taboo,
    "twist": _without_twist,
    "sensory": lambda specification, text: not recognise.has_sensory_sentence(text),
    "repetition": lambda specification, text: recognise.has_repetition(text),
    "ending": _breaks_off,
    "tense": _mixes_tenses,
    "short": lambda specification, text: len(words(text)) < SHORT,
    "rambling": lambda specification, text: len(words(text)) > LONG,
    "cliche": _matches(r"happily ever after|all a dream|ever the same again"),
    "moral": _matches(r"\bmoral of\b|\blesson\b"),
    "stranger": _names_a_stranger,
    "nonsense": lambda specification, text: not recognise.is_story(text),
    "preamble": _matches(r"^\W*(?:here is|sure[,!]|certainly)|as an ai\b"),
}
POOL = {name: Flaw(name, rule=_RULES[name], **texts) for name, texts in read_pools(__file__, "flaws").items()}


def named_in(line: str) -> set[str]:
    """The flaws that a sentence speaks of."""
    return {flaw.name for flaw in POOL.values() if re.search(flaw.pattern, line, re.IGNORECASE)}


def flaws_of(specification: Specification, text: str) -> set[str]:
    """The flaws that a text has, by the rules and without noise."""
    return {flaw.name for flaw in POOL.values() if flaw.rule(specification, text)}
