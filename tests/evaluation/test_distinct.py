"""Clusters of samples, and the threshold that makes them, against hand-made cases and properties."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diversity_tuning.deviation import mean_cosine_distance
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.metrics import diversity_by_prompt, diversity_of_good
from diversity_tuning.evaluation.scoring.distinct import (
    classifier,
    clusters,
    distances_of,
    equal_error_threshold,
    pairs_within,
    quantile_threshold,
)
from diversity_tuning.partition import read_threshold

IDS = st.lists(st.integers(0, 4), min_size=0, max_size=14)


@given(IDS)
def test_pairs_are_all_pairs_of_a_prompt(ids):
    found = [tuple(pair) for pair in pairs_within(ids)]
    assert found == [(i, j) for i in range(len(ids)) for j in range(i + 1, len(ids)) if ids[i] == ids[j]]


@given(IDS, st.integers(0, 1000))
def test_diversity_is_that_of_each_prompt_by_itself(ids, seed):
    vectors = np.random.default_rng(seed).normal(size=(len(ids), 5))
    found = diversity_by_prompt(vectors, ids)
    for prompt in set(ids):
        rows = [i for i, one in enumerate(ids) if one == prompt]
        alone = [np.nan] if len(rows) == 1 else mean_cosine_distance(vectors[rows])
        assert found[rows] == pytest.approx(alone, nan_ok=True)


def test_linked_through_another_is_one_cluster():
    angles = np.radians([0, 40, 80, 180])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    pairs = pairs_within([0, 0, 0, 0])
    distances = distances_of(vectors, pairs)
    assert distances[0] == pytest.approx(1 - math.cos(math.radians(40)))
    found = clusters(4, pairs, distances <= 0.3)  # 0–40 and 40–80 are near, 0–80 is not
    assert len(set(found[:3])) == 1
    assert found[3] != found[0]
    assert len(set(clusters(4, pairs, distances <= 0.2))) == 4


@given(st.permutations(range(8)), st.floats(0, 1.5))
def test_clusters_do_not_depend_on_the_order(order, threshold):
    vectors = np.random.default_rng(1).normal(size=(8, 3))
    ids = np.array([0, 0, 0, 0, 1, 1, 1, 1])

    def count(rows):
        pairs = pairs_within(list(ids[rows]))
        found = clusters(8, pairs, distances_of(vectors[rows], pairs) <= threshold)
        assert not set(found[ids[rows] == 0]) & set(found[ids[rows] == 1])
        return [len(set(found[ids[rows] == prompt])) for prompt in (0, 1)]

    assert count(np.arange(8)) == count(np.array(order))


def test_good_samples_only():
    vectors = np.array([[1, 0], [0, 1], [-1, 0], [1, 0], [0, 1]], dtype=float)
    found = diversity_of_good(vectors, [0, 0, 0, 1, 1], np.array([True, True, False, True, False]))
    assert found[:2] == pytest.approx([1, 1])
    assert np.isnan(found[2:]).all()  # not good, or the only good one of its prompt
    assert np.isnan(diversity_of_good(vectors, [0] * 5, np.zeros(5, bool))).all()


def test_thresholds():
    distances = np.array([0.1, 0.2, 0.3, 0.5, 0.4, 0.6, 0.7, 0.8])
    same = np.array([True, True, True, True, False, False, False, False])
    threshold, error = equal_error_threshold(distances, same)
    assert threshold == pytest.approx(0.45)  # one of four the wrong way round on either side
    assert error == pytest.approx(0.25)
    assert quantile_threshold(np.linspace(0, 1, 101), 0.05) == pytest.approx(0.05)
    with pytest.raises(UserError, match="same label"):
        equal_error_threshold(distances, np.ones(8, bool))


def test_what_a_threshold_may_be(tmp_path):
    assert read_threshold(None, "x") == {"threshold": None}
    assert read_threshold("0.3", "x") == {"threshold": 0.3}
    (tmp_path / "threshold.json").write_text(json.dumps({"threshold": 0.2, "semantic_model": "x", "share": 0.05}))
    assert read_threshold(str(tmp_path), "x")["share"] == 0.05
    wrong = {str(tmp_path): "calibrated for the encoder x", "3": "between 0 and 2", "near": "neither a number"}
    for text, message in wrong.items():
        with pytest.raises(UserError, match=message):
            read_threshold(text, "y")
    (tmp_path / "threshold.json").write_text("[]")
    with pytest.raises(UserError, match="not written by"):
        read_threshold(str(tmp_path), "x")


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_classifier_of_pairs(tmp_path, outputs):
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    from tests.tiny import make_tokenizer, save_base

    save_base(tmp_path / "base")
    config = LlamaConfig.from_pretrained(tmp_path / "base", num_labels=outputs)
    config.pad_token_id = make_tokenizer().pad_token_id
    torch.manual_seed(0)
    model = LlamaForSequenceClassification(config)
    model.save_pretrained(tmp_path / "pairs")
    make_tokenizer().save_pretrained(tmp_path / "pairs")
    if outputs == 3:
        with pytest.raises(UserError, match="3 outputs"):
            classifier(str(tmp_path / "pairs"))
        return
    ones, others = ["a b", "a much longer story", "c"], ["b a", "b", "c c c"]
    probabilities = classifier(str(tmp_path / "pairs"), device="cpu")
    found = probabilities(ones, others, 2)
    alone = [probabilities([one], [other], 1)[0] for one, other in zip(ones, others, strict=True)]
    assert found == pytest.approx(alone, abs=1e-5)  # in the order given, whatever the batch
    inputs = make_tokenizer()("a b", "b a", return_tensors="pt")
    logits = model.eval()(**{name: inputs[name] for name in ("input_ids", "attention_mask")}).logits[0]
    expected = logits.softmax(-1)[1] if outputs == 2 else logits[0].sigmoid()
    assert found[0] == pytest.approx(expected.item(), abs=1e-5)


def test_no_classifier_there(tmp_path):
    with pytest.raises(UserError, match="cannot be loaded as a classifier"):
        classifier(str(tmp_path))
