"""CrPO's weight of a pair: by how much its chosen response is ahead in diversity, novelty and other scores.

Source: Creative Preference Optimization, arXiv 2505.14442. docs/FIDELITY.md says how the published scores differ.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from diversity_tuning.data import schema
from diversity_tuning.data.storage import add_columns
from diversity_tuning.data.validate import NUMBER, TableSchema, check_dataset
from diversity_tuning.data.weigh import PairKeys, by_prompt, pair_texts, summary
from diversity_tuning.deviation import CONSTANT, mean_cosine_distance
from diversity_tuning.embeddings import EmbeddingStore, text_key
from diversity_tuning.errors import UserError
from diversity_tuning.partition import number_or_none, unit_vectors
from diversity_tuning.words import words_of

COMPUTED = ("diversity", "novelty")
_COLUMNS = {"quality": ("score_chosen", "score_rejected")}  # the votes


def creativity_weights(
    chosen: Mapping[str, np.ndarray], rejected: Mapping[str, np.ndarray], strengths: Mapping[str, float]
) -> np.ndarray:
    """The weight of each pair, (n,) at least 0: what the chosen response is ahead in the scores s_k, (n,) each.

    .. math:: w = \\sum_k \\lambda_k \\max(0, s_k(\\text{chosen}) - s_k(\\text{rejected}))

    ``strengths`` are the λ, by the name of the score. A pair whose chosen response is ahead in none has weight 0.
    """
    return sum(strength * np.maximum(0, chosen[name] - rejected[name]) for name, strength in strengths.items())


def min_max(values: np.ndarray, constant: float = 0.0) -> np.ndarray:
    """Scores of one prompt's responses on [0, 1]; .5 for all where they are equal, as published.

    ``constant``: a spread up to this is rounding, which must not be stretched to [0, 1]; then they are equal.
    """
    spread = np.ptp(values)
    return (values - values.min()) / spread if spread > constant else np.full(len(values), 0.5)


def word_spread(units: np.ndarray) -> float:
    """Mean cosine distance over the pairs of different words of a text, whose unit vectors are (v, d); 0 for fewer than 2."""
    count = len(units)
    if count < 2:
        return 0.0
    total = units.sum(axis=0)
    return float(1 - (total @ total - count) / (count * (count - 1)))


def novelties(words: Sequence[np.ndarray], units: np.ndarray) -> np.ndarray:
    """Novelty of one prompt's n responses, (n,): 2·|:func:`word_spread` of a response − that of all its prompt's words|.

    ``words``: for each response the rows of its different words in ``units``, (vocabulary, d).
    """
    whole = word_spread(units[np.unique(np.concatenate(words))])
    return np.array([2 * abs(word_spread(units[rows]) - whole) for rows in words])


def parse_strengths(given: Sequence[str]) -> dict[str, float]:
    """``NAME=NUMBER`` by name; :class:`UserError` for what is no number, negative, twice there, or all 0."""
    strengths: dict[str, float] = {}
    for word in given:
        name, _, number = word.partition("=")
        value = number_or_none(number)
        if not name or value is None or not 0 <= value < float("inf") or name in strengths:
            raise UserError(f"--creativity {word}: expected NAME=NUMBER, at least 0, each name once, such as novelty=1")
        strengths[name] = value
    if not any(strengths.values()):
        raise UserError("--creativity: every number is 0, so every pair would weigh nothing")
    return {name: value for name, value in strengths.items() if value}


def columns_of(name: str) -> tuple[str, str]:
    """The columns of pairs that hold a score that is not computed here: the votes, or ``NAME_chosen`` and ``NAME_rejected``."""
    return _COLUMNS.get(name, (f"{name}_chosen", f"{name}_rejected"))


def check_columns(rows, strengths: Mapping[str, float], where: str) -> None:
    """:class:`UserError` where a score is neither computed nor in the pairs, or a value of it is missing or not finite."""
    columns, read = rows.column_names, [name for name in strengths if name not in COMPUTED]
    for name in read:
        if missing := [column for column in columns_of(name) if column not in columns]:
            raise UserError(
                f"--creativity {name}: {where} has no column '{missing[0]}'; without columns there are {', '.join(COMPUTED)}"
                f" and quality (the votes); it has {', '.join(columns)}"
            )
    if read:
        kinds = {column: NUMBER for name in read for column in columns_of(name)}
        check_dataset(rows, TableSchema(kinds), f"--creativity: {where}")


class Vocabulary:
    """The different words of every text, and their unit vectors by an encoder."""

    def __init__(self, batches: Iterable[list[str]], store: EmbeddingStore):
        numbers: dict[str, int] = {}
        self.rows: dict[bytes, np.ndarray] = {}  # key of a text -> rows of its words
        for texts in batches:
            for text in texts:
                words = sorted(set(words_of(text)))
                found = [numbers.setdefault(word, len(numbers)) for word in words]
                self.rows[text_key(text)] = np.array(found, dtype=np.int32)
        store.add(list(numbers))
        self.units = unit_vectors(store.vectors(np.array([text_key(word) for word in numbers], "S16")))


def pair_creativity(rows, keys: PairKeys, store: EmbeddingStore, strengths: Mapping[str, float]) -> np.ndarray:
    """The weight of each pair of one split, (n,). Scores go from 0 to 1 over the responses in the pairs of a prompt."""
    sides = {side: {name: np.empty(len(rows)) for name in strengths} for side in ("chosen", "rejected")}
    given = {name: [np.array(rows[one], float) for one in columns_of(name)] for name in strengths if name not in COMPUTED}
    vocabulary = Vocabulary(pair_texts(rows), store) if "novelty" in strengths else None
    for places in by_prompt(keys.prompt):
        texts, which = np.unique(np.concatenate([keys.chosen[places], keys.rejected[places]]), return_inverse=True)
        for name in strengths:
            if name == "diversity":
                found = (mean_cosine_distance(store.vectors(texts)) if len(texts) > 1 else np.zeros(1))[which]
            elif name == "novelty":
                found = novelties([vocabulary.rows[bytes(text)] for text in texts], vocabulary.units)[which]
            else:
                found = np.concatenate([one[places] for one in given[name]])
            scaled = min_max(found, CONSTANT if name in COMPUTED else 0.0)
            sides["chosen"][name][places], sides["rejected"][name][places] = scaled[: len(places)], scaled[len(places) :]
    return creativity_weights(sides["chosen"], sides["rejected"], strengths)


def weight_column(batch: dict, indices: list[int], weights: np.ndarray) -> dict:
    """Add the weights of a batch of pairs."""
    return {schema.CREATIVITY: weights[indices].tolist()}


def add_creativity(made, keys: PairKeys, store, strengths: Mapping[str, float], name: str, work, num_proc: int) -> tuple:
    """(pairs with a column ``creativity``, summary with the number of pairs of weight 0) of one split."""
    weights = pair_creativity(made, keys, store, strengths)
    made = add_columns(made, weight_column, {schema.CREATIVITY: NUMBER}, work, f"creativity-{name}", num_proc, weights=weights)
    return made, {"zero": int((weights == 0).sum()), **summary(weights)}
