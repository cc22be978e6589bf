"""Stage 2: draw preference pairs within each prompt."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diversity_tuning.data import schema

ALL_PAIRS, MOST_PAIRS = -1, 100  # --gap -1: every pair may be drawn, at most this many a prompt


def draw_pairs(votes, gap: float, rng: np.random.Generator, strict: bool = False) -> list[tuple[int, int]]:
    """Draw (chosen, rejected) index pairs among n responses with these votes; chosen has more votes.

    ``gap >= 0``: without replacement, each time uniformly among all unordered pairs of unused responses whose votes differ
    by at least ``gap``; when none is left, among those whose votes differ at all, unless ``strict``. ``gap = -1``: all
    pairs of differing votes, at most 100, drawn uniformly. Pairs are never enumerated: a draw costs O(n).
    Raises :class:`ValueError` for a gap below 0 other than -1, or votes that are not finite or not (n,).
    """
    votes = np.asarray(votes, dtype=np.float64)
    if votes.ndim != 1 or not np.isfinite(votes).all():
        raise ValueError("votes must be a list of finite numbers")
    if gap < 0 and gap != ALL_PAIRS:
        raise ValueError(f"gap must be at least 0, or {ALL_PAIRS} for all pairs, not {gap}")
    order = np.argsort(votes, kind="stable")
    if gap == ALL_PAIRS:
        pairs = _draw_any(votes[order], rng)
    else:
        free = np.ones(len(votes), dtype=bool)
        pairs = _draw_disjoint(votes[order], gap, free, rng)
        if not strict:
            pairs += _draw_disjoint(votes[order], 0, free, rng)
    return [(int(order[high]), int(order[low])) for high, low in pairs]


def _partners(ordered: np.ndarray, gap: float) -> np.ndarray:
    """For each place in ascending votes, how many places from the bottom differ by at least ``gap`` and at all."""
    differing = np.searchsorted(ordered, ordered, side="left")
    return np.minimum(differing, np.searchsorted(ordered, ordered - gap, side="right"))


def _draw_disjoint(ordered: np.ndarray, gap: float, free: np.ndarray, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw until no valid pair of free places is left; marks the places it uses in ``free``."""
    bound = _partners(ordered, gap)
    below = np.concatenate([[0], np.cumsum(free)])  # free places under each place
    weight = np.where(free, below[bound], 0)  # valid partners of each place as the higher one
    pairs = []
    while total := int(weight.sum()):
        ends = np.cumsum(weight)
        ticket = int(rng.integers(total))
        high = int(np.searchsorted(ends, ticket, side="right"))
        rank = ticket - int(ends[high] - weight[high])
        low = int(np.flatnonzero(free[: bound[high]])[rank])
        pairs.append((high, low))
        for place in (high, low):
            free[place] = False
            # ``bound`` never falls along the order, so those who lose this partner are the tail with bound > place.
            tail = int(np.searchsorted(bound, place, side="right"))
            weight[tail:] -= free[tail:]
            weight[place] = 0
    return pairs


def _draw_any(ordered: np.ndarray, rng: np.random.Generator) -> list[tuple[int, int]]:
    bound = _partners(ordered, 0)
    ends = np.cumsum(bound)
    total = int(ends[-1]) if len(ends) else 0
    tickets = rng.choice(total, size=min(total, MOST_PAIRS), replace=False) if total else []
    highs = [int(np.searchsorted(ends, ticket, side="right")) for ticket in tickets]
    return [(high, int(ticket - ends[high] + bound[high])) for high, ticket in zip(highs, tickets, strict=True)]


@dataclass(frozen=True)
class Responses:
    """The n responses to one prompt; in stage 4 with ``vectors``, an (n, d) array per type of deviation."""

    texts: list[str]
    votes: list[int]
    vectors: list[np.ndarray]


def by_gap(responses: Responses, rng: np.random.Generator, gap: float, strict_gap: bool) -> list[tuple[int, int]]:
    """:func:`draw_pairs` of these responses."""
    return draw_pairs(responses.votes, gap, rng, strict_gap)


def distinct_responses(texts: list[str], votes: list[int]) -> list[int]:
    """Indices of the responses to draw from, in order: of equal texts the one with the most votes (the first such)."""
    best: dict[str, int] = {}
    for index, text in enumerate(texts):
        if text not in best or votes[index] > votes[best[text]]:
            best[text] = index
    return sorted(best.values())


def row_rng(seed: int, split: str, row: int) -> np.random.Generator:
    """A generator of its own for every row, so that neither batches nor processes change a draw."""
    digest = hashlib.sha256(f"{seed}/{split}/{row}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


DRAWN = "_drawn"  # a working column: per row, chosen and rejected index of every pair, one after the other


def draw_batch(batch: dict, indices: list[int], seed: int, split: str, select: Callable, max_pairs: int | None) -> dict:
    """The pairs that ``select`` finds among the distinct responses of each row of a batch, ``max_pairs`` at most."""
    drawn = []
    rows = zip(indices, batch[schema.FILTERED_COMMENT_TEXTS], batch[schema.FILTERED_COMMENT_SCORES], strict=True)
    for row, texts, votes in rows:
        places = distinct_responses(texts, votes)
        if len(places) < 2:  # more than half of the prompts
            drawn.append([])
            continue
        responses = Responses([texts[place] for place in places], [votes[place] for place in places], [])
        pairs = select(responses, row_rng(seed, split, row))
        drawn.append([places[side] for pair in pairs[:max_pairs] for side in pair])
    return {DRAWN: drawn}


def pair_batch(batch: dict, indices: list[int]) -> dict:
    """One row per drawn pair, from a batch of rows."""
    columns: dict[str, list] = {
        name: [] for name in (schema.CHOSEN, schema.REJECTED, schema.SCORE_CHOSEN, schema.SCORE_REJECTED)
    }
    for number, drawn in enumerate(batch[DRAWN]):
        prompt = schema.prompt_text(batch[schema.POST_TITLE][number], batch[schema.POST_TEXT][number])
        texts, votes = batch[schema.FILTERED_COMMENT_TEXTS][number], batch[schema.FILTERED_COMMENT_SCORES][number]
        for offset, column, score in ((0, schema.CHOSEN, schema.SCORE_CHOSEN), (1, schema.REJECTED, schema.SCORE_REJECTED)):
            columns[column] += [schema.to_messages(prompt, texts[place]) for place in drawn[offset::2]]
            columns[score] += [votes[place] for place in drawn[offset::2]]
    return columns


def unpaired_batch(batch: dict, indices: list[int]) -> dict:
    """Add, in their order, the responses of each row that are in a pair."""
    columns = {}
    for source, target in (
        (schema.FILTERED_COMMENT_TEXTS, schema.POSTTRAINING_COMMENT_TEXT),
        (schema.FILTERED_COMMENT_SCORES, schema.POSTTRAINING_SCORE),
        (schema.FILTERED_TRANSFORMED_SCORES, schema.POSTTRAINING_TRANSFORMED_SCORE),
    ):
        rows = zip(batch[source], batch[DRAWN], strict=True)
        columns[target] = [[values[place] for place in sorted(set(drawn))] for values, drawn in rows]
    return columns
