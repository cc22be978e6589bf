"""Mixtures within a prompt: expected distinct labels by hand and by enumeration; the difference at equal craft by hand."""

import numpy as np
import pandas as pd
import pytest

from diversity_tuning.errors import UserError
from studies.miniature.mixtures import differences, expected_distinct

LABELS = np.array([*"aabc"], dtype=object), np.array([*"abd", ""], dtype=object)


def test_labels_of_mixtures_by_hand():
    first, second = LABELS  # a a b c and a b d none
    assert [expected_distinct(first, second, k) for k in (0, 4)] == [3, 3]
    # The first, second, third, fourth place from the first: {a, b, d}, {a, d}, {a, b}, {a, b, d, c}.
    assert expected_distinct(first, second, 1) == (3 + 2 + 2 + 4) / 4


def test_a_place_is_not_taken_from_both():
    same = np.array([*"abcd"], dtype=object)
    assert [expected_distinct(same, same, k) for k in range(5)] == [4] * 5


def _table(models):
    """``models``: name -> (labels of each prompt's samples, craft). A run of seed 3 for each."""
    rows = [
        {"run": f"seed3-{name}", "prompt_id": prompt, "sample": n, "direction": label, "voice": label, "craft": craft}
        for name, (prompts, craft) in models.items()
        for prompt, labels in enumerate(prompts)
        for n, label in enumerate(labels)
    ]
    runs = [{"run": f"seed3-{name}", "seed": 3, "model": f"{name} (1)"} for name in models]
    return pd.DataFrame(rows), pd.DataFrame(runs)


def test_two_models_that_repeat_different_things_reach_together_what_neither_does():
    found = differences(*_table({"ddpo-both": (["ab"], 2.0), "dpo": (["aa"], 2.0), "sft": (["bb"], 2.0)}))
    own = found[(found["label"] == "direction") & (found["seed"] == 3)].iloc[0]
    assert own["mean"] == pytest.approx(0.0)  # per prompt they would have one label
    assert own["mixture"] == "1 of 2 dpo (1), else sft (1)"
    assert found[found["seed"] == "all"]["seeds"].tolist() == [1, 1]


def test_craft_of_a_mixture_is_by_share():
    found = differences(*_table({"ddpo-both": (["ab"], 2.5), "dpo": (["aa"], 3.0), "sft": (["bc"], 1.0)}))
    # Points (craft, labels): dpo (3, 1), half (2, 2), sft (1, 2); at 2.5 the chord from half to dpo is 1.5.
    assert found["mean"].tolist() == pytest.approx([0.5] * 4)


def test_samples_that_are_not_the_same_number_are_refused():
    table, runs = _table({"ddpo-both": (["ab", "a"], 2.0), "dpo": (["aa", "a"], 2.0)})
    with pytest.raises(UserError, match="1 to 2 samples"):
        differences(table, runs)
    with pytest.raises(UserError, match="0 models called ddpo-both"):
        differences(*_table({"dpo": (["aa"], 2.0)}))
