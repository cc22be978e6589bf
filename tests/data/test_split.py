"""Splitting rows."""

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from diversity_tuning.data.split import leakage, prompt_keys, split_rows
from diversity_tuning.errors import UserError


def posts(titles: list[str]) -> Dataset:
    return Dataset.from_dict({"post_title": titles, "post_text": [""] * len(titles), "row": list(range(len(titles)))})


@pytest.mark.parametrize("size", [2, 3, 10, 67, 101])
def test_the_plain_split_is_the_published_one(size):
    data = posts([str(number) for number in range(size)])
    ours = split_rows(data, seed=42, test_size=0.1)
    theirs = data.train_test_split(test_size=0.1, seed=42)
    assert ours["train"]["row"][:] == theirs["train"]["row"][:]
    assert ours["test"]["row"][:] == theirs["test"]["row"][:]


def test_validation_leaves_the_test_split_alone():
    data = posts([str(number) for number in range(100)])
    two = split_rows(data, 42, 0.1)
    three = split_rows(data, 42, 0.1, 0.2)
    assert three["test"]["row"][:] == two["test"]["row"][:]
    assert [len(three[name]) for name in ("train", "validation", "test")] == [70, 20, 10]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=6, max_size=60), st.integers(0, 99))
def test_groups_stay_together_and_no_row_is_lost(titles, seed):
    if len(set(titles)) < 3:
        return
    splits = split_rows(posts(titles), seed, 0.2, 0.2, group=True)
    assert sum(leakage(splits).values()) == 0
    assert sorted(row for split in splits.values() for row in split["row"]) == list(range(len(titles)))
    assert all(len(split) for split in splits.values())


def test_leakage_counts_prompts_not_rows():
    splits = {"train": posts(["a", "a", "b"]), "test": posts(["a", "c", "a"])}
    assert leakage(splits) == {"train+test": 1}


def test_a_null_text_is_an_empty_one():
    with_null = Dataset.from_dict({"post_title": ["a", "a"], "post_text": [None, ""]})
    assert len(set(prompt_keys(with_null))) == 1


@pytest.mark.parametrize(("test", "validation"), [(0, 0), (1, 0), (0.5, 0.5), (0.1, 1)])
def test_impossible_shares(test, validation):
    with pytest.raises(UserError, match="test_size"):
        split_rows(posts(["a", "b", "c"]), 42, test, validation)


def test_one_row_cannot_be_split():
    with pytest.raises(UserError, match="too few"):
        split_rows(posts(["a"]), 42)
    with pytest.raises(UserError, match="too few"):
        split_rows(posts(["a", "a"]), 42, group=True)
