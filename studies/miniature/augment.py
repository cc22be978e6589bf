"""Data augmentation: names and objects swapped between prompts, so that a small model copies instead of memorising."""

import re

from studies.miniature.specification import Specification


def swap_parts(prompt: str, response: str, own: Specification, donor: Specification) -> tuple[str, str]:
    """Replace every part of ``own`` by that of ``donor``, in prompt and response alike, keeping lower case where it stands.

    The pair stays true to itself: a story that names its hero still does, one that forgot the taboo still forgets it. The one
    exception: the clipped voice drops articles, so that a taboo like "feed a black cat" is not found in it and stays.
    """
    words = {}
    for mine, theirs in zip(_spans(own), _spans(donor), strict=True):
        words.setdefault(mine, theirs)
        words.setdefault(mine.lower(), theirs.lower())
    pattern = re.compile(r"\b(?:" + "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) + r")\b")
    return tuple(pattern.sub(lambda found: words[found.group()], text) for text in (prompt, response))


def _spans(spec: Specification) -> tuple[str, ...]:
    """The spellings of each part, with and without article, in an order common to all specifications."""
    subject, truth = spec.twist_words
    article = spec.twist.split()[-2]
    return (
        spec.setting.split(" ", 1)[1],
        spec.protagonist,
        spec.supporting,
        spec.role,
        spec.role.split(" ", 1)[1],
        spec.object,
        spec.object.split(" ", 1)[1],
        spec.taboo,
        subject,
        f"{article} {truth}",
        truth,
    )
