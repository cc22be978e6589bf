"""Experimental uses of the deviations: mixed with 1, to a power, pairs drawn by them."""

import json
from collections import Counter

import numpy as np
import pytest
from datasets import load_from_disk

from diversity_tuning.data.variants import drawn_rows, mix, resample
from diversity_tuning.data.weigh import Report, prompt_deviation
from tests.scripts_dataset_cleaner.helpers import stage


def test_a_mean_of_the_weight_and_1():
    new, other, told = mix(np.array([0, 1, 3.0]), np.array([2.0, 0, 1]), 0.25)
    assert new.tolist() == [0.25, 1, 2.5]
    assert other.tolist() == [1.75, 0.25, 1]
    assert told == {"share_of_plain_loss": 0.25}


def test_a_power_keeps_the_mean_of_a_prompt():
    """Unit vectors at 0, 60, 120 and 240 degrees: mean distances 7/6, 1, 7/6, 5/3; from 0 to 1 they are 1/4, 0, 1/4, 1."""
    angles = np.deg2rad([0, 60, 120, 240])
    vectors = [np.stack([np.cos(angles), np.sin(angles)], axis=1)]
    keys = np.array([b"a", b"b", b"c", b"d"])
    assert prompt_deviation(keys, vectors, Report()) == pytest.approx([2 / 3, 0, 2 / 3, 8 / 3])
    assert prompt_deviation(keys, vectors, Report(), power=0.5) == pytest.approx([1, 0, 1, 2])  # roots 1/2, 0, 1/2, 1


def test_pairs_drawn_in_proportion_to_their_weight():
    weights = np.array([0, 1, 3.0, 0])
    drawn = np.concatenate([drawn_rows(weights, seed, "train") for seed in range(2000)])
    counts = Counter(drawn.tolist())
    assert set(counts) == {1, 2}
    assert counts[1] / len(drawn) == pytest.approx(0.25, abs=0.02)
    assert drawn_rows(weights, 7, "train").tolist() == drawn_rows(weights, 7, "train").tolist()
    many = np.arange(1, 101, dtype=float)
    assert drawn_rows(many, 7, "train").tolist() != drawn_rows(many, 7, "test").tolist()
    assert drawn_rows(np.zeros(3), 0, "train").tolist() == [0, 1, 2]
    assert len(drawn_rows(np.empty(0), 0, "train")) == 0


def test_drawing_has_the_expectation_of_weighting():
    """Pair losses 1, 10, 100 with weights 0, .5, 2.5: the weighted sum is 255, and so is the mean over draws."""
    losses, weights = np.array([1, 10, 100.0]), np.array([0, 0.5, 2.5])
    sums = []
    for seed in range(4000):
        rows, columns, _, told = resample(weights, weights[::-1], seed, "train")
        assert columns.tolist() == [1, 1, 1]
        assert told == {"resampled": 3, "different_pairs": len(set(rows.tolist()))}
        sums.append((columns * losses[rows]).sum())
    assert np.mean(sums) == pytest.approx(255, rel=0.02)
    assert (weights * losses).sum() == 255


def weighted(pipeline, folder, *flags):
    stage(3, "--source_pair", pipeline.pairs, "--data_path_pair_div", folder, *pipeline.encoders, *flags)
    return load_from_disk(str(folder)), json.loads((folder / "provenance.json").read_text())


def test_the_stage_mixes_and_draws(pipeline, tmp_path):
    real = load_from_disk(str(pipeline.div))["train"]
    delta = np.array(real["deviation_chosen"])
    mixed, record = weighted(pipeline, tmp_path / "mixed", "--weight_mix", 0.5)
    assert mixed["train"]["deviation_chosen"][:] == pytest.approx((0.5 + 0.5 * delta).tolist())
    assert record["arguments"]["weight_mix"] == 0.5
    assert not {"weight_power", "resample", "resample_seed"} & record["arguments"].keys()

    drawn, record = weighted(pipeline, tmp_path / "drawn", "--resample", "--resample_seed", 2)
    drawn = drawn["train"]
    assert len(drawn) == len(real)
    assert set(drawn["deviation_chosen"]) == {delta.mean()}
    texts = Counter(json.dumps([one["chosen"], one["rejected"]]) for one in real if one["deviation_chosen"] > 0)
    assert {json.dumps([one["chosen"], one["rejected"]]) for one in drawn} <= texts.keys(), "no pair of weight 0, pairs whole"
    assert (record["arguments"]["resample"], record["arguments"]["resample_seed"]) == (True, 2)
    assert record["by_split"]["train"]["control"]["different_pairs"] < len(real)


def test_the_stage_takes_a_root(pipeline, tmp_path, capsys):
    real = load_from_disk(str(pipeline.div))["train"]
    found, record = weighted(pipeline, tmp_path / "root", "--weight_power", 0.5)
    delta, root = np.array(real["deviation_chosen"]), np.array(found["train"]["deviation_chosen"])
    assert record["arguments"]["weight_power"] == 0.5
    np.testing.assert_array_equal(root == 0, delta == 0)
    assert root.std() < delta.std()
    factors = {}  # one per prompt: δ^τ over its mean
    for one, weight in zip(real, root, strict=True):
        if one["deviation_chosen"] > 0:
            factor = weight / np.sqrt(one["deviation_chosen"])
            assert factors.setdefault(one["chosen"][0]["content"], factor) == pytest.approx(factor)
    for flags in (["--weight_power", "0"], ["--weight_power", "1.5"], ["--weight_mix", "0.5", "--resample"]):
        with pytest.raises(SystemExit) as ended:
            weighted(pipeline, tmp_path / "no", *flags)
        assert ended.value.code == 2
        assert capsys.readouterr().err.startswith("error: ")
