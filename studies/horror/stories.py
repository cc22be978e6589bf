"""Synthetic stories for a specification: horror, wholesome or in the wrong style, each constraint kept or failed on purpose."""

import dataclasses

import numpy as np

from studies.horror.grammar import sentence
from studies.horror.specification import TABOOS, TWIST_SUBJECTS, TWIST_TRUTHS, Specification
from studies.pools import pick, read_pools

_HORROR = read_pools(__file__, "horror")
# Kind of story -> place or slot -> what it is drawn from; the other kinds replace some pools of horror.
POOLS = {kind: _HORROR | read_pools(__file__, kind) for kind in ("horror", "wholesome", "off_style")}
# Paragraphs of a good story, as places of sentences. The calm sentence stands before the end, so that a flat ending is the same
# sentences in another order.
LAYOUTS = (
    (("opening", "object", "rule", "dread"), ("act", "calm", "twist", "end")),
    (("opening", "object", "rule"), ("dread", "act", "calm"), ("twist", "end")),
    (("opening", "object"), ("rule", "dread"), ("act", "calm"), ("twist", "end")),
)
TABOO_FAULTS = ("other", "flipped", "absent")
TWIST_FAULTS = ("early", "other", "absent")
HARD_FAULTS = (("taboo", "other"), ("taboo", "flipped"), ("twist", "early"), ("twist", "other"), ("end", "flat"))


@dataclasses.dataclass(frozen=True)
class Quality:
    """How a story treats the three parts of its specification that take more than copying."""

    taboo: str = "as_told"  # or "other" (another rule), "flipped" (kept instead of broken), "absent"
    twist: str = "late"  # or "early" (in the first paragraph), "other", "absent"
    end: str = "unsettling"  # or "flat": the unsettling sentence stands earlier


GOOD = Quality()


def draw_quality(rng: np.random.Generator, good: float) -> Quality:
    """Each part is good with probability ``good``, else has one of its faults."""
    fine = rng.random(3) < good
    taboo, twist = pick(rng, TABOO_FAULTS), pick(rng, TWIST_FAULTS)
    return Quality("as_told" if fine[0] else taboo, "late" if fine[1] else twist, "unsettling" if fine[2] else "flat")


def hard_fault(rng: np.random.Generator) -> Quality:
    """A good story but for one fault of :data:`HARD_FAULTS`, none of which shows in the words alone."""
    part, fault = pick(rng, HARD_FAULTS)
    return dataclasses.replace(GOOD, **{part: fault})


def write_story(rng: np.random.Generator, spec: Specification, kind: str = "horror", quality: Quality = GOOD) -> str:
    """A title line and 2 to 4 paragraphs, about 90 to 130 words; paragraphs are divided by an empty line."""
    told = _as_told(rng, spec, quality)
    paragraphs = [list(paragraph) for paragraph in LAYOUTS[rng.integers(len(LAYOUTS))]]
    _misplace(rng, paragraphs, quality)
    sentences = [[sentence(rng, _place(place, told), told, POOLS[kind]) for place in one] for one in paragraphs]
    return "\n\n".join([spec.title, *(" ".join(one) for one in sentences)])


def _as_told(rng: np.random.Generator, spec: Specification, quality: Quality) -> Specification:
    """The specification that the story is really written for."""
    if quality.taboo == "other":
        spec = dataclasses.replace(spec, taboo=pick(rng, tuple(taboo for taboo in TABOOS if taboo != spec.taboo)))
    if quality.taboo == "flipped":
        spec = dataclasses.replace(spec, taboo_kept=not spec.taboo_kept)
    if quality.twist == "other":
        subjects = tuple(one for one in TWIST_SUBJECTS if one not in spec.twist)
        truths = tuple(one for one in TWIST_TRUTHS if one not in spec.twist)
        spec = dataclasses.replace(spec, twist=f"the {pick(rng, subjects)} {pick(rng, truths)}")
    return spec


def _misplace(rng: np.random.Generator, paragraphs: list[list[str]], quality: Quality) -> None:
    """Leave out or move the places that the quality says, in place."""
    if quality.taboo == "absent":
        for paragraph in paragraphs:
            paragraph[:] = ["dread" if place in ("rule", "act") else place for place in paragraph]
    if quality.twist == "absent":
        paragraphs[-1][paragraphs[-1].index("twist")] = "dread"
    if quality.twist == "early":
        paragraphs[-1].remove("twist")
        paragraphs[0].insert(int(rng.integers(1, len(paragraphs[0]) + 1)), "twist")
        if len(paragraphs[-1]) < 2:  # a paragraph of one sentence would give the fault away
            paragraphs[-1].insert(0, paragraphs[-2].pop())
    if quality.end == "flat":
        before = next(paragraph for paragraph in paragraphs if "calm" in paragraph)
        before[before.index("calm")] = "end"
        paragraphs[-1][-1] = "calm"


def _place(place: str, spec: Specification) -> str:
    return ("kept" if spec.taboo_kept else "broken") if place == "act" else place
