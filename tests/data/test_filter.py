"""Filtering responses."""

import subprocess
import sys

import pytest
from transformers import AutoTokenizer

from diversity_tuning.data.filter import REASON, filter_batch, load_tokenizer, worth_telling
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


@pytest.mark.parametrize("with_model", [False, True])
def test_the_tokenizer_is_the_one_that_auto_tokenizer_loads(tmp_path, with_model):
    make_tokenizer().save_pretrained(tmp_path)
    if with_model:  # then the model's type may decide
        (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    ours, theirs = load_tokenizer(str(tmp_path)), AutoTokenizer.from_pretrained(tmp_path)
    assert type(ours) is type(theirs)
    assert ours("abé")["input_ids"] == theirs("abé")["input_ids"]
    assert ours.chat_template == theirs.chat_template


def test_a_plain_tokenizer_is_loaded_without_torch(tmp_path):
    make_tokenizer().save_pretrained(tmp_path)
    code = "import sys; from diversity_tuning.data.filter import load_tokenizer; load_tokenizer(sys.argv[1]); "
    code += "print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True).stdout == "False\n"
