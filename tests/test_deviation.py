"""Deviation: against the published code's figures, by hand, and by its properties."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diversity_tuning.deviation import CONSTANT, combine_distances, deviation_weights, mean_cosine_distance, response_weights

ORACLE = json.loads((Path(__file__).parent / "oracle" / "released_code.json").read_text())
CASES = ORACLE["deviation"]["cases"]


@pytest.mark.parametrize("case", CASES, ids=[f"{'+'.join(c['types'])}-{len(c['delta'])}" for c in CASES])
def test_equals_the_published_code(case):
    distances = [mean_cosine_distance(case[f"{kind}_embeddings"]) for kind in case["types"]]
    for kind, found in zip(case["types"], distances, strict=True):
        np.testing.assert_allclose(found, case["mean_cosine_distance"][kind], atol=1e-6)
    np.testing.assert_allclose(deviation_weights(distances), case["delta"], atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=[f"{'+'.join(c['types'])}-{len(c['delta'])}" for c in CASES])
def test_response_weights_equal_the_published_code(case):
    """From vectors as arrays and from encoders as functions."""
    vectors = [np.array(case[f"{kind}_embeddings"]) for kind in case["types"]]
    texts = [f"response {number}" for number in range(len(vectors[0]))]
    np.testing.assert_allclose(response_weights(texts, vectors), case["delta"], atol=1e-6)
    encoders = [lambda asked, one=one: one[[texts.index(text) for text in asked]] for one in vectors]
    np.testing.assert_allclose(response_weights(texts, encoders), case["delta"], atol=1e-6)


def test_distance_by_hand():
    # Two equal vectors and one at a right angle: (0 + 1) / 2 twice, (1 + 1) / 2 once.
    np.testing.assert_allclose(mean_cosine_distance([[1, 0], [5, 0], [0, 2]]), [0.5, 0.5, 1.0])
    np.testing.assert_allclose(mean_cosine_distance([[1, 0], [-3, 0]]), [2, 2])


def test_a_zero_vector_is_at_distance_one():
    np.testing.assert_allclose(mean_cosine_distance([[0, 0], [1, 0], [1, 0]]), [1, 0.5, 0.5])


def test_weights_by_hand():
    # min-max gives [0, .5, 1] and [1, .25, 0]; the geometric mean [0, sqrt(.125), 0]; divided by its mean [0, 3, 0].
    np.testing.assert_allclose(deviation_weights([[2, 3, 4], [9, 6, 5]]), [0, 3, 0])
    np.testing.assert_allclose(deviation_weights([[2, 3, 4]]), [0, 1, 2])


def test_a_constant_type_says_nothing():
    np.testing.assert_allclose(deviation_weights([[2, 3, 4], [7, 7, 7]]), deviation_weights([[2, 3, 4]]))
    # the released code keeps the exponent 1/2 and gives roots of 0, .5 and 1 over their mean: 0, 1.24, 1.76
    np.testing.assert_allclose(deviation_weights([[2, 3, 4], [7, 7, 7]]), [0, 1, 2])
    np.testing.assert_allclose(deviation_weights([[7, 7, 7], [1, 1, 1]]), [1, 1, 1])


def test_rounding_noise_is_constant():
    np.testing.assert_allclose(deviation_weights([[0.5, 0.5 + 1e-9, 0.5 - 1e-9]]), [1, 1, 1])


def test_all_products_zero_gives_ones():
    np.testing.assert_allclose(combine_distances([[0, 1, 1], [1, 0, 0]]), [0, 0, 0])
    np.testing.assert_allclose(deviation_weights([[0, 1, 1], [1, 0, 0]]), [1, 1, 1])


def test_one_response():
    np.testing.assert_allclose(deviation_weights([[0.3]]), [1])


@pytest.mark.parametrize("embeddings", [[[1.0, 2.0]], [1.0, 2.0], [[1, np.nan], [1, 2]], [[np.inf, 1], [1, 2]], []])
def test_bad_embeddings(embeddings):
    with pytest.raises(ValueError, match="embeddings"):
        mean_cosine_distance(embeddings)


@pytest.mark.parametrize("distances", [[], [[]], [[1, 2], [1, 2, 3]], [[[1, 2]]], [[1, np.nan]]])
def test_bad_distances(distances):
    with pytest.raises(ValueError, match=r"arrays|finite"):
        deviation_weights(distances)


embeddings = st.tuples(st.integers(2, 12), st.integers(1, 6)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-10, 10, allow_subnormal=False))
)


def brute_force(vectors: np.ndarray) -> list[float]:
    norms = np.linalg.norm(vectors, axis=1)
    return [
        np.mean([1 - vectors[i] @ vectors[j] / (norms[i] * norms[j]) for j in range(len(vectors)) if j != i])
        for i in range(len(vectors))
    ]


@given(embeddings)
def test_distance_equals_the_double_loop(vectors):
    assume((np.linalg.norm(vectors, axis=1) > 1e-3).all())
    np.testing.assert_allclose(mean_cosine_distance(vectors), np.clip(brute_force(vectors), 0, 2), atol=1e-9)


@given(embeddings, st.floats(1e-6, 1e6))
def test_scale_of_embeddings_is_irrelevant(vectors, scale):
    np.testing.assert_allclose(mean_cosine_distance(vectors * scale), mean_cosine_distance(vectors), atol=1e-9)


distances = st.tuples(st.integers(1, 3), st.integers(1, 15)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(0, 2, width=32))
)


def clear(types: np.ndarray) -> bool:
    """No range lies at the edge of what counts as constant, where rounding decides."""
    return all(np.ptp(one) > 10 * CONSTANT or np.ptp(one) == 0 for one in types)


@given(distances)
def test_weights_are_non_negative_with_mean_one(types):
    weights = deviation_weights(list(types))
    assert (weights >= 0).all()
    assert weights.mean() == pytest.approx(1, abs=1e-9)


@settings(max_examples=50)
@given(distances, st.randoms())
def test_weights_follow_a_permutation(types, random):
    assume(clear(types))
    order = list(range(types.shape[1]))
    random.shuffle(order)
    expected = deviation_weights(list(types))[order]
    np.testing.assert_allclose(deviation_weights(list(types[:, order])), expected, atol=1e-7)


@given(distances)
def test_the_order_of_types_is_irrelevant(types):
    np.testing.assert_allclose(deviation_weights(list(types[::-1])), deviation_weights(list(types)), atol=1e-7)


# response_weights: texts and encoders to weights.

LINE = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [-1.0, 1.0]])  # at 0, 45, 90 and 135 degrees


def test_response_weights_by_hand():
    # Distances .902, .529, .529, .902 of the four directions: min-max gives 1, 0, 0, 1, and the mean is 1/2.
    np.testing.assert_allclose(response_weights(list("abcd"), LINE), [2, 0, 0, 2], atol=1e-12)


def test_equal_texts_share_a_weight_and_count_once():
    texts = ["a", "b", "c", "d", "a"]
    weights = response_weights(texts, LINE[[0, 1, 2, 3, 0]])
    assert weights[0] == weights[4]
    assert weights.mean() == pytest.approx(1)
    # The distances are those of the four distinct texts: the ratios stay.
    np.testing.assert_allclose(weights / weights[0], [1, 0, 0, 1, 1], atol=1e-12)


@pytest.mark.parametrize("texts", [["one"], ["one", "one", "one"]])
def test_one_distinct_response_weighs_one(texts):
    np.testing.assert_array_equal(response_weights(texts, lambda asked: np.ones((len(asked), 3))), np.ones(len(texts)))


def test_power_and_minimum():
    texts = [str(number) for number in range(5)]
    vectors = np.random.default_rng(0).normal(size=(5, 6))
    plain = response_weights(texts, vectors)
    np.testing.assert_array_equal(response_weights(texts, vectors, power=0), np.ones(5))
    half = response_weights(texts, vectors, power=0.5)
    np.testing.assert_allclose(half, np.sqrt(plain) / np.sqrt(plain).mean())
    np.testing.assert_array_equal(response_weights(texts, vectors, minimum=0.25), np.maximum(plain, 0.25))


def test_an_encoder_by_name():
    texts = ["The cat sat by the door.", "A cat sat near the door.", "Stars collapse into iron."]
    weights = response_weights(texts, "builtin:minilm")
    assert weights.argmax() == 2
    np.testing.assert_array_equal(weights, response_weights(texts, ["builtin:minilm"]))


@pytest.mark.parametrize(
    ("responses", "encoders", "options"),
    [
        ([], LINE, {}),
        ("a text", LINE, {}),
        (["a", "b"], LINE, {}),
        (["a", "b"], [], {}),
        (["a", "b"], [np.ones(2)], {}),
        (["a", "b"], [[[1, np.nan], [0, 1]]], {}),
        (["a", "b"], [LINE[:2]], {"power": -1}),
        (["a", "b"], [LINE[:2]], {"minimum": float("nan")}),
    ],
)
def test_bad_response_weights(responses, encoders, options):
    with pytest.raises(ValueError, match=r"responses|vectors|encoder|embeddings|power"):
        response_weights(responses, encoders, **options)


@given(embeddings, st.randoms())
def test_response_weights_are_weights(vectors, random):
    texts = [str(random.randrange(len(vectors))) for _ in vectors]
    first = [texts.index(text) for text in texts]
    weights = response_weights(texts, vectors[first])
    assert weights.dtype == np.float64
    assert (weights >= 0).all()
    assert weights.mean() == pytest.approx(1, abs=1e-9)
    assert all(weights[i] == weights[j] for i, j in enumerate(first))


def test_each_type_is_scaled_to_0_and_1():
    assert combine_distances([[3.0, 5.0, 4.0]]).tolist() == [0, 1, 0.5]
    assert combine_distances([[3.0, 5.0, 4.0], [0.0, 0.2, 0.05]]) == pytest.approx([0, 1, (0.5 * 0.25) ** 0.5])


def test_powers_by_hand():
    """Scaled to 0, .5, 1: squares 0, .25, 1, whose mean is 5/12."""
    assert deviation_weights([[1.0, 2.0, 3.0]], power=2) == pytest.approx([0, 0.6, 2.4])
    assert deviation_weights([[1.0, 2.0, 3.0]], power=1) == pytest.approx([0, 1, 2])


def test_types_of_deviation_stand_in_one_table():
    """The flags' defaults and choices, the columns of scores and the metrics of the registry are those of the table."""
    from diversity_tuning.commands.common import EncoderConfig
    from diversity_tuning.deviation_types import TYPES, models_of
    from diversity_tuning.evaluation.registry import METRICS
    from diversity_tuning.evaluation.scoring.run import ScoringConfig

    assert EncoderConfig().score_process == list(TYPES)
    for config in (EncoderConfig(), ScoringConfig(output="x")):
        assert models_of(config) == {name: one.encoder for name, one in TYPES.items()}
    assert {one.column for one in TYPES.values()} <= {metric.column for metric in METRICS}
