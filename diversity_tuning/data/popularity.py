"""Whether votes favour what is common: the correlation of deviation and votes within prompts, told before any training."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from diversity_tuning.intervals import percentile_interval

LEAST_RESPONSES = 3  # two responses have a correlation of 1 or −1, whatever their votes
# With simulated votes for quality alone (docs/OWN_DATA.md): better responses are nearer to each other, so that some correlation
# is no taste for the common.
QUALITY_ALONE = -0.09
_DRAWS = 2000


@dataclass(frozen=True)
class Popularity:
    """Mean over prompts of Spearman's ρ between deviation and votes, with its 95% bootstrap interval over prompts."""

    mean: float
    low: float
    high: float
    values: tuple[float, ...]  # ρ of each prompt
    responses: int  # of these prompts

    @property
    def prompts(self) -> int:
        """How many prompts have a correlation."""
        return len(self.values)

    def figures(self) -> dict[str, float]:
        """The figures without those of single prompts."""
        rounded = {name: round(getattr(self, name), 4) for name in ("mean", "low", "high")}
        return {**rounded, "prompts": self.prompts, "responses": self.responses}

    def sentences(self) -> list[str]:
        """The figure, and what it says of weighting by deviation."""
        told = f"Deviation and votes within a prompt: Spearman {self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}], mean over"
        return [f"{told} {self.prompts} prompts with {LEAST_RESPONSES} responses or more in pairs.", self._expectation()]

    def _expectation(self) -> str:
        if self.low > 0:
            told = "Votes favour the unusual responses already: unweighted training moves the same way as the weights."
        elif self.high < QUALITY_ALONE:
            told = (
                "Votes favour the common responses, so unweighted training can narrow what a model writes; weights by deviation"
                " work against that, at a cost in votes."
            )
        elif self.high < 0:
            told = (
                "Votes lean to the common responses, but not surely more than votes for quality alone do"
                f" ({QUALITY_ALONE:+.2f} in simulated votes): there may be little narrowing by votes for the weights to undo."
            )
        else:
            told = (
                "No sign that votes favour the common responses:"
                " there may be little narrowing by votes for the weights to undo."
            )
        return f"{told} A hint, no forecast (docs/OWN_DATA.md)."


def popularity(prompts: list, responses: list, deviations: np.ndarray, votes: np.ndarray, seed: int = 0) -> Popularity | None:
    """The correlation from n rows as :func:`within_prompts` takes them; None where no prompt has one."""
    found = within_prompts(prompts, responses, deviations, votes).values()
    return _with_interval([value for value, _ in found], sum(count for _, count in found), seed) if found else None


def within_prompts(prompts: list, responses: list, deviations, votes) -> dict[Hashable, tuple[float, int]]:
    """Prompt -> Spearman's ρ of deviation and votes over its responses, and how many responses these are.

    n rows, ``(n,)`` each: keys of prompt and response, deviation, votes. A response that occurs again under its prompt counts
    once. Prompts with fewer than three responses, or with all votes or all deviations equal, have no correlation and are left
    out.
    """
    rows_of: dict = defaultdict(dict)
    for prompt, response, deviation, vote in zip(prompts, responses, deviations, votes, strict=True):
        rows_of[prompt].setdefault(response, (deviation, vote))
    found = {}
    for prompt, rows in rows_of.items():
        one, other = np.array(list(rows.values()), dtype=float).T
        if len(one) >= LEAST_RESPONSES and np.ptp(one) > 0 and np.ptp(other) > 0:
            found[prompt] = float(stats.spearmanr(one, other).statistic), len(one)
    return found


def pooled(parts: Iterable[Popularity], seed: int = 0) -> Popularity:
    """The correlation over the prompts of several sets, at least one, such as the splits of a data set."""
    parts = list(parts)
    return _with_interval([value for part in parts for value in part.values], sum(part.responses for part in parts), seed)


def _with_interval(values: list[float], responses: int, seed: int) -> Popularity:
    drawn = np.random.default_rng(seed).integers(0, len(values), (_DRAWS, len(values)))
    low, high = percentile_interval(np.array(values)[drawn].mean(axis=1))
    return Popularity(float(np.mean(values)), low, high, tuple(values), responses)
