"""What the miniature's base model reads."""

import numpy as np
import pytest

from diversity_tuning.data import schema
from studies.miniature.base_model import conversations, in_batches, recitals
from studies.miniature.specification import from_prompt
from studies.miniature.world import build_world


@pytest.fixture(scope="module")
def rows():
    posts = [row for row, _ in build_world(seed=3, num_prompts=6)]
    return [{**row, schema.FILTERED_COMMENT_TEXTS: row[schema.COMMENT_TEXTS][:2]} for row in posts]


def test_a_recital_says_the_parts_of_its_own_prompt_in_another_order(rows):
    pairs = list(recitals(rows, 20, np.random.default_rng(0)))
    assert len(pairs) == 20
    for prompt, text in pairs:
        _, parts = prompt.split("\n", 1)
        assert from_prompt(prompt) is not None
        assert sorted(text.removesuffix(".").split(". ")) == sorted(parts.strip().removesuffix(".").split(". "))
    assert any(text != prompt.split("\n", 1)[1].strip() for prompt, text in pairs)


def test_recitals_combine_the_parts_of_different_prompts(rows):
    own = {schema.prompt_text(row[schema.POST_TITLE], row[schema.POST_TEXT]) for row in rows}
    assert any(prompt not in own for prompt, _ in recitals(rows, 20, np.random.default_rng(0)))


def test_without_a_known_prompt_there_is_nothing_to_recite():
    assert list(recitals([{schema.POST_TITLE: "A dragon", schema.POST_TEXT: ""}], 5, np.random.default_rng(0))) == []


def test_the_first_copy_of_the_stories_is_as_it_was_told(rows):
    pairs = list(conversations(rows, 2, np.random.default_rng(0)))
    assert len(pairs) == 2 * 2 * len(rows)
    assert [response for _, response in pairs[: len(pairs) // 2]] == [t for r in rows for t in r[schema.FILTERED_COMMENT_TEXTS]]


@pytest.mark.parametrize("count", [1, 8, 11])
def test_batches_hold_every_document_once_and_neighbours_in_length(count):
    documents = [[i] * (1 + (7 * i) % count) for i in range(count)]
    ordered = in_batches(documents, 4, np.random.default_rng(0))
    assert sorted(ordered) == sorted(documents)
    lengths = sorted(map(len, documents))
    blocks = {tuple(lengths[start : start + 4]) for start in range(0, count, 4)}
    assert {tuple(sorted(map(len, ordered[start : start + 4]))) for start in range(0, count, 4)} == blocks
