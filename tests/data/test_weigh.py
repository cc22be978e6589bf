"""Pairs to deviations, without a model."""

from types import SimpleNamespace

import numpy as np

from diversity_tuning.data.weigh import PairKeys, Report, count_cut, embed_texts, pair_deviations, select_pairs, summary
from diversity_tuning.deviation import deviation_weights, mean_cosine_distance
from diversity_tuning.embeddings import text_key
from tests.data.test_divpo import store_of


def keys_of(pairs: list[tuple[str, str, str]]) -> PairKeys:
    return PairKeys(*(np.array([text_key(pair[side]) for pair in pairs], "S16") for side in range(3)))


def test_deviation_is_over_distinct_responses_of_a_prompt_wherever_its_rows_stand():
    texts = ["a", "b", "c", "d", "e"]
    vectors = np.random.default_rng(0).normal(size=(5, 3))
    pairs = [("p", "a", "b"), ("q", "d", "e"), ("p", "a", "c"), ("p", "b", "c")]
    report = Report()
    chosen, rejected = pair_deviations(keys_of(pairs), [store_of(texts, vectors)], 0.0, report)
    delta = deviation_weights([mean_cosine_distance(vectors[:3])])
    np.testing.assert_allclose(chosen[[0, 2, 3]], delta[[0, 0, 1]])
    np.testing.assert_allclose(rejected[[0, 2, 3]], delta[[1, 2, 2]])
    np.testing.assert_allclose([chosen[1], rejected[1]], [1, 1])  # two responses are equally far from each other
    assert (report.prompts, report.constant, report.all_zero) == (2, 1, 0)


def test_floor_raises_both_sides():
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [-1, 0.2]])
    keys = keys_of([("p", "a", "b"), ("p", "c", "d")])
    plain = pair_deviations(keys, [store_of(list("abcd"), vectors)], 0.0, Report())
    floored = pair_deviations(keys, [store_of(list("abcd"), vectors)], 0.2, Report())
    for before, after in zip(plain, floored, strict=True):
        np.testing.assert_allclose(after, np.maximum(before, 0.2))
    assert min(plain[0].min(), plain[1].min()) == 0


def test_all_zero_products_are_counted():
    # By meaning c is the farthest and the others nearest; by style the others are farthest and c nearest.
    semantic, style = np.array([[1, 0], [1, 0], [-1, 0]]), np.array([[1, 0], [-1, 0], [0, 1]])
    report = Report()
    stores = [store_of(list("abc"), semantic), store_of(list("abc"), style)]
    chosen, rejected = pair_deviations(keys_of([("p", "a", "b"), ("p", "a", "c")]), stores, 0.0, report)
    assert (report.prompts, report.constant, report.all_zero) == (1, 0, 1)
    assert chosen.tolist() == rejected.tolist() == [1, 1]


def test_same_text_on_both_sides():
    report = Report()
    chosen, rejected = pair_deviations(keys_of([("p", "a", "a")]), [store_of(["a"], np.ones((1, 2)))], 0.0, report)
    assert (chosen.tolist(), rejected.tolist()) == ([1], [1])


def test_cutoff_first_come_or_most_voted():
    prompts = np.array([b"p", b"q", b"p", b"p", b"q"], "S16")
    votes = np.array([1, 5, 9, 9, 2])
    assert select_pairs(prompts, votes, -1, False).tolist() == [0, 1, 2, 3, 4]
    assert select_pairs(prompts, votes, 2, False).tolist() == [0, 1]
    assert select_pairs(prompts, votes, 2, True).tolist() == [1, 2]
    assert select_pairs(prompts, votes, 4, True).tolist() == [1, 2, 3, 4]
    assert select_pairs(prompts[:0], votes[:0], 2, True).tolist() == []


def test_every_distinct_text_is_embedded_once():
    class Counting:
        def __init__(self):
            self.seen = []

        def add(self, texts):
            self.seen += texts

    store = Counting()
    keys = embed_texts([["a", "b", "a"], [], ["b", "c"]], [store], chunk=2)
    assert sorted(store.seen) == ["a", "b", "c"]
    assert len(keys) == 3


def test_texts_that_are_cut_are_told_with_what_reads_them_whole(capsys):
    stores = [
        SimpleNamespace(encoder=SimpleNamespace(name=name), count_truncated=lambda keys, number=number: number)
        for name, number in (("builtin:minilm", 3), ("style", 0))
    ]
    assert count_cut(np.array([b"a", b"b", b"c", b"d"]), stores) == {"builtin:minilm": 3, "style": 0}
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "3 of 4 texts (75%) are longer than builtin:minilm reads" in told[0]
    assert ":windows" in told[0]


def test_summary():
    assert summary(np.array([])) == {"n": 0}
    assert summary(np.array([1.0, 3.0]))["mean"] == 2


def test_the_report_says_how_many_responses_were_cut():
    from diversity_tuning.evaluation.report.overview import _cut

    counts = [{"responses": 8, "truncated_for_semantic_diversity": 6}, {"responses": 2, "truncated_for_style_diversity": 0}]
    models = [SimpleNamespace(runs=[SimpleNamespace(counts=one)]) for one in counts]
    (told,) = _cut(models)
    assert told.startswith("Warning: 6 of 10 texts (60%) are longer than the semantic encoder reads")
