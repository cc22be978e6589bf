"""What the simulated LLM replies: for each role, a pure function of the prompt, the seed of the request and the settings.

A verdict counts those flaws only that the prompt's principles, rubric or lists speak of; what it cannot check it passes over.
All its errors are its own draws: the flaw that is overlooked in one prompt may be seen in another about the same text.
"""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diversity_tuning.flags import flag
from diversity_tuning.ranges import Flags
from studies.miniature.simulated_llm.flaws import POOL, Flaw, named_in, words
from studies.miniature.simulated_llm.prompt import Prompt, read_prompt
from studies.miniature.simulated_llm.writing import seeded, write_flawed
from studies.miniature.specification import Specification, draw_specification

MOST_RULES = 10
DROP = "Do not call a text bad for this: "  # how a reflector takes a principle back
GENERAL = "Judge the text as a whole."  # a rule that nothing can be checked by
SHORTEST_FAVOURED, MOST_FAVOURED = 50, 90  # words; the length bias grows between them
_WHIM = 0.02  # chance of a verdict Bad for no reason
_FOUND = 0.85  # chance that a critic writes down a flaw that it sees
_HEARD = 0.9  # chance that a judge looks again where a critic's weakness contradicts its bias
_FORGOTTEN = 0.03  # chance that an optimizer loses a rule


@dataclass(frozen=True)
class Settings(Flags):
    """Faults of the simulated LLM.

    ``length_bias``: probability that a text of 90 words or more passes although a flaw was seen in it, falling to 0 at 50
    words; ``leniency``: probability that a text passes although a flaw was seen, whatever its length; ``noise``: multiplies
    all error rates, 0 for none; ``seed``: of its draws, beside the request's seed and the prompt.
    """

    length_bias: float = flag("chance that a long text passes in spite of a flaw", default=0.0, least=0, most=1)
    leniency: float = flag("chance that any text passes in spite of a flaw", default=0.0, least=0, most=1)
    noise: float = flag("multiplies all error rates; 0: no errors", default=1.0, least=0, most=5)
    seed: int = flag("of its errors", default=0, least=0)


class Reader:
    """One reading of one prompt: its draws, and looks at its text."""

    def __init__(self, prompt: Prompt, settings: Settings, rng: random.Random):
        self.prompt, self.settings, self.rng = prompt, settings, rng

    def sees(self, names: set[str]) -> list[Flaw]:
        """Which of these flaws it sees in the response, in the order of the pool; none for a query that is not ours."""
        specification, text = self.prompt.specification, self.prompt.response
        if specification is None:
            return []
        looked = [flaw for name, flaw in POOL.items() if name in names]
        return [one for one in looked if one.seen(one.rule(specification, text), self.rng, self.settings.noise)]

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def erring(self, probability: float) -> bool:
        """As :meth:`chance`, for an error that grows with the noise."""
        return self.chance(min(1.0, probability * self.settings.noise))

    def is_swayed(self) -> bool:
        """Whether a bias lets the text pass."""
        size = len(words(self.prompt.response))
        share = np.clip((size - SHORTEST_FAVOURED) / (MOST_FAVOURED - SHORTEST_FAVOURED), 0.0, 1.0)
        by_length = self.chance(self.settings.length_bias * float(share))
        return self.chance(self.settings.leniency) or by_length

    def names(self, tag: str) -> set[str]:
        """The flaws that an input speaks of."""
        return set().union(*map(named_in, self.prompt.lines(tag)), set())

    def criteria(self) -> set[str]:
        """What the rubric asks for; the whole pool where it names no flaw of the pool."""
        return self.names("rubric") or set(POOL)


def answer(text: str, seed: int = 0, settings: Settings = Settings()) -> str:
    """The reply to a prompt: the same for the same prompt, seed and settings."""
    prompt = read_prompt(text)
    digest = hashlib.sha256(f"{settings.seed}\0{seed}\0{text}".encode(errors="replace")).digest()
    role = ROLES.get(prompt.role)
    if role is None:
        return "This is a simulated LLM. It knows the judging roles of this project only."
    return json.dumps(role(Reader(prompt, settings, random.Random(digest))), ensure_ascii=False)


def detector(reader: Reader) -> dict:
    """Judge by the principles alone; suggest a flaw that they do not speak of."""
    known = reader.names("principles")
    seen = reader.sees(known)
    verdict, reason = _verdict(reader, seen)
    if reader.erring(_WHIM) and verdict:
        verdict, reason = 0, "simulated: it does not convince"
    others = [flaw for name, flaw in POOL.items() if name not in known]
    suggestion = reader.rng.choice(others).strategy if others else GENERAL
    return {"verdict": verdict, "reason": reason, "suggestion": f"simulated: {suggestion}"}


def _verdict(reader: Reader, seen: list[Flaw]) -> tuple[int, str]:
    if seen and not reader.is_swayed():
        return 0, f"simulated: {_complaints(seen)}"
    return 1, "simulated: nothing is wrong with it"


def _complaints(flaws: list[Flaw]) -> str:
    return "; ".join(flaw.complaint for flaw in flaws)


def negative(reader: Reader) -> dict:
    """The flaws that it sees and writes down, each with its reason."""
    seen = [flaw for flaw in reader.sees(reader.criteria()) if not reader.erring(1 - _FOUND)]
    return {"weaknesses": {flaw.name: f"simulated: {flaw.complaint}" for flaw in seen}}


def positive(reader: Reader) -> dict:
    """What it does not see a flaw in, at most four; with leniency more of what is none."""
    criteria = reader.criteria()
    seen = {flaw.name for flaw in reader.sees(criteria)}
    kept = [name for name in sorted(criteria) if name not in seen or reader.chance(reader.settings.leniency)]
    chosen = reader.rng.sample(kept, min(4, len(kept)))
    return {"strengths": {name: f"simulated: it keeps to this: {POOL[name].principle}" for name in chosen}}


def judge(reader: Reader) -> dict:
    """Judge by the rubric and the critics' lists. A bias lets a text pass unless a listed weakness makes it look again."""
    criteria, listed = reader.criteria(), reader.names("weaknesses")
    seen = reader.sees(criteria | listed)
    if seen and reader.is_swayed():
        confirmed = [flaw for flaw in seen if flaw.name in listed]
        seen = confirmed if confirmed and reader.chance(_HEARD) else []
    doubted = reader.names("strengths") - listed  # praised by one critic, and not blamed by the other
    seen = [flaw for flaw in seen if flaw.name not in doubted or reader.chance(0.5)]
    return {"verdict": int(not seen), "reason": f"simulated: {_complaints(seen) or 'nothing is wrong with it'}"}


def reflect(reader: Reader) -> dict:
    """Overturn on clear ground only: a listed weakness that was passed over and is there, or a blame that is not upheld."""
    verdict_before = _first_verdict(reader.prompt.inputs.get("judge_verdict", ""))
    listed, blamed = reader.names("weaknesses"), reader.names("judge_verdict")
    if verdict_before:
        ground = [] if _sways_again(reader) else reader.sees(listed)
        verdict, reason = int(not ground), _complaints(ground) or "nothing is wrong with it"
    else:
        upheld = reader.sees(blamed | listed)
        verdict, reason = int(not upheld), _complaints(upheld) or "what was blamed is not there"
    return {"verdict": verdict, "reason": f"simulated: {reason}", "overturned": verdict != verdict_before}


def _sways_again(reader: Reader) -> bool:
    """The same bias once more, against written weaknesses: as in :func:`judge`."""
    return reader.is_swayed() and not reader.chance(_HEARD)


def generator(reader: Reader) -> dict:
    """A story with one flaw: of a strategy that it knows, else any. What it says about it is true."""
    known = sorted(reader.names("strategies"))
    name = reader.rng.choice(known or list(POOL))
    rng = seeded(reader.rng)
    specification: Specification = reader.prompt.specification or draw_specification(rng)
    text = write_flawed(rng, specification, {name})
    return {"response": text, "explanation": f"simulated: {POOL[name].complaint}"}


def reflector(reader: Reader) -> dict:
    """Name the principle that is missing for a flaw it sees; or take back one that blames what is no flaw."""
    label = _first_verdict(reader.prompt.inputs.get("label", ""))
    known, blamed = reader.names("principles"), reader.names("verdict")
    if label:
        seen = reader.sees(blamed & known)
        if not seen:
            return {"why": "simulated: it was misread", "missing": f"simulated: {GENERAL}"}
        chosen = reader.rng.choice(seen)
        return {"why": f"simulated: {chosen.complaint}, which is no flaw", "missing": f"{DROP}{chosen.principle}"}
    seen = reader.sees(set(POOL) - known)
    if not seen:
        return {"why": "simulated: a flaw was overlooked", "missing": f"simulated: {GENERAL}"}
    chosen = reader.rng.choice(seen)
    return {"why": f"simulated: {chosen.complaint}", "missing": chosen.principle}


def optimizer(reader: Reader) -> dict:
    """Merge: what is asked for is added, what is taken back more often goes, the ten with most support stay."""
    kind = "strategies" if "strategies" in reader.prompt.inputs else "principles"
    rules = reader.prompt.lines(kind)
    support: Counter[str] = Counter()
    for line in reader.prompt.lines("feedback"):
        taken_back = DROP.strip() in line
        for name in sorted(named_in(line)):
            support[name] += -1 if taken_back else 1
    kept = [rule for rule in rules if all(support[name] >= 0 for name in named_in(rule)) and not reader.erring(_FORGOTTEN)]
    there = set().union(*map(named_in, kept), set())
    new = [name for name, votes in support.most_common() if votes > 0 and name not in there]
    kept += [POOL[name].strategy if kind == "strategies" else POOL[name].principle for name in new]
    support.update(there)  # what holds already is not given up for one voice
    return {"rules": _most_supported(kept, support) or [GENERAL]}


def _most_supported(rules: list[str], support: Counter) -> list[str]:
    """At most ten, in their order; rules that nothing can be checked by go first, then those with least support."""

    def rank(i: int) -> tuple:
        names = named_in(rules[i])
        return not names, -max((support[name] for name in names), default=0), i

    return [rules[i] for i in sorted(sorted(range(len(rules)), key=rank)[:MOST_RULES])]


def _first_verdict(text: str) -> int:
    """The verdict or label that an input begins with or holds under ``verdict``: 1 for good; bad where it is unclear."""
    try:
        read = json.loads(text)
    except ValueError:
        read = text
    if isinstance(read, dict):
        read = read.get("verdict", 0)
    return int(str(read).strip().lower().startswith(("1", "good", "true", "好", "合格")))


ROLES: dict[str | None, Callable[[Reader], dict]] = {
    one.__name__: one for one in (detector, negative, positive, judge, reflect, generator, reflector, optimizer)
}
