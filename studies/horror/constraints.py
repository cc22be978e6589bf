"""Which constraints of its specification a story keeps: fifteen rules that read text alone, for stories of any source.

Every rule is stated in the docstring of its function and in docs/HORROR.md, with what it was measured to miss.
"""

import re
from collections.abc import Callable

from studies.horror import cues, ends
from studies.horror.specification import Specification
from studies.horror.taboo import is_broken, is_told
from studies.horror.twist import is_revealed
from studies.horror.wording import STOPWORDS, WORD, content, is_used, normal, paragraphs, sentences, stem, words

PARAGRAPHS = (2, 4)
_HONORIFICS = frozenset(
    "mr mrs miss ms dr doctor father mother sister brother aunt uncle lady lord sir captain old the".split()
)
_COMPLETE = re.compile(r"[.!?…][\"')\]]*$")


def check(spec: Specification, story: str, finished: bool | None = None) -> dict[str, bool]:
    """The constraints of ``story`` by name, in a fixed order. ``finished``: whether the model ended it by EOS, where known."""
    parts = paragraphs(story, spec.title)
    prose = [sentence for part in parts for sentence in sentences(part)]
    first = sentences(parts[0]) if parts else []
    known = f"{spec.setting} {spec.object} {spec.protagonist} {spec.supporting} {spec.taboo}"
    told = is_told(spec.taboo, prose)
    return {
        "paragraphs": PARAGRAPHS[0] <= len(parts) <= PARAGRAPHS[1],
        "title": has_title(spec.title, story),
        "setting": is_used(spec.setting, prose),
        "protagonist": has_name(spec.protagonist, prose),
        "supporting": has_name(spec.supporting, prose),
        "object": is_used(spec.object, prose),
        "taboo_mentioned": told,
        "taboo_as_told": told and is_broken(spec.taboo, prose) is not spec.taboo_kept,
        "twist_revealed": is_revealed(spec.twist, prose, known),
        "twist_not_early": not is_revealed(spec.twist, first, known, strict=True),
        "unsettling_end": bool(parts) and ends.is_unsettling(cues.without_special_tokens(parts[-1])),
        "not_graphic": not cues.is_graphic(story),
        "no_special_tokens": not cues.special_tokens(story),
        "no_repeated_tail": cues.repeated_tail(story) is None,
        "complete": bool(words(story))
        and (_COMPLETE.search(normal(story).strip()) is not None if finished is None else finished),
    }


CONSTRAINTS = tuple(
    """paragraphs title setting protagonist supporting object taboo_mentioned taboo_as_told twist_revealed twist_not_early
    unsettling_end not_graphic no_special_tokens no_repeated_tail complete""".split()
)


def has_title(title: str, story: str) -> bool:
    """All content words of the title occur in the story; a heading counts."""
    found = set(map(stem, words(story)))
    return all(word in found for word in content(title))


def has_name(name: str, prose: list[str]) -> bool:
    """One word of the name occurs in the prose (not only in a heading): of the capitalised ones, where there are any.

    Honorifics and words like "her" count only where the name has nothing else.
    """
    found = {word.removesuffix("'s") for sentence in prose for word in words(sentence)}
    asked = [word for word in words(name) if word not in _HONORIFICS | STOPWORDS] or words(name)
    capital = {word.casefold() for word in WORD.findall(normal(name)) if word[0].isupper()}
    return any(word in found for word in [word for word in asked if word in capital] or asked)


def passed(constraints: dict[str, bool]) -> int:
    """How many constraints hold."""
    return sum(constraints.values())


def ticks(constraints: dict[str, bool], mark: Callable[[bool], str] = lambda holds: "+" if holds else "-") -> str:
    """One line: every constraint with its mark."""
    return "  ".join(f"{mark(holds)}{name.replace('_', ' ')}" for name, holds in constraints.items())
