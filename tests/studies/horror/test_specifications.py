"""Specifications, stories and preference data: what is asked for is there, and what separates the levels is measured."""

import hashlib
import json
import re

import numpy as np
import pytest
from datasets import load_from_disk

from studies.horror import specifications
from studies.horror.constraints import check
from studies.horror.separability import separability
from studies.horror.specification import OUTSIDE, draw_specification, draw_specifications, from_mapping, from_prompt, group
from studies.horror.stories import GOOD, HARD_FAULTS, Quality, write_story
from studies.horror.wording import paragraphs, sentences

SMALL = (
    "--pretraining 20 --sft_train 30 --sft_validation 5 --sft_test 5 --preference_train 12 --preference_validation 3 "
    "--preference_test 4 --pairs 2"
).split()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "out"
    assert specifications.main(["--output", str(folder), *SMALL]) == 0
    return folder


def arguments(*flags):
    return specifications.build_parser().parse_args(["--output", "x", *SMALL, *flags])


def test_a_prompt_reads_back_as_its_specification(written):
    for spec, _ in written:
        prompt = spec.to_prompt()
        assert from_prompt(prompt) == spec
        assert prompt.startswith(
            "You are a creative writing assistant. Write a short horror story that follows this specification.\n"
        )
        assert prompt.endswith("\nStory:")
        assert from_mapping(vars(spec)) == spec
    assert from_prompt("Write something.") is None


def test_good_stories_keep_every_constraint(written):
    for spec, story in written:
        assert all(check(spec, story).values())
        assert 2 <= len(paragraphs(story, spec.title)) <= 4
        assert all(len(sentences(part)) >= 2 for part in paragraphs(story, spec.title))


@pytest.mark.parametrize(
    ("quality", "failed"),
    [
        (Quality(taboo="other"), {"taboo_mentioned", "taboo_as_told"}),
        (Quality(taboo="absent"), {"taboo_mentioned", "taboo_as_told"}),
        (Quality(taboo="flipped"), {"taboo_as_told"}),
        (Quality(twist="early"), {"twist_not_early"}),
        (Quality(twist="other"), {"twist_revealed"}),
        (Quality(twist="absent"), {"twist_revealed"}),
        (Quality(end="flat"), {"unsettling_end"}),
    ],
)
def test_a_fault_fails_its_own_constraints_only(quality, failed):
    rng = np.random.default_rng(1)
    for _ in range(30):
        spec = draw_specification(rng)
        found = check(spec, write_story(rng, spec, quality=quality))
        assert {name for name, holds in found.items() if not holds} == failed


def test_no_two_openings_of_a_hundred_are_the_same():
    """Nor with names, setting and objects masked."""
    rng = np.random.default_rng(2)
    openings, masked = set(), set()
    for _ in range(100):
        spec = draw_specification(rng)
        opening = sentences(paragraphs(write_story(rng, spec), spec.title)[0])[0]
        openings.add(opening)
        masked.add(re.sub("|".join((spec.protagonist, spec.supporting, spec.setting, r"\bs?he\b")), "_", opening))
    assert len(openings) == len(masked) == 100


def test_slots_and_names_are_all_filled_in(written):
    for _, story in written:
        assert not re.search(r"[\[\]{}]|\s[,.;]|  |\.\.", story)
    rng = np.random.default_rng(3)
    for kind in ("wholesome", "off_style"):
        for _ in range(50):
            assert not re.search(r"[\[\]{}]|\s[,.;]|  |\.\.", write_story(rng, draw_specification(rng), kind))


def test_no_specification_stands_in_two_splits_or_data_sets(data):
    seen = []
    for name in ("pretraining", "sft", "easy"):
        for rows in load_from_disk(str(data / name)).values():
            seen += sorted({json.dumps({k: v for k, v in row["specification"].items() if k != "title"}) for row in rows})
    assert len(seen) == len(set(seen)) == 20 + 40 + 19


def test_both_levels_have_the_same_preferred_stories_and_other_dispreferred_ones(data):
    easy, hard = (load_from_disk(str(data / level)) for level in ("easy", "hard"))
    for split, count in {"train": 24, "validation": 6, "test": 8}.items():
        assert len(easy[split]) == count
        assert easy[split]["chosen"] == hard[split]["chosen"]
        for one, two in zip(easy[split], hard[split], strict=True):
            assert one["fault"] in ("wholesome", "off_style")
            assert tuple(two["fault"].split(" ")) in HARD_FAULTS
            assert one["rejected"][0] == one["chosen"][0] == two["rejected"][0]
            assert len({one["chosen"][1]["content"], one["rejected"][1]["content"], two["rejected"][1]["content"]}) == 3


def test_hard_is_hard_and_easy_is_easy():
    """On 450 pairs: words alone tell easy pairs apart and hard pairs not, at matched lengths."""
    rng = np.random.default_rng(0)
    easy, hard = specifications.preference_rows(rng, draw_specifications(rng, 150), 3)
    easy, hard = separability(easy), separability(hard)
    assert easy["bag_of_words_accuracy"] >= 0.95
    assert hard["bag_of_words_accuracy"] <= 0.60
    for figures in (easy, hard):
        assert figures["length_accuracy"] <= 0.55
        assert abs(figures["words_chosen"] - figures["words_rejected"]) < 2


def test_separability_sees_a_difference_in_words_or_length():
    rng = np.random.default_rng(1)
    _, rows = specifications.preference_rows(rng, draw_specifications(rng, 60), 1)
    for row in rows:
        row["rejected"][1]["content"] += " In short, it was late, in short."
    found = separability(rows)
    assert found["bag_of_words_accuracy"] > 0.95
    assert found["words_rejected"] - found["words_chosen"] > 4


def test_the_seed_decides_the_data():
    one, two, other = (specifications.make_data(arguments("--seed", seed)) for seed in ("0", "0", "1"))
    assert one == two
    assert one != other


def texts_of(made):
    """Everything that a model may be trained on: all but SFT's test split."""
    kept = {name: {split: rows for split, rows in made[name].items() if (name, split) != ("sft", "test")} for name in made}
    return json.dumps(kept).casefold()


def test_held_out_specifications_stand_in_no_story_and_leave_all_other_rows_as_they_are():
    plain, made = (specifications.make_data(arguments(*flags)) for flags in ((), ("--held_out", "7")))
    assert hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16] == "57c286d625328ca4"
    assert texts_of(made) == texts_of(plain)
    rows = made["sft"]["test"]
    assert [group(row["specification"]) for row in rows] == ["poster", "poster", *["inside", "outside"] * 5, *["outside"] * 2]
    assert [row for row in rows if group(row["specification"]) == "inside"] == plain["sft"]["test"]
    assert not any(row["comment_texts"] for row in rows if group(row["specification"]) != "inside")
    texts = texts_of(specifications.make_data(arguments("--pretraining", "1500")))
    for values in OUTSIDE.values():
        assert [value for value in values if re.search(rf"\b{re.escape(value.casefold())}\b", texts)] == []
    for kind in ("female", "male", "objects"):
        words = [set(re.findall(r"[a-z]+", value.casefold())) for value in OUTSIDE[kind]]
        assert all(any(not re.search(rf"\b{word}\b", texts) for word in own) for own in words), kind


def test_the_rules_read_stories_of_held_out_specifications():
    rng = np.random.default_rng(0)
    drawn = draw_specifications(rng, 150, OUTSIDE)
    found = [check(spec, write_story(rng, spec)) for spec in drawn]
    assert all(kept for one in found for kept in one.values())
    assert all(from_prompt(spec.to_prompt()) == spec for spec in drawn)


def test_sft_stories_are_of_mixed_quality():
    """So that preference training has something to gain."""
    rng = np.random.default_rng(4)
    specs = draw_specifications(rng, 200)
    rows = [specifications.story_row(rng, spec, ("horror",), 0.65) for spec in specs]
    kept = [check(spec, row["comment_texts"][0])["twist_revealed"] for spec, row in zip(specs, rows, strict=True)]
    assert 0.68 < np.mean(kept) < 0.86  # 0.65 good, and a third of the faults reveal it too, but early


def test_a_second_run_is_skipped_and_other_settings_refused(data, capsys):
    assert specifications.main(["--output", str(data), *SMALL]) == 0
    assert "skipped" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        specifications.main(["--output", str(data), *SMALL, "--seed", "5"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_what_a_specification_lacks_is_said(written):
    from diversity_tuning.errors import UserError

    values = vars(written[0][0])
    for broken, word in (
        ({**values, "twist": ""}, "twist"),
        ({**values, "taboo_kept": "yes"}, "taboo_kept"),
        ({}, "title"),
        ([], "mapping"),
    ):
        with pytest.raises(UserError, match=word):
            from_mapping(broken)
    assert Quality() == GOOD


def test_matched_pairs_are_as_likely_and_as_long_as_each_other():
    """Under a scorer that finds every fault, first drafts are told apart and matched ones are not, nor by words."""
    from studies.horror import matched

    rng = np.random.default_rng(6)
    _, rows = specifications.preference_rows(rng, draw_specifications(rng, 60), 2)

    def score(pairs):
        """Half a nat a constraint kept, and as much chance as fluency brings."""
        kept = [sum(check(from_prompt(prompt), story).values()) for prompt, story in pairs]
        return 2.0 * np.array(kept) + rng.normal(0, 2, len(pairs))

    made, shares = matched.match(rng, rows, 8, score)
    assert shares["before"] > 0.65
    assert 0.35 < shares["after"] < 0.6
    assert shares["pairs"] == 120
    assert shares["kept"] == len(made) > 90
    found = separability(made)
    assert found["length_accuracy"] <= 0.58
    assert found["bag_of_words_accuracy"] <= 0.62
    for row in made:
        spec = from_mapping(row["specification"])
        assert all(check(spec, row["chosen"][1]["content"]).values())
        assert not all(check(spec, row["rejected"][1]["content"]).values())


def test_the_matched_command_scores_with_the_base_model(data, base, tmp_path):
    from studies.horror import matched

    flags = ["--data", str(data), "--base_model", str(base), "--drafts", "2", "--gap", "1000", "--output", str(tmp_path / "m")]
    assert matched.main(flags) == 0
    shares = json.loads((tmp_path / "m" / "likelihood.json").read_text())
    assert shares.keys() == {"train", "validation", "test"}
    assert len(load_from_disk(str(tmp_path / "m"))["train"]) == 24
