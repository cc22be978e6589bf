"""DivPO pools and pairs."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diversity_tuning.data.divpo import by_divpo, choose_pairs, pool_size, row_pairs
from diversity_tuning.data.weigh import Report
from diversity_tuning.deviation import deviation_weights, mean_cosine_distance

ORACLE = json.loads((Path(__file__).parents[1] / "oracle" / "released_code.json").read_text())


class FixedStore:
    """Vectors by text, without a model."""

    def __init__(self, vectors: dict[bytes, np.ndarray]):
        self.known = vectors

    def vectors(self, keys: np.ndarray) -> np.ndarray:
        return np.array([self.known[bytes(key)] for key in keys])


def store_of(texts: list[str], vectors: np.ndarray) -> FixedStore:
    from diversity_tuning.embeddings import text_key

    return FixedStore({text_key(text): vector for text, vector in zip(texts, vectors, strict=True)})


@pytest.mark.parametrize("case", ORACLE["divpo_sizes"]["cases"])
def test_sizes_equal_the_published_code(case):
    size = pool_size(case["responses"], case["max_pair_num"], case["rho"])
    assert size == case["pool_size"]
    assert min(case["max_pair_num"], size) == case["pairs"]


def test_most_deviating_of_the_high_least_of_the_low():
    pairs = choose_pairs(
        [0.1, 2.0, 0.9], [1.5, 0.0, 1.5], np.array([0, 4, 5]), np.array([1, 2, 3]), 2, np.random.default_rng(0)
    )
    assert {chosen for chosen, _ in pairs} == {4, 5}
    assert {rejected for _, rejected in pairs} == {2, 1}  # 1 and 3 tie: response order


@given(st.integers(0, 25), st.integers(1, 4), st.sampled_from([0, 10, 25, 50, 100]), st.integers(0, 1000))
def test_rows(count, max_pair_num, rho, seed):
    rng = np.random.default_rng(seed)
    texts = [f"text {number}" for number in range(count)]
    votes = rng.integers(0, 10, size=count).tolist()
    vectors = rng.normal(size=(count, 3))
    select = partial(by_divpo, max_pair_num=max_pair_num, rho=rho)
    pairs, delta = row_pairs(texts, votes, [store_of(texts, vectors)], select, rng, Report())
    assert len(pairs) == min(max_pair_num, pool_size(count, max_pair_num, rho))
    used = [place for pair in pairs for place in pair]
    assert len(set(used)) == len(used)
    assert all(votes[chosen] >= votes[rejected] for chosen, rejected in pairs)
    if pairs:
        np.testing.assert_allclose(delta, deviation_weights([mean_cosine_distance(vectors)]))
