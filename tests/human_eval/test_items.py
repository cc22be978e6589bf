"""What is shown is the story itself, and nothing on the page says whose it is."""

import html
import json
import re
import string
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diversity_tuning.human_eval.items import as_html, draw_blinding, draw_order, item_html, item_id
from tests.human_eval.helpers import HOSTILE


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_shown_as_themselves(text):
    shown = as_html(text)
    assert html.unescape(shown) == text
    assert not set(re.sub(r"&(?:#\d+|\w+);", "", shown)) & set(string.punctuation)


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_shown_as_itself(text):
    shown = as_html(text)
    shown.encode("utf-8")  # raises on a lone surrogate
    possible = text.replace("\r\n", "\n").replace("\r", "\n")
    assert [a for a, b in zip(html.unescape(shown), possible, strict=True) if a != b and a != "\ufffd"] == []


def test_what_html_cannot_hold_is_marked():
    assert as_html("a\x00b\x1b\x85\ud800\ufffe") == "a\ufffdb\ufffd\ufffd\ufffd\ufffd"


def test_potato_keeps_the_text():
    """Potato deletes "data:" and "javascript:" from the raw text, control characters, and all but one of several spaces."""
    shown = as_html("data: javascript:x  two\tthree\n  four")
    for pattern in (r"javascript:", r"vbscript:", r"data:", r"expression\s*\("):
        assert not re.search(pattern, shown, re.IGNORECASE)
    assert re.sub(r"[ \t]+", " ", shown) == shown


def test_a_story_cannot_leave_its_box():
    page = item_html("</div>" * 9, [*HOSTILE[:3], "</div></div>"], HOSTILE[4:8])
    assert sorted(set(re.findall(r"<[^>]*>", page))) == [
        "</div>", "</h2>", "</h3>", '<div class="item">', '<div class="prompt">', '<div class="set">', '<div class="sets">',
        '<div class="story">', '<div class="text">', "<h2>", "<h3>",
    ]  # fmt: skip
    texts = _texts(page)
    assert texts == ["</div>" * 9, *HOSTILE[:3], "</div></div>", *HOSTILE[4:8]]


def _texts(page: str) -> list[str]:
    """The contents of the boxes, as a browser reads them."""

    class Reader(HTMLParser):
        inside, texts = False, []

        def handle_starttag(self, tag, attributes):
            self.inside = ("class", "text") in attributes
            if self.inside:
                self.texts.append("")

        def handle_endtag(self, tag):
            self.inside = False

        def handle_data(self, data):
            if self.inside:
                self.texts[-1] += data

    reader = Reader()
    reader.texts = []
    reader.feed(page)
    return reader.texts


def test_full_texts_get_a_box_that_scrolls():
    assert item_html("p", ["a"], ["b"], full_texts=True).count('class="story full"') == 2


def test_blinding_is_drawn_per_prompt_and_whatever_the_order_of_the_names():
    prompts = [f"prompt {number}" for number in range(400)]
    conditions = {"ours": [0, 1, 2, 3, 4], "theirs": [0, 1, 2, 3]}
    swapped = dict(reversed(conditions.items()))
    drawn = [draw_blinding(prompt, conditions, 4, seed=1) for prompt in prompts]
    assert drawn == [draw_blinding(prompt, swapped, 4, seed=1) for prompt in prompts]
    assert 160 < sum(found.set_a == "ours" for found in drawn) < 240  # a fair coin: ±4 standard deviations
    assert {found.set_a for found in drawn} == {found.set_b for found in drawn} == {"ours", "theirs"}
    assert len({found.samples_a for found in drawn}) > 20  # the order of stories is drawn too
    assert all(len(set(found.samples_a)) == len(set(found.samples_b)) == 4 for found in drawn)
    assert drawn != [draw_blinding(prompt, conditions, 4, seed=2) for prompt in prompts]


def test_ids_say_nothing_of_the_sets():
    """Public code, seed and prompt would tell which set is which: an id is of the page alone."""
    pages = [item_html("p", ["s"], ["t"]), item_html("p", ["t"], ["s"]), item_html("q", ["s"], ["t"]), "p\ud800"]
    assert len({item_id(page) for page in pages}) == 4
    json.dumps(item_id(pages[-1]))


def test_leaving_a_prompt_out_does_not_move_the_others():
    prompts = [f"prompt {number}" for number in range(50)]
    order = draw_order(prompts, seed=3)
    assert sorted(order) == sorted(prompts)
    assert order != prompts
    assert draw_order(prompts[::-1], seed=3) == order
    assert draw_order([p for p in prompts if p != order[5]], seed=3) == [p for p in order if p != order[5]]
