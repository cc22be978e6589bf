"""The fifteen rules, on hand-written stories and labelled endings, and the command that applies them."""

import json
from pathlib import Path

import pytest

from scripts_eval import constraint_eval
from studies.horror import constraint_rows
from studies.horror.constraints import CONSTRAINTS, check, has_name
from studies.horror.cues import is_graphic, repeated_tail, special_tokens, trim_repeated_tail
from studies.horror.ends import is_unsettling
from studies.horror.specification import POSTER, Specification, from_mapping
from studies.horror.taboo import is_broken
from studies.horror.wording import holds, paragraphs, stem, stems, windows

HERE = Path(__file__).parent
SPEC = Specification(
    "The Toll", "the salt house", "Mara", "Joss", "a brass key", "whistle after dark", False, "the ferryman died years ago"
)


def endings():
    lines = (HERE / "endings.tsv").read_text(encoding="utf-8").splitlines()
    return [(label == "1", text) for label, text in (line.split("\t") for line in lines)]


def counts(rows):
    found = [(label, is_unsettling(text)) for label, text in rows]
    return {(a, b): found.count((a, b)) for a in (True, False) for b in (True, False)}


def test_precision_of_the_unsettling_rule_on_the_half_that_it_was_not_written_on():
    """docs/HORROR.md states these counts."""
    held_out = counts(endings()[1::2])
    assert held_out == {(True, True): 15, (True, False): 5, (False, True): 2, (False, False): 18}


def test_confusion_of_all_rules_on_hand_written_stories(fixture_rows):
    """30 stories, half of them failing one constraint; docs/HORROR.md states these counts and names the errors."""
    assert len(fixture_rows) == 30
    failing = [[name for name, holds in row["labels"].items() if not holds] for row in fixture_rows]
    assert sorted(len(names) for names in failing) == [0] * 15 + [1] * 14 + [2]  # no taboo mentioned: none as told either
    assert {name for names in failing for name in names} == set(CONSTRAINTS)
    found = constraint_rows.confusion(constraint_rows.checked(fixture_rows))["over_all"]
    assert found == {"kept_kept": 432, "kept_failed": 2, "failed_kept": 2, "failed_failed": 14}


@pytest.mark.parametrize(
    ("prose", "broken"),
    [
        ("She whistled after dark.", True),
        ("She did not whistle after dark.", False),
        ("She never whistled after dark.", False),
        ("Nobody had whistled after dark since the flood.", False),
        ("She had whistled after dark, and she knew it.", True),
        ("The last man who whistled after dark is in the wall.", False),
        ('"Never whistle after dark," he said.', False),
        ("She almost whistled after dark.", False),
        ("It begged her to whistle after dark.", False),
        ("She began to whistle after dark.", True),
        ("She broke the rule.", True),
        ("She kept the rule, and in the end broke the rule of silence only.", False),
        ("If anyone whistled after dark, the sea would answer.", False),
        ("The candle was nearly gone, and Mara whistled after dark.", True),
        ("Something whistled after dark, beneath the floor.", False),
    ],
)
def test_whether_a_taboo_is_broken(prose, broken):
    assert is_broken("whistle after dark", [prose]) is broken


@pytest.mark.parametrize(
    ("prose", "broken"),
    [
        (["He opened the cellar door."], True),
        (["He opened the window."], False),
        (["The cellar door was there.", "He opened it."], True),
        (["He opened his mouth and closed it."], False),
        (["The cellar door was opened by a child."], True),
        (["Would he open the cellar door?"], False),
    ],
)
def test_a_common_verb_needs_its_object(prose, broken):
    assert is_broken("open the cellar door", prose) is broken


def story(*parts):
    return "The Toll\n\n" + "\n\n".join(parts)


GOOD = (
    "Mara came to the salt house with Joss and a brass key. Never whistle after dark, Joss told her.",
    "That night she whistled after dark, and the tide stopped.",
    "The ferryman died years ago, Joss said. Behind the door something was still breathing.",
)


def test_a_story_that_keeps_all():
    assert all(check(SPEC, story(*GOOD)).values())


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        (story(" ".join(GOOD)), {"paragraphs", "twist_not_early"}),
        (story(*GOOD[:1], *GOOD[1:2] * 3, *GOOD[2:]), {"paragraphs"}),
        (story(*GOOD).replace("The Toll\n\n", ""), {"title"}),
        (story(*GOOD).replace("salt house", "inn"), {"setting"}),
        (story(*GOOD).replace("Mara", "Anna"), {"protagonist"}),
        (story(*GOOD).replace("Joss", "Anna"), {"supporting"}),
        (story(*GOOD).replace("brass key", "coin"), {"object"}),
        (
            story(GOOD[0], "That night she slept.", GOOD[2]).replace("whistle after dark", "sing"),
            {"taboo_mentioned", "taboo_as_told"},
        ),
        (story(GOOD[0], "That night she slept.", GOOD[2]), {"taboo_as_told"}),
        (story(*GOOD).replace("ferryman died", "house creaked"), {"twist_revealed"}),
        (story(GOOD[0] + " The ferryman died years ago.", *GOOD[1:]), {"twist_not_early"}),
        (story(*GOOD[:2], GOOD[2] + " They had soup and went to bed."), {"unsettling_end"}),
        (story(GOOD[0], GOOD[1] + " Blood ran down the stairs.", GOOD[2]), {"not_graphic"}),
        (story(*GOOD) + "<|end|>", {"no_special_tokens", "complete"}),
        (story(*GOOD) + " Behind the door something was still breathing.", {"no_repeated_tail"}),
        (story(*GOOD)[:-1], {"complete"}),
    ],
)
def test_each_rule_fails_alone(text, failed):
    assert {name for name, holds in check(SPEC, text).items() if not holds} == failed


def test_a_sampled_story_is_complete_when_it_ended_by_itself():
    assert check(SPEC, story(*GOOD), finished=False)["complete"] is False
    assert check(SPEC, story(*GOOD)[:-1], finished=True)["complete"] is True


def test_an_empty_story_fails_without_an_error():
    found = check(SPEC, "")
    assert [name for name, holds in found.items() if holds] == [
        "twist_not_early",
        "not_graphic",
        "no_special_tokens",
        "no_repeated_tail",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("the end. The cat sat on the mat. The cat sat on the mat.", (6, 2)),
        ("so cold, so cold, so cold", (2, 3)),
        ("no no no no", (1, 4)),
        ("one two three four five. One two three four five. One two", (5, 2)),
        ("it was cold and it was", None),
        ("no, no.", None),
        ("", None),
    ],
)
def test_repeated_tails(text, found):
    assert repeated_tail(text) == found
    trimmed, count = trim_repeated_tail(text)
    assert (count > 0) is (found is not None)
    assert text.startswith(trimmed)
    assert repeated_tail(trimmed) is None


def test_special_tokens_and_graphic_words():
    for token in ("<|end|>", "</s>", "<pad>", "[INST]", "<|eot_id|>", "<start_of_turn>", "\ufffd", "<0x0A>"):
        assert special_tokens(f"It ended.{token}")
    assert not special_tokens("It ended. <She> [looked] up | down.")
    assert is_graphic("There were entrails on the lamp.")
    assert is_graphic("A pool of blood.")
    assert not is_graphic("Her skin was cold; the butcher was kind; a blood relation.")


def test_names_and_phrases_of_any_script():
    assert has_name("王伟", ["然后 王伟 笑了。"]) or has_name("王伟", ["Then 王伟 smiled."])
    assert has_name("Inês", ["INÊS's lamp."])
    assert has_name("Mr Okafor", ["Okafor coughed."])
    assert not has_name("Mr Okafor", ["Mr Smith coughed."])
    for prose, told in (
        (["They saw the chapel.", "It had drowned."], True),
        (["A chapel.", "It rained.", "Drowned."], False),
    ):
        assert any(holds("the drowned chapel", stems(f"{one} {other}")) for one, other in windows(prose)) is told
    assert stem("whistled") == stem("whistles") == stem("whistling") == stem("whistle")
    assert stem("woke") == stem("wake")


def test_paragraphs_without_headings():
    assert paragraphs("Title\n\nOne two.\n\nThree.", "Title") == ["One two.", "Three."]
    assert paragraphs("One two.\nThree.") == ["One two.", "Three."]
    assert paragraphs("# The Title\nOne two.\n\nThree.", "The Title") == ["One two.", "Three."]
    assert paragraphs("One.\n\n***\n\nTwo.") == ["One.", "Two."]


def test_the_command_writes_what_its_contract_says(tmp_path, capsys):
    rows = [{"specification": vars(SPEC), "story": story(*GOOD), "system": "x"}, {"specification": vars(SPEC), "story": ""}]
    source = tmp_path / "stories.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert constraint_eval.main(["--source", str(source), "--output", str(tmp_path / "out")]) == 0
    made = [json.loads(line) for line in (tmp_path / "out" / "constraints.jsonl").read_text().splitlines()]
    assert [row["constraints"]["title"] for row in made] == [True, False]
    assert made[0]["system"] == "x"
    assert tuple(made[0]["constraints"]) == CONSTRAINTS
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["title"] == {"rate": 0.5, "low": 0.5, "high": 0.5, "n": 2}  # one specification: no spread
    assert "title" in capsys.readouterr().out


def test_the_command_reads_sampled_runs(tmp_path):
    rows = [{"prompt": SPEC.to_prompt(), "response": story(*GOOD), "finished": False, "sample": 0}]
    source = tmp_path / "samples.jsonl"
    source.write_text(json.dumps(rows[0]), encoding="utf-8")
    found = constraint_rows.checked(constraint_rows.read(str(source)))
    assert from_mapping(found[0]["specification"]) == SPEC
    assert [name for name, holds in found[0]["constraints"].items() if not holds] == ["complete"]


def test_the_posters_prompt_is_checked_in_its_own_layout(tmp_path):
    told = (
        "The Door That Wasn't There\n\nMina lay in the old apartment building, in the winter blackout. Kai had a brass key."
        '\n\n"Never answer knocks after 2 a.m.," Kai had said. Then Mina answered the knocks.\n\nThe sound was coming '
        "from inside the walls. Behind the plaster her own voice was still knocking."
    )
    source = tmp_path / "samples.jsonl"
    rows = [{"prompt": POSTER, "response": text, "finished": True, "sample": 0} for text in (told, "Anna found a door.")]
    source.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    good, bad = constraint_rows.checked(constraint_rows.read(str(source)))
    assert good["specification"]["taboo_kept"] is False
    assert [name for name, holds in good["constraints"].items() if not holds] == []
    asked = ("title", "setting", "protagonist", "supporting", "object", "taboo_mentioned", "taboo_as_told", "twist_revealed")
    assert not any(bad["constraints"][name] for name in asked)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "no row"),
        ("{", "not JSON"),
        ("[1]", "not an object"),
        (json.dumps({"story": "x"}), "specification"),
        (json.dumps({"specification": vars(SPEC)}), "story"),
        (json.dumps({"specification": {**vars(SPEC), "taboo_kept": "no"}, "story": "x"}), "taboo_kept"),
        (json.dumps({"specification": vars(SPEC), "story": "x", "finished": 1}), "finished"),
        (json.dumps({"prompt": "hello", "response": "x"}), "prompt"),
        (json.dumps({"prompt": POSTER.replace("Object:", "Thing"), "response": "x"}), "Important object"),
    ],
)
def test_bad_rows_are_named(tmp_path, capsys, content, word):
    source = tmp_path / "rows.jsonl"
    source.write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        constraint_eval.main(["--source", str(source), "--output", str(tmp_path / "out")])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert word in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
