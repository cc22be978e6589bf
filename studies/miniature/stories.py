"""Synthetic authors with latent traits, and the stories they write.

An author draw is a direction (what happens), a voice (who tells it how) and four independent signs of craft. Nobody
downstream sees these labels; the pipeline sees text and votes, as with human authors.
"""

import dataclasses

import numpy as np

from studies.miniature import voices
from studies.miniature.events import PLOTS, SENSORY, TABOO_VERBS, Event, twist_event
from studies.miniature.specification import Specification
from studies.miniature.voices import VOICES

# How common each is. The most common ones lie nearest the middle of embedding space and of style, so deviation = rarity.
DIRECTIONS = {
    "heist": 0.32, "war": 0.20, "sea": 0.14, "trial": 0.10, "romance": 0.08, "feast": 0.06, "illness": 0.05, "robot": 0.05,
}  # fmt: skip
VOICE_SHARES = {"plain": 0.34, "ornate": 0.22, "dialogue": 0.16, "clipped": 0.12, "letter": 0.08, "diary": 0.08}
SKILL_EFFECT = 0.6  # an author's skill, N(0, 1), moves the log-odds of every sign of craft by this much


@dataclasses.dataclass(frozen=True)
class Craft:
    """The four signs of craft, each readable from the text."""

    taboo: bool  # the prompt's taboo is kept or broken on stage
    twist: bool  # the prompt's twist comes out
    sensory: bool  # one sentence is for the senses
    fresh: bool  # no sentence is told twice

    @property
    def total(self) -> int:
        """0 to 4."""
        return sum(dataclasses.astuple(self))


@dataclasses.dataclass(frozen=True)
class Author:
    """The latent traits that one response is generated from."""

    direction: str
    voice: str
    craft: Craft


def draw_author(rng: np.random.Generator) -> Author:
    """Draw direction, voice and craft independently of each other."""
    direction = str(rng.choice(list(DIRECTIONS), p=list(DIRECTIONS.values())))
    voice = str(rng.choice(list(VOICE_SHARES), p=list(VOICE_SHARES.values())))
    chance = 1 / (1 + np.exp(-SKILL_EFFECT * rng.standard_normal()))
    return Author(direction, voice, Craft(*(bool(draw < chance) for draw in rng.random(4))))


def write_story(rng: np.random.Generator, author: Author, specification: Specification) -> str:
    """One story, about 40 to 90 words."""
    voice = VOICES[author.voice]
    events = _events(rng, author, specification)
    sentences = [voices.sentence(voice, place, events[place], specification) for place in voices.ORDER if place in events]
    if not author.craft.fresh:
        # Never the last sentence: it closes the story. It is told again right where it stands.
        again = int(rng.integers(1, len(sentences) - 1))
        sentences.insert(again, sentences[again])
    return " ".join(sentences)


def _events(rng: np.random.Generator, author: Author, specification: Specification) -> dict[int | str, Event]:
    """Which event is at each place of the story; every draw is made, used or not, so craft does not shift the rest."""
    moments = PLOTS[author.direction]
    events: dict[int | str, Event] = {i: events[rng.integers(len(events))] for i, events in enumerate(moments)}
    sensory, taboo = SENSORY[rng.integers(len(SENSORY))], TABOO_VERBS[rng.integers(len(TABOO_VERBS))]
    if author.craft.sensory:
        events[voices.SENSORY] = sensory
    if author.craft.taboo:
        events[voices.TABOO] = taboo
    if author.craft.twist:
        events[voices.TWIST] = twist_event(specification.twist)
    return events
