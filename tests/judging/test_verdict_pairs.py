"""Verdicts to pairs: properties, counts by hand, and why there may be none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diversity_tuning.errors import UserError
from studies.judges.verdict_pairs import report, verdict_pairs


def row(prompt, response, verdict):
    if verdict is None:
        return {"prompt": prompt, "response": response, "failed": {"stage": "judge", "reason": "no", "reply": ""}}
    return {"prompt": prompt, "response": response, "reflect": {"verdict": verdict}, "judge": {"verdict": 1 - verdict}}


ROWS = st.lists(
    st.builds(row, st.sampled_from("pqr"), st.text("ab", min_size=1, max_size=6), st.sampled_from([0, 1, None])), max_size=25
)


@settings(deadline=None, max_examples=150)
@given(ROWS, st.randoms(), st.none() | st.floats(0, 1), st.none() | st.integers(1, 3), st.sampled_from([0, 0.4]))
def test_pairs(rows, random, length_match, max_pairs, validation):
    options = {"length_match": length_match, "max_pairs": max_pairs, "validation": validation}
    verdicts = {}
    for one in rows:
        if "failed" not in one:
            verdicts.setdefault((one["prompt"], one["response"]), set()).add(one["reflect"]["verdict"])
    wanted = {
        (p, good, bad)
        for (p, good), one in verdicts.items()
        for (q, bad), other in verdicts.items()
        if p == q and one == {1} and other == {0}
        and (length_match is None or min(len(good), len(bad)) / max(len(good), len(bad)) >= length_match)
    }  # fmt: skip
    try:
        splits, counts = verdict_pairs(rows, **options)
    except UserError:
        assert not wanted
        return
    found = [(one["prompt"], one["chosen"], one["rejected"]) for part in splits.values() for one in part]
    assert len(set(found)) == len(found) == counts.pairs
    assert set(found) <= wanted
    if max_pairs is None:
        assert set(found) == wanted
    per_prompt = [sum(one[0] == p for one in found) for p in "pqr"]
    most = [sum(one[0] == p for one in wanted) for p in "pqr"]
    assert per_prompt == [n if max_pairs is None else min(n, max_pairs) for n in most]
    prompts = [{one["prompt"] for one in part} for part in splits.values()]
    assert len(prompts) == 1 or not prompts[0] & prompts[1]
    shuffled = random.sample(rows, len(rows))
    assert verdict_pairs(shuffled, **options)[0] == splits


def test_counts_by_hand():
    rows = [
        row("p", "good", 1), row("p", "good", 1), row("p", "fine", 1), row("p", "bad", 0), row("p", "far too long to match", 0),
        row("q", "one", 1), row("r", "a", 0), row("r", "b", 0), row("s", "c", 1), row("s", "d", 1), row("s", "e", 1),
        row("p", "both", 1), row("p", "both", 0), row("p", "broken", None),
    ]  # fmt: skip
    splits, counts = verdict_pairs(rows, length_match=0.7, max_pairs=1)
    assert (counts.rows, counts.failed, counts.duplicates, counts.contradicted) == (14, 1, 2, 1)
    assert (counts.prompts, counts.one_response, counts.all_good, counts.all_bad) == (4, 1, 1, 1)
    assert (counts.ties, counts.too_far_apart, counts.over_max_pairs, counts.pairs) == (1 + 1 + 1 + 3, 2, 1, 1)
    assert counts.splits == {"train": 1}
    assert splits["train"][0]["rejected"] == "bad"
    said = report(counts)
    for part in ("14 rows, 4 prompts, 1 pairs (1 train)", "1 rows without a verdict", "6 pairs of equal verdicts",
                 "2 pairs left out by --length_match", "chosen is the longer one in 100% of the pairs"):  # fmt: skip
        assert part in said


def test_whose_verdict_counts():
    rows = [row("p", "one", 1), row("p", "two", 0)]
    assert verdict_pairs(rows)[0]["train"][0]["chosen"] == "one"
    assert verdict_pairs(rows, "judge")[0]["train"][0]["chosen"] == "two"


def test_a_share_of_the_prompts_is_held_out():
    rows = [row(f"p{i}", text, verdict) for i in range(20) for text, verdict in (("a", 1), ("b", 0), ("c", 0))]
    splits, counts = verdict_pairs(rows, validation=0.25)
    assert counts.splits == {"train": 30, "validation": 10}
    assert verdict_pairs(rows, validation=0.25, seed=1)[0] != splits


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([row("p", "a", 1), row("q", "b", 0)], "each of 2 prompts has one response; sample several"),
        ([row("p", "a", 1), row("p", "b", 1)], "of 1 prompts 1 have good responses only, 0 bad ones only, 0 a single one"),
        ([row("p", "a", 0), row("p", "b", 0)], "0 have good responses only, 1 bad ones only"),
        ([row("p", "a", None)], "1 of 1 rows have no verdict"),
        ([row("p", "a", 1), row("p", "bbbb", 0)], "all 1 are further apart than --length_match 0.5 allows"),
    ],
)
def test_why_there_is_no_pair(rows, told):
    with pytest.raises(UserError) as error:
        verdict_pairs(rows, length_match=0.5)
    assert told in str(error.value)
