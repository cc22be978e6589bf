"""Counting tokens piece by piece gives what tokenizing whole texts gives, for every kind of tokenizer."""

import dill
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, normalizers, pre_tokenizers

from diversity_tuning.data import token_counts
from diversity_tuning.data.filter import filter_batch
from diversity_tuning.data.schema import to_messages
from diversity_tuning.data.token_counts import TokenCounter
from tests.data.tokenizer_kinds import KINDS, byte_level, sentencepiece_bpe, stories, tokenizer_of, unigram, wordpiece
from tests.tiny import make_tokenizer

SPECIAL = [
    "<|eot_id|>",
    "<|end_header_id|>",
    "<s>",
    "</s>",
    "[INST]",
    "<unk>",
    "<extra_id_0>",
    "<mask>",
    "[SEP]",
    "[MASK]",
    "<|",
]
SPACES = [
    " ",
    " ",
    " ",
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n",
    " \n ",
    "\r\n",
    "\t",
    "\u00a0",
    "\u2003",
    "\u3000",
    "\x85",
    "\u200b",
    "\x1c",
]
ODD = [
    "👨‍👩‍👧",
    "🙂",
    "\u200d",
    "漢字",
    "ひらがな",
    "e\u0301",
    "\u0308",
    "\u0338",
    "ﬁ",
    "½",
    "…",
    "“",
    "”",
    "’s",
    "’",
    "—",
    "–",
    "'s",
    "'S",
    "İ",
    "ß",
    "▁",
    "Ġ",
]
ODDER = [
    "\u0600",
    "\ufdfa",
    "\u00a8",
    "\x00",
    "1234",
    "7",
    "x",
    "X",
    "``",
    "=",
    "^",
    "~",
    "#",
    "-",
    ".",
    "?!",
    "\U0001f1e9\U0001f1ea",
]
WORDS = "the river of silence, door. lamp captain's I it'll a".split()
fragments = st.one_of(*map(st.sampled_from, (SPECIAL, SPACES, SPACES, ODD, ODDER, WORDS, WORDS)), st.text(max_size=3))
texts = st.lists(fragments, max_size=25).map("".join)


def counted_whole(tokenizer, conversations: list) -> list[int]:
    """What the shortcut must give."""
    return [len(tokenizer.apply_chat_template(one, tokenize=True, return_dict=True)["input_ids"]) for one in conversations]


@pytest.mark.parametrize("kind", KINDS)
def test_any_text_has_the_same_count(kind):
    tokenizer = tokenizer_of(kind)
    counter = TokenCounter(tokenizer)
    assert counter.remembers

    @settings(max_examples=150, deadline=None)
    @given(texts, texts)
    def check(prompt, response):
        conversation = to_messages(prompt, response)
        assert counter.conversations([conversation]) == counted_whole(tokenizer, [conversation])

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_responses_are_kept_near_the_limit(kind):
    tokenizer = tokenizer_of(kind)
    conversations = [to_messages("A door.\n", text) for text in stories()[-30:]]
    lengths = counted_whole(tokenizer, conversations)
    batch = {"post_title": ["A door."], "post_text": [""], "comment_texts": [list(stories()[-30:])]}
    batch |= {"comment_scores": [lengths], "transformed_score": [[0.0] * 30]}
    counter = TokenCounter(tokenizer)
    for limit in (sorted(lengths)[15], sorted(lengths)[15] - 1, min(lengths), max(lengths) - 1):
        kept = filter_batch(batch, [0], counter, limit)["filtered_comment_scores"][0]
        assert kept == [length for length in lengths if length <= limit]
        assert len(kept) < 30


@pytest.mark.parametrize("kind", KINDS)
def test_known_words_are_not_tokenized_again(kind):
    counter = TokenCounter(tokenizer_of(kind))
    conversations = [to_messages("A door.", text) for text in stories()[-10:]]
    first = counter.conversations(conversations)
    counter._words.backend = counter._openings.backend = None  # whoever tokenizes now fails
    assert counter.conversations(conversations) == first


def test_begins_anew_when_much_is_held(monkeypatch):
    monkeypatch.setattr(token_counts, "_HELD", 2000)
    tokenizer = tokenizer_of("Unigram")
    counter = TokenCounter(tokenizer)
    conversations = [to_messages("A door.", text) for text in stories()]
    sizes = []
    found = []
    for one in conversations:
        found += counter.conversations([one])
        sizes.append(len(counter._words))
    assert found == counted_whole(tokenizer, conversations)
    assert min(sizes[1:]) < sizes[0]
    assert max(sizes) < 200


def test_goes_to_another_process_with_what_it_knows():
    """``datasets`` sends it to its processes serialised with dill, as here; nothing is read from a file."""
    counter = TokenCounter(make_tokenizer())
    conversation = to_messages("a b", "c d")
    length = counter.conversations([conversation])
    again = dill.copy(counter)
    assert again._words == counter._words
    assert again._cut_words.counts is again._words  # one table, not two that grow apart
    assert again.conversations([conversation, to_messages("a b", "c dé")]) == [*length, length[0] + 2]


def test_truncation_in_the_tokenizer_file_does_not_count():
    tokenizer = byte_level()
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=900)
    conversation = to_messages("A door.", stories()[0])
    assert TokenCounter(tokenizer).conversations([conversation]) == counted_whole(tokenizer, [conversation])


def test_tokens_that_take_in_their_surroundings():
    tokenizer = byte_level()
    tokens = [AddedToken("<l>", lstrip=True), AddedToken("<r>", rstrip=True), AddedToken("word", single_word=True)]
    tokenizer.add_tokens([*tokens, AddedToken("<n>", normalized=True)])
    counter = TokenCounter(tokenizer)
    assert counter.remembers
    for text in ("a  <l> b", "a <r>  b", "a word b", "sword b", "a <n>b", "<n> <l>", "a b"):
        assert counter.conversations([to_messages("", text)]) == counted_whole(tokenizer, [to_messages("", text)])


def _with(tokenizer, **components):
    for name, component in components.items():
        setattr(tokenizer.backend_tokenizer, name, component)
    return tokenizer


def _adding(tokenizer, *tokens):
    tokenizer.add_tokens(list(tokens))
    return tokenizer


UNRECOGNISED = {
    "a merge across a space": lambda: sentencepiece_bpe(more=(("e", "▁"),)),
    "words that may hold a space": lambda: byte_level(r"\p{L}+ \p{L}+|\s+|\S+"),
    "white space of its own": lambda: _with(byte_level(), normalizer=normalizers.Replace(Regex(r"e\s+"), "e")),
    "runs of spaces removed": lambda: _with(byte_level(), normalizer=normalizers.Replace(Regex(" {2,}"), "")),
    "two words made one": lambda: _with(wordpiece(), normalizer=normalizers.Replace("of the", "ofthe")),
    "a visible character made a space": lambda: _with(byte_level(), normalizer=normalizers.Replace("-", " ")),
    "Unigram over whole texts": lambda: unigram(pre_tokenizers.Metaspace(split=False)),
    "no words": lambda: _with(byte_level(), pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
    "letters removed": lambda: _with(byte_level(), pre_tokenizer=pre_tokenizers.Split(Regex("[^.]"), behavior="removed")),
    "a token that normalizing makes": lambda: _adding(unigram(), AddedToken("fi", normalized=True)),
    "a token that the probe makes": lambda: _adding(byte_level(), AddedToken("x a", normalized=False)),
}


@pytest.mark.parametrize("case", UNRECOGNISED)
def test_others_are_tokenized_whole(case):
    tokenizer = UNRECOGNISED[case]()
    counter = TokenCounter(tokenizer)
    assert not counter.remembers
    conversations = [to_messages("of the door", text) for text in ("x a the ﬁre the end - a", "a  b", stories()[-1])]
    assert counter.conversations(conversations) == counted_whole(tokenizer, conversations)


def test_random_and_split_tokens_are_not_remembered():
    dropping = byte_level()
    dropping.backend_tokenizer.model.dropout = 0.1
    splitting = byte_level()
    splitting.split_special_tokens = True
    assert not TokenCounter(dropping).remembers
    assert not TokenCounter(splitting).remembers
    assert TokenCounter(byte_level()).conversations([]) == []
