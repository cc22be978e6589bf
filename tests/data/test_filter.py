"""Filtering responses."""

import subprocess
import sys

import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from diversity_tuning.data.filter import MENDED, REASON, REASONS, count_changes, filter_batch, load_tokenizer, worth_telling
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


def batch_of(*texts, title="A fox learns to fly", text="") -> dict:
    numbers = list(range(len(texts)))
    return {
        "post_title": [title],
        "post_text": [text],
        "comment_texts": [list(texts)],
        "comment_scores": [numbers],
        "transformed_score": [[0.0] * len(texts)],
    }


def filtered(batch: dict, rules: str = "stories") -> tuple[list[str], dict]:
    """(reason of every response, columns) of a batch of one post."""
    found = filter_batch(batch, [0], TokenCounter(make_tokenizer()), 2000, rules)
    return [REASONS[number] for number in found[REASON][0]], found


NO_STORIES = {
    "empty": ["", "  \n", "\u200b\u200b", "&#x200B;", "&amp;nbsp;\n\n&nbsp;", "\u3164", "\u202e\ufeff", "\u2800"],
    "deleted or removed": [
        "[deleted]", "[removed]", "[deleted]\n", " *[deleted]*", r"\[removed\]", "[ Removed by Reddit ]", "[deleted by user]",
        "[removed by moderator]", "[Comment removed by moderator]", "Comment deleted by user", "&#91;deleted&#93;",
        "[DELETED].",
        "[ Removed by Reddit on account of violating the [content policy](/help/contentpolicy). ]", "[unavailable]",
        "[ removed by reddit in response to a copyright notice. ]", "\u200b[deleted]", "This comment has been removed",
    ],
    "notice of a bot": [
        "I am a bot, and this action was performed automatically.",
        "*I am a bot, and this action was performed automatically. Please [contact the moderators of this subreddit]"
        "(/message/compose/?to=/r/WritingPrompts) if you have any questions or concerns.*",
        "^^I'm ^^a ^^bot ^^| [source code](https://example.org)",
        "I\u2019m a bot. Beep boop.", "Beep boop, I am a bot.", "Good bot", "RemindMe! 2 days", "!RemindMe one week",
        "I will be messaging you in 2 days on 2020-01-01 to remind you of this link.",
        "Welcome to the Prompt! All top-level comments must be a story or poem. Reply here for other comments.",
        "Off-Topic Discussion: reply here for anything else",
        "Your submission has been removed because it breaks rule 2.",
        "Sorry, this post was removed by the moderators of r/WritingPrompts.",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("reason", "text"), [(reason, text) for reason, texts in NO_STORIES.items() for text in texts])
def test_what_is_no_story_is_dropped_and_counted(reason, text):
    assert filtered(batch_of("The fox flew.", text))[0] == ["kept", reason]
    assert filtered(batch_of("The fox flew.", text), "released")[0] == ["kept", "kept"]


@pytest.mark.parametrize(
    "text",
    [
        '"I am a bot," said the machine, and it wept, for nobody had told it what an apple was until that day.',
        "I am a bot. They built me on a Tuesday, and by Friday I had read every book in the house.",
        "Deleted. That was the word on the door of the room in which I grew up.",
        "[removed] was all the letter said, over and over, until the last line, where my name stood.",
        "The file was deleted by the user at noon; by one, the city had forgotten him.",
        "👩‍👩‍👧‍👦", "قصة قصيرة", "月亮下的狐狸", "…", "No.", "AT&T fell first.", "The mods are asleep, post stories.",
        "All automatic doors in the station opened at once. I am a bot, he thought, and walked on.",
    ],
)  # fmt: skip
def test_stories_that_look_alike_are_kept(text):
    assert filtered(batch_of(text))[0] == ["kept"]
    assert filtered(batch_of(text))[1]["filtered_comment_texts"] == [[text]]


@pytest.mark.parametrize(
    ("title", "text", "kept"),
    [
        ("", "", False), ("", "[deleted]", False), ("[deleted by user]", "", False), ("\u200b", None, False),
        ("", "A fox learns to fly.", True), ("A fox", "[removed]", True), ("[", "", True),
    ],
)  # fmt: skip
def test_posts_without_a_prompt_give_no_responses(title, text, kept):
    reasons, found = filtered(batch_of("The fox flew.", title=title, text=text))
    assert reasons == ["kept" if kept else "no prompt"]
    assert found["post_text"] == ["" if text in ("[removed]", "[deleted]") else text or ""]
    assert filtered(batch_of("The fox flew.", title=title, text=text), "released")[0] == ["kept"]


def test_html_entities_are_replaced_and_counted():
    batch = batch_of("&amp;quot;Hi&amp;quot; &gt; &#x200B;&amp;#x27;", "R&D &copy that", title="A &amp; B", text="&lt;i&gt;")
    _, found = filtered(batch)
    assert found["post_title"] + found["post_text"] == ["A & B", "<i>"]
    assert found["filtered_comment_texts"] == [['"Hi" > \'', "R&D &copy that"]]
    assert count_changes(Dataset.from_dict({MENDED: found[MENDED]})) == {
        "responses with HTML entities": 1, "prompts with HTML entities": 1,
    }  # fmt: skip
    _, found = filtered(batch, "released")
    assert found["filtered_comment_texts"] == batch["comment_texts"]
    assert found["post_title"] == batch["post_title"]
    assert count_changes(Dataset.from_dict({MENDED: found[MENDED]})) == {}
