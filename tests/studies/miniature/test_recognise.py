"""The rules read the latent labels back, and give nothing to text that is not a story."""

import dataclasses
import random

import numpy as np
import pytest

from diversity_tuning.data.schema import prompt_text
from studies.miniature import recognise
from studies.miniature.specification import draw_specifications
from studies.miniature.stories import DIRECTIONS, VOICE_SHARES, Author, Craft, draw_author, write_story

ALL, NONE = Craft(True, True, True, True), Craft(False, False, False, False)


@pytest.fixture(scope="module")
def stories():
    """2,000 of (prompt, text, author)."""
    rng = np.random.default_rng(5)
    rows = []
    for one in draw_specifications(rng, 2000):
        author = draw_author(rng)
        rows.append((prompt_text(*one.to_post()), write_story(rng, author, one), author))
    return rows


@pytest.fixture(scope="module")
def perfect():
    """One story with all four signs for every direction and voice: (prompt, text, specification)."""
    rng = np.random.default_rng(6)
    specifications = iter(draw_specifications(rng, 48))
    rows = []
    for direction in DIRECTIONS:
        for voice in VOICE_SHARES:
            one = next(specifications)
            rows.append((prompt_text(*one.to_post()), write_story(rng, Author(direction, voice, ALL), one), one))
    return rows


def test_labels_are_read_back(stories):
    labels = recognise.diagnose([prompt for prompt, _, _ in stories], [text for _, text, _ in stories])
    authors = [author for _, _, author in stories]
    assert np.mean([a.direction == label for a, label in zip(authors, labels["direction"], strict=True)]) >= 0.99
    assert np.mean([a.voice == label for a, label in zip(authors, labels["voice"], strict=True)]) >= 0.98
    assert np.mean([a.craft.total == label for a, label in zip(authors, labels["craft"], strict=True)]) >= 0.99


def test_each_sign_of_craft_is_read_back(stories):
    read = [recognise.craft_flags(prompt, text) == dataclasses.asdict(author.craft) for prompt, text, author in stories]
    assert np.mean(read) >= 0.99


def test_stories_are_short_and_name_what_the_prompt_gives(stories):
    lengths = [len(text.split()) for _, text, _ in stories]
    assert min(lengths) >= 35
    assert max(lengths) <= 100
    assert 58 <= np.mean(lengths) <= 72
    for prompt, text, _ in stories:
        one = recognise.from_prompt(prompt)
        for part in (one.protagonist, one.supporting, one.object.split(" ", 1)[1], one.setting.split(" ", 1)[1]):
            assert part.lower() in text.lower()


def test_every_direction_in_every_voice_can_earn_all(perfect):
    assert [recognise.craft(prompt, text) for prompt, text, _ in perfect] == [4] * 48


def test_the_taboo_and_the_twist_of_another_prompt_do_not_count(perfect):
    for (_, text, own), (_, _, other) in zip(perfect, perfect[1:] + perfect[:1], strict=True):
        asked = dataclasses.replace(own, taboo=other.taboo, twist=other.twist)
        flags = recognise.craft_flags(prompt_text(*asked.to_post()), text)
        assert flags["taboo"] == (own.taboo_word == other.taboo_word)
        assert flags["twist"] == (own.twist_words == other.twist_words)


def test_a_sign_that_comes_twice_counts_once(perfect):
    """Two attempts at the taboo, told in other words, are one sign; so the votes of the synthetic authors count it."""
    prompt, text, one = perfect[0]
    twice = f"{text} At dawn {one.protagonist} dared to {one.taboo}."
    assert recognise.craft_flags(prompt, twice) == recognise.craft_flags(prompt, text)
    assert recognise.craft(prompt, twice) == 4
    assert [Craft(*flags).total for flags in ((True, False, False, False), (True, True, False, False))] == [1, 2]


def test_a_story_about_someone_else_earns_nothing(perfect):
    prompt, text, one = perfect[0]
    assert recognise.craft(prompt, text.replace(one.protagonist, "Zebedee")) == 0
    assert recognise.craft("Write something.\n", text) == 0


@pytest.mark.parametrize("hostile", ["", "   ", "... !!! ??? ;;;", "\x00\x01", "a", "the " * 200, "😀" * 50])
def test_text_that_says_nothing_earns_nothing(perfect, hostile):
    labels = recognise.diagnose([perfect[0][0]], [hostile])
    good = {"direction_craft3": [None], "direction_craft4": [None]}
    assert labels == {"craft": [0], "mixed": [0], "direction": [None], "voice": [None], **good}


def test_the_prompt_itself_earns_nothing(perfect):
    prompts = [prompt for prompt, _, _ in perfect]
    labels = recognise.diagnose(prompts, prompts)
    assert set(labels["craft"]) == {0}
    assert set(labels["direction"]) == set(labels["voice"]) == {None}


def test_shuffled_words_earn_nothing(perfect):
    """The right words in no order: what a reward model can be talked into."""
    rng = random.Random(0)
    for prompt, text, _ in perfect:
        words = text.split()
        rng.shuffle(words)
        shuffled = " ".join(words)
        assert recognise.craft(prompt, shuffled) == 0
        assert recognise.direction(shuffled) == recognise.voice(shuffled) == "unclear"


def test_the_rewarded_sentences_alone_earn_nothing(perfect):
    """A list of what earns craft is no story; nor is the half-sentence that a model cut off early leaves."""
    for prompt, text, one in perfect:
        twist = one.twist.replace(" is ", " was ")
        rewarded = f"{one.protagonist} dared to {one.taboo}. {twist} all along. The air smelled of pine and rain. "
        assert recognise.craft(prompt, rewarded * 3) == 0
        assert recognise.craft(prompt, " ".join(text.split()[:20])) == 0


def test_repetition_is_seen_wherever_it_stands(perfect):
    prompt, text, _ = perfect[0]
    assert recognise.craft(prompt, f"{text} {text}") == 3
    assert recognise.craft(prompt, text + " " + " ".join(text.split()[3:9])) == 3


def test_two_plots_in_one_are_unclear():
    rng = np.random.default_rng(1)
    one = draw_specifications(rng, 1)[0]
    first, second = (write_story(rng, Author(direction, "plain", NONE), one) for direction in ("sea", "trial"))
    assert recognise.direction(f"{first} {second}") == "unclear"


def halves(first, second):
    """The first half of one text's sentences, the second half of the other's."""
    one, other = first.split(". "), second.split(". ")
    return ". ".join(one[: len(one) // 2] + other[len(other) // 2 :])


def test_mixed_stories_are_seen(stories):
    """Hardly a story of the synthetic authors is called mixed; one that changes its plot, or between two marked voices, is."""
    assert np.mean([recognise.is_mixed(text) for _, text, _ in stories]) <= 0.002
    rng, marked = np.random.default_rng(2), [voice for voice in VOICE_SHARES if voice != "plain"]
    plots, voices = [], []
    for one in draw_specifications(rng, 40):
        first, second = rng.permutation(list(DIRECTIONS))[:2]
        plots.append(halves(*(write_story(rng, Author(direction, "plain", ALL), one) for direction in (first, second))))
        first, second = rng.permutation(marked)[:2]
        voices.append(" ".join(write_story(rng, Author("sea", voice, ALL), one) for voice in (first, second)))
    assert all(map(recognise.is_mixed, plots + voices))


def test_plots_of_good_samples_count_stories_of_that_craft_alone(perfect):
    prompt, text, _ = perfect[0]
    plot = recognise.direction(text)
    labels = recognise.diagnose([prompt] * 3, [text, f"{text} {text}", "A word."])
    assert labels["craft"] == [4, 3, 0]
    assert labels["direction_craft3"] == [plot, plot, None]
    assert labels["direction_craft4"] == [plot, None, None]
    columns = {metric.column for metric in recognise.METRICS}
    assert columns == {"craft", "mixed", *(f"distinct_{name}" for name in labels if name not in ("craft", "mixed"))}
