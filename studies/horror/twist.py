"""Whether a story reveals a twist: its words stand there together, and the story does not deny them."""

import re

from studies.horror.wording import any_of, content, holds, normal, sentences, stem, stems, windows, words
from studies.pools import read_pools

_DENIED = re.compile(any_of(read_pools(__file__, "twist")["denied"]))
_NEGATORS = frozenset("not never no nobody none neither".split())
_TOLD = frozenset(
    map(stem, "know tell say guess see understand realise realize doubt deny remember think believe mention".split())
)
_PRONOUNS = frozenset("he she it they i you we him her them this that".split())
_POSSESSIVES = frozenset("his her my their our your its".split())
_AUXILIARIES = frozenset(map(stem, "is are was were be been has have had does did do".split()))
_REACH = 3  # words after a negation within which it reaches a word of the twist


def is_revealed(twist: str, prose: list[str], known: str = "", strict: bool = False) -> bool:
    """Whether two sentences that follow each other hold the twist (:func:`..wording.holds`), and do not deny it.

    A pronoun may stand for the twist's subject where the rest of the twist is there word for word. A twist is denied when a
    negation that it has not itself stands right before one of its words, or when what follows calls it a lie or a rumour.
    ``strict``: a twist of ``known`` words only must stand whole in one sentence, as its words come up anyway.
    """
    own = set(content(twist)) - set(content(known))
    for place, (one, other) in enumerate(windows(prose)):
        pair = f"{one} {other}" if own or not strict else one
        after = " ".join(prose[place + 1 : place + 4])
        if _is_there(twist, pair, known, whole=strict and not own) and not _is_denied(twist, one, other, after):
            return True
    return False


def _is_there(twist: str, text: str, known: str, whole: bool) -> bool:
    if holds(twist, stems(text), known, whole):
        return True
    said = [_plain(word) for word in words(twist)]
    verb = next((place for place, word in enumerate(said) if place and word in _AUXILIARIES), said.index(content(twist)[0]))
    said = said[verb + 1 :]
    while said and said[0] in _AUXILIARIES:
        said = said[1:]
    told = [_plain(word) for word in words(text)]
    same = any(told[place : place + len(said)] == said for place in range(len(told)))
    return len(said) > 1 and same and bool(_PRONOUNS & {word.partition("'")[0] for word in words(text)})


def _plain(word: str) -> str:
    """The stem, all pronouns and possessives alike: "her own ghost" is told as "my own ghost"."""
    return "it" if word in _PRONOUNS or word in _POSSESSIVES else stem(word)


def _is_denied(twist: str, one: str, other: str, after: str) -> bool:
    if _DENIED.search(normal(f"{one} {after}").casefold()):
        return True
    negative = any(_is_negator(word) for word in words(twist))
    telling = [sentence for sentence in (one, other) if stems(sentence) & set(content(twist))]
    best = max(telling, key=lambda sentence: len(stems(sentence) & set(content(twist))), default="")
    return not negative and any(_negates(clause, twist) for part in sentences(best) for clause in re.split(r"[,;:]", part))


def _is_negator(word: str) -> bool:
    return word in _NEGATORS or word.endswith("n't") or word in ("without", "nothing")


def _negates(clause: str, twist: str) -> bool:
    found = words(clause)
    asked = set(content(twist))
    for place, word in enumerate(found):
        if word in ("not", "never") or word.endswith("n't"):
            next_words = [stem(one) for one in found[place + 1 : place + 1 + _REACH]]
            if not _TOLD & set(next_words) and next_words[:1] != ["only"] and asked & set(next_words):
                return True
    return False
