"""The sentences that synthetic stories are made of: patterns whose ``[slots]`` are drawn from pools.

``{H}`` and ``{S}`` are the two characters, ``{he}``, ``{him}``, ``{his}`` the protagonist's pronouns (``{He}`` at the start of
a sentence), ``{setting}``, ``{object}`` and ``{thing}`` ("the brass key") come from the specification, as do ``{taboo}``,
``{taboo_past}``, ``{twist}`` and ``{Twist}``.
"""

import re

import numpy as np

from studies.horror.specification import Specification, past_of, pronouns
from studies.pools import pick

_SLOT = re.compile(r"\[(\w+)\]")


def sentence(rng: np.random.Generator, place: str, spec: Specification, pools: dict[str, list[str]]) -> str:
    """One sentence for a place of a story ("opening", "twist", …), its slots drawn and its names put in."""
    text = pick(rng, pools[place])
    while found := _SLOT.search(text):
        text = text[: found.start()] + pick(rng, pools[found[1]]) + text[found.end() :]
    text = text.format_map(_values(spec))
    return text[0].upper() + text[1:]


def _values(spec: Specification) -> dict[str, str]:
    own = pronouns(spec.protagonist)
    return {
        "H": spec.protagonist, "S": spec.supporting, "setting": spec.setting, "object": spec.object,
        "thing": "the " + spec.object.split(" ", 1)[1], "taboo": spec.taboo, "taboo_past": past_of(spec.taboo),
        "twist": spec.twist, "Twist": spec.twist[0].upper() + spec.twist[1:], "He": own["he"].capitalize(), **own,
    }  # fmt: skip
