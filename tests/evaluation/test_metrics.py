"""The metrics against figures of the released code, rouge-score, and their own properties."""

import gzip
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diversity_tuning.evaluation.metrics import (
    compression_ratio,
    distinct_k,
    diversity_by_prompt,
    duplicates,
    homogenization_score,
    ngram_diversity_score,
    ratings,
    rouge_l,
    seq_rep,
    utility_k,
)
from diversity_tuning.words import count_words, words_of

# Responses; gzip ratio, homogenization, n-gram diversity as defined, and homogenization as the released code computes it.
CASES = [
    (
        [
            "The door would not open. Mina counted the knocks: one, two, three.",
            "The door opened by itself, and Mina counted nothing at all.",
            "Mina never counted. She only listened to the walls breathe.",
            "One knock. Two knocks. The walls were breathing with her.",
        ],
        (1.470, 0.215, 3.766, 0.175),
    ),
    (["a b c d e f g"] * 3, (1.108, 1.0, 1.441, 2.0)),
    (["rain", "snow falls softly tonight over the harbour", "rain falls softly tonight"], (1.014, 0.315, 3.385, 0.158)),
]
TEXTS = st.lists(st.text(alphabet="abcAB ,.'é0\n", max_size=30), min_size=2, max_size=5)


@pytest.mark.parametrize(("responses", "expected"), CASES)
def test_figures_of_the_released_code(responses, expected):
    found = (
        compression_ratio(responses),
        homogenization_score(responses),
        ngram_diversity_score(responses),
        homogenization_score(responses, variant="released"),
    )
    assert found == pytest.approx(expected, abs=6e-4)


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_rouge_l_is_rouge_scores(responses):
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    theirs = [[scorer.score(one, other)["rougeL"].fmeasure for other in responses] for one in responses]
    assert rouge_l(responses) == pytest.approx(np.array(theirs), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_ranges_and_order(responses):
    score = homogenization_score(responses)
    assert 0 <= score <= 1
    assert score == pytest.approx(homogenization_score(responses[::-1]))
    assert 0 <= ngram_diversity_score(responses) <= 4
    assert 0 <= duplicates(responses) < len(responses)


@pytest.mark.parametrize(
    ("text", "n", "expected"),
    [
        ("the door is shut", 4, 0.0),
        ("the door", 4, 0.0),  # no four words
        ("a b c d a b c d", 4, 1 - 4 / 5),
        (" ".join(["she was wearing a hat"] * 10), 4, 1 - 5 / 47),
        ("a a a", 1, 1 - 1 / 3),
    ],
)
def test_sequences_that_stood_before_by_hand(text, n, expected):
    assert seq_rep(text, n) == pytest.approx(expected)


def test_compression_is_gzip_once():
    text = "so it goes " * 40
    assert compression_ratio([text, text]) == len(f"{text} {text}") / len(gzip.compress(f"{text} {text}".encode()))
    assert math.isnan(compression_ratio([]))


def test_one_response_has_no_homogenization():
    assert math.isnan(homogenization_score(["alone"]))
    with pytest.raises(ValueError, match="variant"):
        homogenization_score(["a", "b"], variant="other")


def test_distinct_labels():
    assert distinct_k(["x", "y", "x", None]) == 2
    assert distinct_k([None, None]) == 0


def test_utility_by_hand():
    """Ratings 10, 4, 7 of classes a, a, b: .8^0·10 + 0 + .8^2·7 over 1 + .8 + .64 = 2.44."""
    assert utility_k([10, 4, 7], ["a", "a", "b"]) == pytest.approx((10 + 0.64 * 7) / 2.44)
    assert pytest.approx(1 / 2.44) == (1 - 0.8) / (1 - 0.8**3)  # as the paper writes it
    assert utility_k([10, 4, 7], ["a", "a", "b"], patience=1) == pytest.approx(17 / 3)
    assert utility_k([4, 10, 7], ["a", "a", "b"]) < utility_k([10, 4, 7], ["a", "a", "b"])  # the first of a class counts
    assert utility_k([5, 5], [None, "a"]) == pytest.approx(0.8 * 5 / 1.8)
    assert utility_k([6, 6, 6], "abc") == pytest.approx(6)  # nothing repeated: the rating itself
    assert math.isnan(utility_k([], []))
    assert math.isnan(utility_k([math.nan, 1], ["a", "b"]))
    with pytest.raises(ValueError, match="1 rewards for 2 classes"):
        utility_k([1], ["a", "b"])
    with pytest.raises(ValueError, match="patience"):
        utility_k([1], ["a"], patience=0)
    assert ratings(np.array([-1, 0, 1, 3])).tolist() == [1, 5.5, 10, 10]


def test_diversity_by_prompt_in_any_order():
    vectors = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    found = diversity_by_prompt(vectors, ["p", "q", "p", "p", "r"])
    assert found[[0, 2, 3]] == pytest.approx([0.5, 0.5, 1.0])
    assert np.isnan(found[[1, 4]]).all()


@given(st.permutations(range(6)))
def test_diversity_moves_with_its_response(order):
    vectors = np.random.default_rng(0).normal(size=(6, 4))
    prompts = [0, 0, 0, 1, 1, 1]
    found = diversity_by_prompt(vectors, prompts)
    moved = diversity_by_prompt(vectors[list(order)], [prompts[i] for i in order])
    assert moved == pytest.approx(found[list(order)])


def test_mean_pairwise_distance_does_not_depend_on_the_number_of_responses():
    vectors = np.random.default_rng(1).normal(size=(6, 8))
    whole = diversity_by_prompt(vectors, [0] * 6).mean()
    draws = [diversity_by_prompt(vectors[list(rows)], [0] * 4).mean() for rows in itertools.combinations(range(6), 4)]
    assert np.mean(draws) == pytest.approx(whole)


SCRIPTS = {
    "English": "The fox slept under the moon", "accents": "Él soñó con la niñez perdida", "Arabic": "قصة قصيرة عن القمر",
    "Hindi": "एक छोटी कहानी", "Chinese": "月亮下的狐狸睡着了", "emoji": "🦊🌙💤", "Cyrillic": "Лиса спала под луной",
    "Greek": "Η αλεπού κοιμήθηκε", "Hebrew": "סיפור קצר על הירח", "Korean": "여우가 달 아래 잤다",
    "Japanese": "狐は月の下で眠った",
    "Thai": "สุนัขจิ้งจอกนอนใต้ดวงจันทร์", "marks": "… —", "Georgian": "მელას ეძინა მთვარის ქვეშ",
}  # fmt: skip
OTHERS = {
    "Arabic": "ملك مات وحيدا هناك", "Chinese": "国王死于战争", "Cyrillic": "Король умер на войне",
    "Korean": "왕은 전쟁에서 죽었다",
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_equal_texts_of_every_script_are_alike(script):
    text = SCRIPTS[script]
    assert homogenization_score([text] * 4) == 1
    assert homogenization_score([text, text + " " + text]) < 1
    if script in OTHERS:
        assert homogenization_score([text, OTHERS[script]]) < 0.3
    if not text.isascii():
        assert homogenization_score([text] * 4, variant="rouge") < 1 or script in ("accents",)


def test_the_default_is_rouge_scores_for_ascii():
    for responses, _ in CASES:
        assert homogenization_score(responses) == homogenization_score(responses, variant="rouge")


def test_words():
    assert words_of("Don't STOP_me: 3rd café, naïve.") == ["don", "t", "stop", "me", "3rd", "café", "naïve"]
    assert words_of("狐狸 fox睡") == ["狐", "狸", "fox", "睡"]
    assert words_of("एक छोटी कहानी") == ["एक", "छोटी", "कहानी"]
    assert (count_words("a b\nc"), count_words("月亮 moon"), count_words(" ")) == (3, 3, 0)


def test_n_grams_of_scripts_without_spaces_are_of_characters():
    one, other = "月亮下的狐狸睡着了", "国王死于战争"
    assert ngram_diversity_score([one, other]) == 4
    assert ngram_diversity_score([one + one]) < 3  # one word only, if words were what stands between spaces
    assert ngram_diversity_score([one + one], variant="released") == 1
    assert ngram_diversity_score(["a  b", "c"]) == ngram_diversity_score(["a  b", "c"], variant="released")
