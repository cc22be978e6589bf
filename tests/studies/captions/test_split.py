"""Votes standardised, captions dealt to parts, copies told: against numbers worked out by hand."""

import json

import numpy as np
import pytest

from diversity_tuning.data.sources import open_saved
from diversity_tuning.errors import UserError
from studies.captions import split
from studies.captions.copies import NEAR, normalised, similarity_to
from studies.captions.split import distinct
from studies.captions.votes import deal, standardised

SHARES = {"train": None, "other": 0.45, "validation": 0.03, "test": 0.07}


def test_votes_are_standardised_by_hand():
    """log(1 + v) of 0, e − 1, e² − 1 is 0, 1, 2: mean 1, standard deviation √(2/3)."""
    votes = [0, np.e - 1, np.e**2 - 1]
    assert standardised(votes) == pytest.approx([-np.sqrt(1.5), 0, np.sqrt(1.5)])
    assert list(standardised([3, 3])) == [0, 0]
    assert standardised([]).shape == (0,)


def test_captions_are_dealt_once_and_in_these_sizes():
    dealt = deal(100, SHARES, np.random.default_rng(0))
    assert {name: len(places) for name, places in dealt.items()} == {"train": 45, "other": 45, "validation": 3, "test": 7}
    assert sorted(np.concatenate(list(dealt.values()))) == list(range(100))
    assert [len(places) for places in deal(33, SHARES, np.random.default_rng(0)).values()] == [17, 14, 0, 2]
    again = deal(100, SHARES, np.random.default_rng(1))
    assert not np.array_equal(dealt["test"], again["test"])


def test_case_and_punctuation_do_not_count():
    assert normalised("Don’t  STEP on\tme!") == normalised("don't step on me") == "dont step on me"
    assert normalised("...") == ""
    texts = ["A fox.", "a FOX", "...", "A hen."]
    assert list(distinct(texts, [1, 5, 9, 0])) == [1, 3]
    assert list(distinct(texts, [5, 5, 9, 0])) == [0, 3]


def test_similarity_by_hand():
    """ "abcd" and "abce" share "abc": 2 · 3 / 8 = .75, below the threshold; ten letters of which nine are shared: 18 / 20."""
    found = similarity_to(["abcdefghij", "abcd", "!!", "Kept, kept."], ["abcdefghix", "abce", "kept kept"])
    assert found == pytest.approx([0.9, 0.0, 0.0, 1.0])
    assert 0.75 < NEAR <= 0.9
    assert list(similarity_to(["a"], [])) == [0]


def test_parts_share_contests_and_no_caption(source, tmp_path):
    output = tmp_path / "data"
    argv = ["--source", str(source), "--output", str(output), "--seed", "3", "--test", "0.1"]
    assert split.main(argv) == 0
    scored, other = open_saved(output / "scored"), open_saved(output / "other")
    parts = [*scored.values(), *other.values()]
    assert [len(rows["comment_texts"][0]) for rows in parts] == [39, 2, 9, 40]
    for rows in parts:
        assert rows["post_title"] == ["A dog show.", "A cat show."]
        assert all(len(one) == len(votes) for one, votes in zip(rows["comment_texts"], rows["transformed_score"], strict=True))
    for contest in range(2):
        every = [normalised(text) for rows in parts for text in rows["comment_texts"][contest]]
        assert len(every) == len(set(every)) == 90
    row = scored["train"][0]
    assert all(
        (votes == 20) == ("dog" in text) for text, votes in zip(row["comment_texts"], row["comment_scores"], strict=True)
    )
    first = json.loads((output / "other" / "provenance.json").read_text())
    assert first["captions"] == {
        "contests": 2, "train": 78, "other": 80, "validation": 4, "test": 18, "the same but for case and punctuation": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--half", "0.95"], "together below 1"),
        (["--test", "nan"], "together below 1"),
        (["--most", "5"], "5 is below 20"),
        (["--validation", "0.02"], "of 90 captions 1 go to the part 'validation', which needs 2"),
    ],
)
def test_bad_shares_are_one_line(source, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit) as caught:
        split.main(["--source", str(source), "--output", str(tmp_path / "x"), *flags])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_contest_with_too_few_captions_is_named(tmp_path, capsys):
    path = tmp_path / "few.jsonl"
    row = {"post_title": "A fox", "post_text": "", "post_scores": 1, "comment_texts": ["a", "b"], "comment_scores": [1, 0]}
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(SystemExit):
        split.main(["--source", str(path), "--output", str(tmp_path / "x")])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "contest 1 ('A fox') has 2 captions" in error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([{}, {"comment_scores": [3, -5, *[0] * 28]}], "contest 2 ('B'): caption 2 has -5 votes; votes count from 0 up"),
        ([{}, {"post_title": '[CC] "A"'}], "contest 2 ('[CC] \"A\"') has the same prompt as contest 1"),
    ],
)
def test_contests_that_cannot_be_compared_are_named(tmp_path, capsys, changes, message):
    """log(1 + v) has no value for −5; captions of two contests with one prompt would be told apart by nothing."""
    path = tmp_path / "contests.jsonl"
    row = {"post_text": "", "post_scores": 1, "comment_scores": list(range(30))}
    row |= {"comment_texts": [f"Caption {i}" for i in range(30)]}
    rows = [row | {"post_title": title} | change for title, change in zip("AB", changes, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(SystemExit) as caught:
        split.main(["--source", str(path), "--output", str(tmp_path / "x"), "--validation", "0.1", "--test", "0.1"])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.fixture
def stories(tmp_path):
    """Ten prompts with two to four responses each, which are 0 or 1 vote apart."""
    rows = [
        {"post_title": f"Prompt {i}", "post_text": "", "comment_texts": [f"Story {j} of {i}" for j in range(2 + i % 3)],
         "comment_scores": [j % 2 for j in range(2 + i % 3)]}
        for i in range(10)
    ]  # fmt: skip
    path = tmp_path / "stories.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_whole_prompts_are_dealt_where_responses_are_few(stories, tmp_path):
    """Of ten prompts in five folds two are tested, one is for validation, and of the seven others 40%, two, are half B."""
    output, argv = tmp_path / "data", ["--source", str(stories), "--folds", "5", "--deal", "prompts", "--half", "0.4"]
    assert split.main([*argv, "--output", str(output)]) == 0
    scored, other, policy = (open_saved(output / name) for name in ("scored", "other", "policy"))
    prompts = {part: list(rows["post_title"]) for part, rows in policy.items()}
    assert {part: list(rows["post_title"]) for part, rows in scored.items()} == prompts
    assert {part: len(own) for part, own in prompts.items()} == {"train": 5, "validation": 1, "test": 2}
    assert len(other["train"]) == 2
    every = [*other["train"]["post_title"], *(title for own in prompts.values() for title in own)]
    assert len(every) == len(set(every)) == 10
    for rows in (*policy.values(), *other.values()):
        assert all(
            len(texts) == 2 + int(title[-1]) % 3 for title, texts in zip(rows["post_title"], rows["comment_texts"], strict=True)
        )
    told = json.loads((output / "other" / "provenance.json").read_text())["captions"]
    assert sum(told[part] for part in ("train", "other", "validation", "test")) == sum(2 + i % 3 for i in range(10))
    again = tmp_path / "again"
    assert split.main([*argv, "--output", str(again), "--seed", "1"]) == 0
    assert set(open_saved(again / "policy")["test"]["post_title"]).isdisjoint(prompts["test"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--deal", "prompts"], "--deal prompts: needs --folds"),
        (["--deal", "prompts", "--folds", "5", "--half", "0.1"], "of 7 prompts none goes to the part 'other'"),
        (["--folds", "5"], "2 captions, fewer than 20; leave the contest out; --folds K --deal prompts is for few"),
    ],
)
def test_few_responses_that_cannot_be_dealt_are_one_line(stories, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit, match="2"):
        split.main(["--source", str(stories), "--output", str(tmp_path / "x"), *flags])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_folds_test_every_contest_once_and_share_no_prompt():
    folds = [split.fold_rows(11, 3, fold) for fold in range(3)]
    assert sorted(row for fold in folds for row in fold["test"]) == list(range(11))
    for fold, before in zip(folds, [folds[-1], *folds], strict=False):
        assert sorted(fold["train"] + fold["validation"] + fold["test"]) == list(range(11))
        assert set(fold["validation"]) < set(before["test"])
    with pytest.raises(UserError, match="of 2 contests none is left for train"):
        split.fold_rows(2, 2, 0)
