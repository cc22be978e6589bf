"""Stage 4: pairs selected by votes and deviation, as DivPO does."""

from collections.abc import Callable

import numpy as np

from diversity_tuning.data import schema
from diversity_tuning.data.pair import Responses, row_rng
from diversity_tuning.data.storage import map_batches
from diversity_tuning.data.validate import WEIGHTED
from diversity_tuning.data.weigh import Report, describe, prompt_deviation
from diversity_tuning.deviation import response_weights
from diversity_tuning.embeddings import EmbeddingStore, text_key


def pool_size(responses: int, max_pair_num: int, rho: float) -> int:
    """Size of each of the two pools, those with most and with fewest votes: int(min(max(max_pair_num, n rho / 100), n / 2))."""
    return int(min(max(max_pair_num, responses * rho / 100), responses / 2))


def by_divpo(responses: Responses, rng: np.random.Generator, max_pair_num: int, rho: float) -> list[tuple[int, int]]:
    """Pair the most deviating of the most voted responses at random with the least deviating of the least voted.

    Deviations are those within each pool (:func:`pool_size`); ties go by response order. Source: DivPO, arXiv 2501.18101.
    """
    votes, indices = np.asarray(responses.votes), np.arange(len(responses.votes))
    size = pool_size(len(votes), max_pair_num, rho)
    if size == 0:
        return []
    ranked = np.lexsort((indices, -votes))
    high, low = np.sort(ranked[:size]), np.sort(ranked[len(votes) - size :])
    within = []
    for pool in (high, low):
        texts = [responses.texts[place] for place in pool]
        within.append(response_weights(texts, [one[pool] for one in responses.vectors]))
    return choose_pairs(*within, high, low, max_pair_num, rng)


def choose_pairs(high_deviation, low_deviation, high, low, max_pair_num: int, rng) -> list[tuple[int, int]]:
    """Pair the most deviating of the pool ``high`` at random with the least deviating of ``low``; ties go by response order.

    ``high`` and ``low`` are (k,) response indices, the deviations are those within each pool. Returns (chosen, rejected).
    """
    count = min(max_pair_num, len(high))
    chosen = [int(high[place]) for place in np.lexsort((high, -np.asarray(high_deviation)))[:count]]
    rejected = [int(low[place]) for place in np.lexsort((low, np.asarray(low_deviation)))[:count]]
    return list(zip(chosen, [rejected[place] for place in rng.permutation(count)], strict=True))


def row_pairs(texts: list[str], votes: list[int], stores: list[EmbeddingStore], select: Callable, rng, report, floor=0.0):
    """(pairs that ``select`` finds, delta over all responses) of one row."""
    if len(texts) < 2:
        return [], np.ones(len(texts))
    keys = np.array([text_key(text) for text in texts], dtype="S16")
    responses = Responses(texts, votes, [store.vectors(keys) for store in stores])
    pairs = select(responses, rng)
    return pairs, prompt_deviation(keys, responses.vectors, report, floor) if pairs else np.ones(len(texts))


_SIDES = (  # of a pair: columns of its messages, votes and deviation
    (schema.CHOSEN, schema.SCORE_CHOSEN, schema.DEVIATION_CHOSEN),
    (schema.REJECTED, schema.SCORE_REJECTED, schema.DEVIATION_REJECTED),
)
_READ = (schema.POST_TITLE, schema.POST_TEXT, schema.POSTTRAINING_COMMENT_TEXT, schema.POSTTRAINING_SCORE)


def make_pairs(dataset, name: str, stores, work, seed: int, select: Callable, floor: float) -> tuple:
    """(pairs with deviations, report) of one split."""
    report = Report()

    def pairs_of(batch: dict, indices: list[int]) -> dict:
        columns = {column: [] for column in WEIGHTED.kinds}
        for number, title, text, texts, votes in zip(indices, *(batch[column] for column in _READ), strict=True):
            rng = row_rng(seed, name, number)
            pairs, delta = row_pairs(texts, votes, stores, select, rng, report, floor)
            for side, (messages, score, deviation) in zip(zip(*pairs, strict=True), _SIDES, strict=False):
                columns[messages] += [schema.to_messages(schema.prompt_text(title, text), texts[place]) for place in side]
                columns[score] += [votes[place] for place in side]
                columns[deviation] += [float(delta[place]) for place in side]
        return columns

    made = map_batches(dataset, pairs_of, WEIGHTED.kinds, work, f"selecting-{name}")
    return made, describe(report, *(np.array(made[column], dtype=float) for *_, column in _SIDES))


def unpaired_texts(dataset, size: int = 200):
    """The responses of a split of unpaired rows, batch by batch."""
    for batch in dataset.select_columns([schema.POSTTRAINING_COMMENT_TEXT]).iter(size):
        yield [text for row in batch[schema.POSTTRAINING_COMMENT_TEXT] for text in row]
