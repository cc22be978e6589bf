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
    pattern: re.Pattern
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


def _without_senses(specification: Specification, text: str) -> bool:
    return not recognise.has_sensory_sentence(text)


def _repeats(specification: Specification, text: str) -> bool:
    return recognise.has_repetition(text)


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


def _flaw(name: str, pattern: str, rule, principle: str, strategy: str, complaint: str, **rates) -> Flaw:
    return Flaw(name, principle, strategy, complaint, re.compile(pattern, re.IGNORECASE), rule, **rates)


_ALL = (
    _flaw(
        "hero", r"\bhero\b|protagonist|main character", _lacks("protagonist"),
        "The hero of the prompt must be named in the story.",
        "Never name the hero; say 'someone' instead.",
        "the hero of the prompt is never named",
    ),
    _flaw(
        "companion", r"companion|supporting character|second character", _lacks("supporting"),
        "The companion of the prompt must appear by name.",
        "Leave the companion without a name.",
        "the companion of the prompt does not appear",
    ),
    _flaw(
        "setting", r"\bsetting\b|the place of the prompt", _lacks("setting"),
        "The story must take place in the setting of the prompt.",
        "Never mention the setting.",
        "the setting of the prompt is not mentioned",
    ),
    _flaw(
        "object", r"\bobject\b", _lacks("object"),
        "The object of the prompt must play a part.",
        "Replace the object by something vague.",
        "the object of the prompt is missing",
    ),
    _flaw(
        "taboo", r"\btaboo\b|forbidden", _without_taboo,
        "The taboo of the prompt must be kept or broken on stage.",
        "Leave the taboo out.",
        "the taboo plays no part",
        missed=0.12,
    ),
    _flaw(
        "twist", r"\btwist\b", _without_twist,
        "The twist of the prompt must come out.",
        "Keep the twist back until nobody hears of it.",
        "the twist is never revealed",
        missed=0.12,
    ),
    _flaw(
        "sensory", r"\bsens(?:es|ory)\b|smell|sight, sound", _without_senses,
        "At least one sentence must speak to the senses.",
        "Write nothing that speaks to the senses.",
        "no sentence speaks to the senses",
        missed=0.15, imagined=0.02,
    ),
    _flaw(
        "repetition", r"repeat|repetit|told twice|same sentence", _repeats,
        "No sentence may be repeated.",
        "Repeat one sentence in the middle.",
        "a sentence is repeated",
    ),
    _flaw(
        "ending", r"breaks? off|cut off|unfinished|without an end|an end of its own|incomplete", _breaks_off,
        "The story must have an end of its own and not break off.",
        "Let the story break off before its last scene.",
        "the story breaks off",
    ),
    _flaw(
        "tense", r"\btenses?\b", _mixes_tenses,
        "The story must keep to one tense.",
        "Slip into another tense now and then.",
        "the tense changes within the story",
        missed=0.15, imagined=0.02,
    ),
    _flaw(
        "short", r"too short|very short|longer than a note", lambda specification, text: len(words(text)) < SHORT,
        "A text that is too short is no story.",
        "Hand in a text that is too short.",
        "the text is too short",
    ),
    _flaw(
        "rambling", r"rambl|too long|padded|padding", lambda specification, text: len(words(text)) > LONG,
        "The story must not ramble on.",
        "Ramble on after the story is over.",
        "the story rambles on",
    ),
    _flaw(
        "cliche", r"clich|commonplace|happily ever|stock phrase",
        _matches(r"happily ever after|all a dream|ever the same again"),
        "The last line must not be commonplace, such as happily ever after.",
        "Close with a commonplace line.",
        "the last line is commonplace",
    ),
    _flaw(
        "moral", r"\bmoral\b|moralis|moraliz|lesson", _matches(r"\bmoral of\b|\blesson\b"),
        "The story must not preach a moral.",
        "Add a moral.",
        "the story preaches a moral",
    ),
    _flaw(
        "stranger", r"stranger|outsider|nobody introduced|not introduced", _names_a_stranger,
        "No person may turn up who was not introduced.",
        "Bring in a person who was not introduced.",
        "somebody turns up who was not introduced",
        imagined=0.02,
    ),
    _flaw(
        "nonsense", r"nonsense|garbled|gibberish|makes? sense|word salad",
        lambda specification, text: not recognise.is_story(text),
        "Every sentence must make sense.",
        "Turn some sentences into nonsense.",
        "some sentences are nonsense",
    ),
    _flaw(
        "preamble", r"preamble|chatty|assistant|talk about the task",
        _matches(r"^\W*(?:here is|sure[,!]|certainly)|as an ai\b"),
        "The text must begin with the story, without a preamble.",
        "Begin with a chatty preamble.",
        "the text begins with a preamble",
    ),
)  # fmt: skip

POOL: dict[str, Flaw] = {flaw.name: flaw for flaw in _ALL}


def named_in(line: str) -> set[str]:
    """The flaws that a sentence speaks of."""
    return {flaw.name for flaw in _ALL if flaw.pattern.search(line)}


def flaws_of(specification: Specification, text: str) -> set[str]:
    """The flaws that a text has, by the rules and without noise."""
    return {flaw.name for flaw in _ALL if flaw.rule(specification, text)}
