"""Filtering responses."""

from diversity_tuning.data.filter import REASON, filter_batch, worth_telling
from diversity_tuning.data.schema import to_messages
from diversity_tuning.data.token_counts import TokenCounter
from tests.tiny import make_tokenizer


def test_lengths_count_the_template():
    # begin + user mark + prompt + assistant mark + response + end, one token a byte
    assert TokenCounter(make_tokenizer()).conversations([to_messages("ab", "cde"), to_messages("", "é")]) == [9, 6]


def test_reasons_and_parallel_columns():
    removed = ["x **Welcome to the Prompt!** y", "this submission has been removed", "**Off-Topic Discussion**"]
    batch = {
        "post_title": ["t"],
        "post_text": [""],
        "comment_texts": [["fine", *removed, "z" * 50]],
        "comment_scores": [[1, 2, 3, 4, 5]],
        "transformed_score": [[0.1, 0.2, 0.3, 0.4, 0.5]],
    }
    found = filter_batch(batch, [0], TokenCounter(make_tokenizer()), max_tokens=40)
    assert found[REASON] == [[0, 1, 2, 3, 4]]
    assert found["filtered_comment_texts"] == [["fine"]]
    assert found["filtered_comment_scores"] == [[1]]
    assert found["filtered_transformed_scores"] == [[0.1]]


def test_moderators_phrases_are_told_only_where_they_occur():
    counts = {"kept": 3, "**Welcome to the Prompt!**": 0, "this submission has been removed": 1, "too long": 0}
    assert worth_telling(counts) == {"kept": 3, "this submission has been removed": 1, "too long": 0}


def test_exactly_max_tokens_is_kept():
    batch = {
        "post_title": ["a"],
        "post_text": [""],
        "comment_texts": [["bc", "bcd"]],
        "comment_scores": [[1, 2]],
        "transformed_score": [[0.0, 0.0]],
    }
    # "a\n" is 2 tokens, the template 4
    assert filter_batch(batch, [0], TokenCounter(make_tokenizer()), max_tokens=8)["filtered_comment_texts"] == [["bc"]]
