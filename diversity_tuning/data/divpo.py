"""Stage 4: DivPO pairs: the most deviating of the highly voted responses against the least deviating of the poorly voted."""

import numpy as np

from diversity_tuning.data import schema
from diversity_tuning.data.pair import row_rng
from diversity_tuning.data.storage import map_batches
from diversity_tuning.data.validate import WEIGHTED
from diversity_tuning.data.weigh import Report, describe, prompt_deviation
from diversity_tuning.embeddings import EmbeddingStore, text_key


def pool_size(responses: int, max_pair_num: int, rho: float) -> int:
    """Size of each of the two pools, those with most and with fewest votes: int(min(max(max_pair_num, n rho / 100), n / 2))."""
    return int(min(max(max_pair_num, responses * rho / 100), responses / 2))


def choose_pairs(votes, high_deviation, low_deviation, high, low, max_pair_num: int, rng) -> list[tuple[int, int]]:
    """Pair the most deviating of the pool ``high`` at random with the least deviating of ``low``; ties go by response order.

    ``high`` and ``low`` are (k,) response indices, the deviations are those within each pool. Returns (chosen, rejected).
    """
    count = min(max_pair_num, len(high))
    chosen = [int(high[place]) for place in np.lexsort((high, -np.asarray(high_deviation)))[:count]]
    rejected = [int(low[place]) for place in np.lexsort((low, np.asarray(low_deviation)))[:count]]
    return list(zip(chosen, [rejected[place] for place in rng.permutation(count)], strict=True))


def row_pairs(
    texts: list[str], votes: list[int], stores: list[EmbeddingStore], max_pair_num: int, rho: float, rng, report, floor=0.0
):  # fmt: skip
    """(pairs, delta over all responses) of one row."""
    size = pool_size(len(texts), max_pair_num, rho)
    if size == 0:
        return [], np.ones(len(texts))
    votes = np.asarray(votes)
    keys = np.array([text_key(text) for text in texts], dtype="S16")
    vectors = [store.vectors(keys) for store in stores]
    indices = np.arange(len(votes))
    high = np.sort(np.lexsort((indices, -votes))[:size])
    low = np.sort(np.lexsort((indices, -votes))[len(votes) - size :])
    within = [prompt_deviation(keys[pool], [one[pool] for one in vectors], Report()) for pool in (high, low)]
    delta = prompt_deviation(keys, vectors, report, floor)
    return choose_pairs(votes, *within, high, low, max_pair_num, rng), delta


_SIDES = (  # of a pair: columns of its messages, votes and deviation
    (schema.CHOSEN, schema.SCORE_CHOSEN, schema.DEVIATION_CHOSEN),
    (schema.REJECTED, schema.SCORE_REJECTED, schema.DEVIATION_REJECTED),
)
_READ = (schema.POST_TITLE, schema.POST_TEXT, schema.POSTTRAINING_COMMENT_TEXT, schema.POSTTRAINING_SCORE)


def make_pairs(dataset, name: str, stores, work, seed: int, max_pair_num: int, rho: float, floor: float) -> tuple:
    """(pairs with deviations, report) of one split."""
    report = Report()

    def pairs_of(batch: dict, indices: list[int]) -> dict:
        columns = {column: [] for column in WEIGHTED.kinds}
        for number, title, text, texts, votes in zip(indices, *(batch[column] for column in _READ), strict=True):
            rng = row_rng(seed, name, number)
            pairs, delta = row_pairs(texts, votes, stores, max_pair_num, rho, rng, report, floor)
            for side, (messages, score, deviation) in zip(zip(*pairs, strict=True), _SIDES, strict=False):
                columns[messages] += [schema.to_messages(schema.prompt_text(title, text), texts[place]) for place in side]
                columns[score] += [votes[place] for place in side]
                columns[deviation] += [float(delta[place]) for place in side]
        return columns

    made = map_batches(dataset, pairs_of, WEIGHTED.kinds, work, f"divpo-{name}")
    return made, describe(report, *(np.array(made[column], dtype=float) for *_, column in _SIDES))


def unpaired_texts(dataset, size: int = 200):
    """The responses of a split of unpaired rows, batch by batch."""
    for batch in dataset.select_columns([schema.POSTTRAINING_COMMENT_TEXT]).iter(size):
        yield [text for row in batch[schema.POSTTRAINING_COMMENT_TEXT] for text in row]
