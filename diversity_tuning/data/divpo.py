"""Stage 4: DivPO pairs: the most deviating of the highly voted responses against the least deviating of the poorly voted."""

import numpy as np

from diversity_tuning.data import schema
from diversity_tuning.data.pair import row_rng
from diversity_tuning.data.validate import WEIGHTED, features_of
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


def make_pairs(dataset, name: str, stores, work, seed: int, max_pair_num: int, rho: float, floor: float) -> tuple:
    """(pairs with deviations, report) of one split."""
    from datasets import Dataset
    from datasets.arrow_writer import ArrowWriter

    report, path = Report(), str(work / f"divpo-{name}.arrow")
    chosen, rejected = [], []
    with ArrowWriter(features=features_of(WEIGHTED.kinds), path=path) as writer:
        for row in _pair_rows(dataset, name, stores, seed, max_pair_num, rho, floor, report):
            chosen.append(row[schema.DEVIATION_CHOSEN])
            rejected.append(row[schema.DEVIATION_REJECTED])
            writer.write(row)
        writer.finalize()
    return Dataset.from_file(path), describe(report, np.array(chosen), np.array(rejected))


def _pair_rows(dataset, name: str, stores, seed: int, max_pair_num: int, rho: float, floor: float, report: Report):
    """The output rows of one split, one prompt at a time."""
    for start in range(0, len(dataset), 100):
        batch = dataset[start : start + 100]
        for number, texts in enumerate(batch[schema.POSTTRAINING_COMMENT_TEXT]):
            votes = batch[schema.POSTTRAINING_SCORE][number]
            rng = row_rng(seed, name, start + number)
            pairs, delta = row_pairs(texts, votes, stores, max_pair_num, rho, rng, report, floor)
            prompt = schema.prompt_text(batch[schema.POST_TITLE][number], batch[schema.POST_TEXT][number])
            for chosen, rejected in pairs:
                yield {
                    schema.CHOSEN: schema.to_messages(prompt, texts[chosen]),
                    schema.REJECTED: schema.to_messages(prompt, texts[rejected]),
                    schema.SCORE_CHOSEN: votes[chosen],
                    schema.SCORE_REJECTED: votes[rejected],
                    schema.DEVIATION_CHOSEN: float(delta[chosen]),
                    schema.DEVIATION_REJECTED: float(delta[rejected]),
                }


def unpaired_texts(dataset, size: int = 200):
    """The responses of a split of unpaired rows, batch by batch."""
    for batch in dataset.select_columns([schema.POSTTRAINING_COMMENT_TEXT]).iter(size):
        yield [text for row in batch[schema.POSTTRAINING_COMMENT_TEXT] for text in row]
