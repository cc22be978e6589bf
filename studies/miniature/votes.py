"""Synthetic votes: a function of craft, popularity of plot and voice, and heavy-tailed noise."""

import numpy as np

from studies.miniature.stories import DIRECTIONS, VOICE_SHARES, Author

BASE, CRAFT_WEIGHT, DIRECTION_WEIGHT, VOICE_WEIGHT = 1.5, 1.0, 0.30, 0.20
LUCK_SCALE, LUCK_FREEDOM = 0.5, 6  # Student's t: heavy tails: a few stories get very many votes
MOST_VOTES = 30_000


def standardised_log(shares: dict[str, float]) -> dict[str, float]:
    """Log-probability with mean 0 and standard deviation 1 under the probabilities themselves."""
    p = np.array(list(shares.values()))
    logs = np.log(p)
    centred = logs - p @ logs
    return dict(zip(shares, (centred / np.sqrt(p @ centred**2)).tolist(), strict=True))


DIRECTION_POPULARITY = standardised_log(DIRECTIONS)
VOICE_POPULARITY = standardised_log(VOICE_SHARES)


def popularity_of(author: Author) -> float:
    """What a common plot and voice add to the log-votes of a story where ``popularity`` is 1."""
    return DIRECTION_WEIGHT * DIRECTION_POPULARITY[author.direction] + VOICE_WEIGHT * VOICE_POPULARITY[author.voice]


def draw_votes(rng: np.random.Generator, author: Author, popularity: float = 1.0) -> int:
    """Votes of one response, at least 1. ``popularity`` 0 (the control): independent of how common plot and voice are."""
    luck = LUCK_SCALE * rng.standard_t(LUCK_FREEDOM)
    log_votes = BASE + CRAFT_WEIGHT * author.craft.total + popularity * popularity_of(author) + luck
    return int(np.clip(np.rint(np.exp(np.clip(log_votes, 0.0, 20.0))), 1, MOST_VOTES))
