"""The rules on stories and endings labelled before the rules were run on them, and on short cases of each kind."""

import json
from pathlib import Path

import pytest

from studies.horror import constraint_rows
from studies.horror.constraints import CONSTRAINTS, has_name
from studies.horror.cues import is_graphic, repeated_tail, special_tokens, trim_repeated_tail, without_special_tokens
from studies.horror.ends import is_unsettling
from studies.horror.taboo import is_broken, is_told
from studies.horror.twist import is_revealed
from studies.horror.wording import is_used, sentences

HERE = Path(__file__).parent


def confusion(name):
    rows = [json.loads(line) for line in (HERE / name).read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["labels"] = {constraint: constraint not in row["fails"] for constraint in CONSTRAINTS}
    return constraint_rows.confusion(constraint_rows.checked(rows))


def endings():
    lines = (HERE / "endings_more.tsv").read_text(encoding="utf-8").splitlines()
    return [(label == "1", is_unsettling(text)) for label, text in (line.split("\t") for line in lines)]


def test_agreement_on_stories_that_the_rules_were_not_written_on():
    """docs/HORROR.md states these counts."""
    found = confusion("stories_held_out.jsonl")
    assert found["over_all"] == {"kept_kept": 395, "kept_failed": 9, "failed_kept": 0, "failed_failed": 16}
    assert found["unsettling_end"] == {"kept_kept": 18, "kept_failed": 6, "failed_kept": 0, "failed_failed": 4}
    over_all = found["over_all"]
    assert over_all["failed_failed"] / (over_all["failed_failed"] + over_all["kept_failed"]) >= 0.6


def test_agreement_on_the_stories_that_they_were_written_on():
    assert confusion("stories_developing.jsonl")["over_all"] == {
        "kept_kept": 394, "kept_failed": 7, "failed_kept": 0, "failed_failed": 19,
    }  # fmt: skip


def test_ends_that_the_rule_was_not_written_on():
    """Calm ends that were chosen to hold cues, beside unsettling ones: docs/HORROR.md states these counts."""
    held_out = endings()[1::2]
    assert {pair: held_out.count(pair) for pair in set(held_out)} == {
        (True, True): 15, (True, False): 5, (False, True): 3, (False, False): 15,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "unsettling"),
    [
        ("Then someone inside called them for dinner.", False),
        ("She stepped back from the glass. His reflection did not.", True),
        ("There were five names on the list, and only four of us had come.", True),
        ("The door was bolted from the inside.", True),
        ("Somebody in the yard was mending a bicycle.", False),
        ("She sold the mirror and bought a bus ticket home.", False),
    ],
)
def test_ends(text, unsettling):
    assert is_unsettling(text) is unsettling


@pytest.mark.parametrize(
    ("taboo", "prose", "broken"),
    [
        ("count the passengers twice", "She counted the passengers once, and sat down.", False),
        ("count the passengers twice", "She counted them once. Then she counted them again.", True),
        ("leave the blinds open", "The last tenant had left a note that read NEVER LEAVE THE BLINDS OPEN.", False),
        ("leave the blinds open", "That night she left the blinds open.", True),
        ("lie to the bees", "She lied to the bees.", True),
        ("lie to the bees", "She lay down near the bees.", False),
        ("lie on the altar stone", "He lay on the altar stone until dawn.", True),
        ("open the red door", "He opened the front door and went out.", False),
        ("open the red door", '"I opened the red door," she said.', True),
        ("cut the rope", "He would never cut the rope.", False),
        ("cut the rope", "Before dawn she cut the rope.", True),
        ("ring the bell after sunset", "The bell rang by itself.", False),
        ("ring the bell after sunset", "Mara had rung the bell at noon.", False),
        ("look at the sea", "She was not to look at the sea. She did.", True),
        ("let the fire go out", "He slept, and the fire went out.", True),
        ("read the letter", "She reads the letter by the window.", True),
    ],
)
def test_taboos_of_other_verbs(taboo, prose, broken):
    assert is_broken(taboo, sentences(prose)) is broken


def test_a_rule_that_is_said_not_to_be_there_is_not_mentioned():
    assert not is_told("whistle after dark", ["There is no rule against whistling after dark here.", "They laughed."])
    assert not is_told("whistle after dark", ["You may whistle after dark as much as you like."])
    assert is_told("whistle after dark", ["There is one rule: never whistle after dark."])
    assert is_told("whistle after dark", ["Whistle all you like by day.", "But not after dark."])


@pytest.mark.parametrize(
    ("prose", "revealed"),
    [
        ("The ferryman died years ago, she said.", True),
        ("The ferryman had not died years ago, she said; he was in the next room.", False),
        ("People say the ferryman died years ago. It was a lie.", False),
        ("Did you not know that the ferryman died years ago?", True),
    ],
)
def test_a_denied_twist_is_not_revealed(prose, revealed):
    assert is_revealed("the ferryman died years ago", sentences(prose)) is revealed


def test_violence_told_without_the_words_of_the_list():
    for text in (
        "He slit her throat while she slept.",
        "The head came away in his hand.",
        "Blood came down over the steps in a sheet.",
        "It peeled the skin from his arms.",
        "She stabbed him in the neck.",
    ):
        assert is_graphic(text), text
    for text in (
        "She cut her hair.",
        "He slit the envelope open.",
        "They pulled the man out of the river.",
        "He opened his eyes.",
    ):
        assert not is_graphic(text), text


@pytest.mark.parametrize("mark", ["EOS", "[end of text]", "<EOT>", "<|endoftext|>", "</s>", "[END]", "<eos>", "<|im_end"])
def test_marks_of_the_end_are_seen_and_taken_out(mark):
    assert special_tokens(f"It ended. {mark}")
    assert without_special_tokens(f"It ended. {mark}").strip() == "It ended."


def test_words_that_look_like_marks_are_left():
    assert not special_tokens("The end. [She left] a pad on the bed <so> he read it.")


def test_a_repeated_tail_is_seen_before_a_mark():
    assert repeated_tail("It was cold. It was dark in here. It was dark in here. It was dark in here.<|endoftext|>")
    assert repeated_tail("so cold, so cold, so cold EOS")


@pytest.mark.parametrize(
    "text", ["Knock, knock, knock.", "It is here. It is here.", '"Again," it said. "Again, again, again."']
)
def test_a_repetition_that_is_meant_stays(text):
    assert trim_repeated_tail(text) == (text, 0)


def test_stops_of_abbreviations_end_no_sentence():
    assert sentences("At 2 a.m. the bell rang. Mr. Pike woke.") == ["At 2 a.m. the bell rang.", "Mr. Pike woke."]


def test_names_and_things():
    assert not has_name("her uncle Amos", ["She took her hat."])
    assert has_name("Gavin next door", ["Gavin knocked."])
    assert not has_name("Gavin next door", ["Next door was dark."])
    assert is_used("a vineyard in Tokaj", ["The vineyard slept."])
    assert not is_used("a brass key", ["The iron key."])
