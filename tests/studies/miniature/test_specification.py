"""Prompts: drawn without repeats, and read back from their text."""

import dataclasses
import re

import numpy as np
import pytest

from diversity_tuning.data.schema import prompt_text
from studies.miniature import specification as spec
from studies.miniature.events import PLOTS, SENSORY


@pytest.fixture(scope="module")
def drawn():
    return spec.draw_specifications(np.random.default_rng(3), 1500)


def test_specifications_are_unique_and_short(drawn):
    assert len({dataclasses.astuple(one)[1:] for one in drawn}) == len(drawn) == 1500
    assert all(one.protagonist != one.supporting for one in drawn)
    assert max(len(prompt_text(*one.to_post()).split()) for one in drawn) <= 45


def test_a_prompt_is_read_back(drawn):
    assert all(spec.from_prompt(prompt_text(*one.to_post())) == one for one in drawn)


@pytest.mark.parametrize(
    "prompt", ["", "\n", "A cat walks in.\nWrite about it.", "Setting: the bay. Hero: . With: . Object: ."]
)
def test_a_foreign_prompt_is_none(prompt):
    assert spec.from_prompt(prompt) is None


def test_the_words_that_earn_craft_occur_nowhere_else():
    """Else a plot sentence could earn the taboo or the twist by accident."""
    events = [event for plot in PLOTS.values() for moment in plot for event in moment] + SENSORY
    others = " ".join(
        [*spec.SETTINGS, *spec.OBJECTS, *spec.ROLES, *(f"{e.subject} {e.tail} {e.past} {e.base}" for e in events)]
    )
    words = set(re.findall(r"[a-z']+", others))
    twist_words = {word for subject, truth in spec.TWISTS for word in (subject, truth.split()[-1])}
    assert not words & (set(spec.TABOOS.values()) | twist_words)
    assert all(word in taboo.split() for taboo, word in spec.TABOOS.items())
