"""What is read of an LLM's reply, and what is refused: never a guess."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diversity_tuning.judging import replies
from diversity_tuning.judging.replies import BadReply, parse_judge, read_object, verdict

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(lambda text: text.strip())
TALK = st.text(st.characters(codec="utf-8", exclude_characters="{}｛｝﹛﹜<"), max_size=30)
FULL = str.maketrans('{}:,"0123456789', "｛｝：，＂０１２３４５６７８９")


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([0, 1]), TEXTS, TALK, TALK, st.booleans(), st.booleans())
def test_the_object_is_found_among_talk_and_fences(one, reason, before, after, fence, indent):
    """Whatever the reason holds, braces and quotes too."""
    text = json.dumps({"verdict": one, "reason": reason}, ensure_ascii=False, indent=2 if indent else None)
    text = f"```json\n{text}\n```" if fence else text
    assert parse_judge(f"{before}\n{text}\n{after}") == {"verdict": one, "reason": reason.strip()}


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    """No other exception than BadReply, and no verdict out of nothing."""
    with pytest.raises(BadReply):
        parse_judge(text.replace("verdict", ""))


@settings(deadline=None, max_examples=60)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), st.lists, max_leaves=5))
def test_only_these_are_verdicts(value):
    known = {"0": 0, "1": 1, "good": 1, "bad": 0, "好": 1, "坏": 0, "合格": 1, "不合格": 0}
    if isinstance(value, bool | int | float) and value in (0, 1):
        assert verdict(value) == int(value)
    elif not (isinstance(value, str) and value.strip().lower() in known):
        with pytest.raises(BadReply, match="neither 0 nor 1"):
            verdict(value)


@pytest.mark.parametrize(
    ("said", "read"),
    [(0, 0), (1, 1), (0.0, 0), (1.0, 1), (True, 1), (False, 0), ("0", 0), ("1", 1), ("１", 1), ("Good", 1), (" bad ", 0),
     ("好", 1), ("坏", 0), ("合格", 1), ("不合格", 0)],
)  # fmt: skip
def test_verdicts(said, read):
    assert parse_judge(json.dumps({"verdict": said, "reason": "x"}))["verdict"] == read


@pytest.mark.parametrize(
    "said", [2, -1, 1.5, None, [1], {"verdict": 1}, "", "not good", "Good!", "yes", "不好", "1/0", "0 or 1"]
)
def test_what_is_no_verdict(said):
    with pytest.raises(BadReply, match="neither 0 nor 1"):
        parse_judge(json.dumps({"verdict": said, "reason": "x"}))


@pytest.mark.parametrize(
    "reply",
    [
        "｛＂verdict＂：１，＂reason＂：＂好：真，“妙”＂｝",
        '{“verdict”: 1, “reason”: “好：真，\\"妙\\"”}',
        '好的，判断如下：｛"verdict"：１，"reason"："好：真，“妙”"，｝',
        '{"verdict": 1, "reason": "好：真，“妙”",\n}',
        'My verdict {as asked}:\n```json\n{"verdict": 1, "reason": "好：真，“妙”"}\n```\nI hope that helps!',
        '<think>{"verdict": 0, "reason": "x"}</think>{"verdict": 1, "reason": "好：真，“妙”"}',
        '{"verdict": 1, "reason": "好：真，“妙”"} and again {"verdict": 1, "reason": "好：真，“妙”"}',
        '{"note": {}} {"verdict": 1, "reason": "好：真，“妙”", "confidence": [0.9,]}',
    ],
)
def test_what_models_write(reply):
    """Inside a text full-width punctuation stays as it is."""
    assert parse_judge(reply) in ({"verdict": 1, "reason": "好：真，“妙”"}, {"verdict": 1, "reason": '好：真，"妙"'})


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "no JSON object with 'verdict', 'reason'"),
        ("I cannot judge this.", "no JSON object"),
        ("verdict: 1", "no JSON object"),
        ('["verdict", 1]', "no JSON object"),
        ('{"verdict": 1}', "no key 'reason'"),
        ('{"reason": "x"}', "no key 'verdict'"),
        ('{"verdict": 1, "reason": ""}', "'reason' is empty"),
        ('{"verdict": 1, "reason": ["x"]}', "'reason' is not a text"),
        ('{"answer": {"verdict": 1, "reason": "x"}}', "no JSON object"),  # nested: of whom it speaks is not known
        ('{"answer": {"verdict": 1, "reason": "x"}', "not JSON"),
        ('{"verdict": 1, "reason": "x"', "not JSON"),
        ('{"verdict": 1, "reason": "x', "not JSON"),
        ('{"verdict": 1, "reason": "x",,}', "not JSON"),
        ('{"verdict": 1, "verdict": 0, "reason": "x"}', "comes twice"),
        ('{"verdict": NaN, "reason": "x"}', "NaN is not JSON"),
        ('{"verdict": 1, "reason": "x"} {"verdict": 0, "reason": "x"}', "2 different JSON objects"),
        ('{"verdict": 1, "reason": "x"} {"verdict": 0', "not JSON"),
        ("{'verdict': 1, 'reason': 'x'}", "not JSON"),
        ("{" * 5000, "not JSON"),
        ('{"verdict": ' + "[" * 100_000 + "]" * 100_000 + "}", "not JSON"),
        ("<think>{", "reasoning was not closed"),
    ],
)
def test_what_is_refused(reply, why):
    with pytest.raises(BadReply, match=why):
        parse_judge(reply)


def test_roles():
    assert replies.parse_strengths('{"strengths": {" plot ": " leads on "}}') == {"strengths": {"plot": "leads on"}}
    assert replies.parse_weaknesses('{"weaknesses": {}}') == {"weaknesses": {}}
    assert replies.parse_generator('{"response": "A story.", "explanation": "No twist."}')["explanation"] == "No twist."
    assert replies.parse_detector('{"verdict": "Bad", "reason": "x", "suggestion": ""}') == {
        "verdict": 0, "reason": "x", "suggestion": "",
    }  # fmt: skip
    assert replies.parse_reflector('{"why": "a", "missing": "b"}') == {"why": "a", "missing": "b"}
    assert replies.parse_optimizer('{"rules": ["no\\n sentence  twice"]}')["rules"] == ["no sentence twice"]
    assert parse_judge('{"verdict": 0, "reason": "half \\ud83d"}')["reason"].encode()  # can be written to a file


@pytest.mark.parametrize(
    ("parse", "reply"),
    [
        (replies.parse_strengths, '{"strengths": ["plot", {"a": "b"}]}'),
        (replies.parse_strengths, '{"strengths": {"plot": 1}}'),
        (replies.parse_strengths, '{"weaknesses": {}}'),
        (replies.parse_weaknesses, '{"weaknesses": "none"}'),
        (replies.parse_generator, '{"response": " ", "explanation": "x"}'),
        (replies.parse_detector, '{"reason": "x", "suggestion": ""}'),
        (replies.parse_reflector, '{"why": "x"}'),
        (replies.parse_optimizer, '{"rules": []}'),
        (replies.parse_optimizer, '{"rules": "one"}'),
        (replies.parse_optimizer, '{"rules": ["a", ""]}'),
    ],
)
def test_wrong_types(parse, reply):
    with pytest.raises(BadReply):
        parse(reply)


@pytest.mark.parametrize(
    ("parse", "reply", "read"),
    [
        (replies.parse_detector, {"verdict": 1, "reason": "x"}, {"verdict": 1, "reason": "x", "suggestion": ""}),
        (replies.parse_detector, {"verdict": 1}, {"verdict": 1, "reason": "", "suggestion": ""}),
        (
            replies.parse_detector, {"verdict": 0, "reason": ["x"], "suggestion": None},
            {"verdict": 0, "reason": "", "suggestion": ""},
        ),
        (replies.parse_reflect, {"verdict": 1, "overturned": "no"}, {"verdict": 1, "reason": ""}),
        (replies.parse_generator, {"response": "A story."}, {"response": "A story.", "explanation": ""}),
        (replies.parse_reflector, {"missing": "b", "why": 3}, {"why": "", "missing": "b"}),
        (replies.parse_strengths, {"strengths": ["plot", "voice"]}, {"strengths": {"plot": "", "voice": ""}}),
        (replies.parse_weaknesses, {"weaknesses": []}, {"weaknesses": {}}),
        (replies.parse_optimizer, {"rules": [str(i) for i in range(12)]}, {"rules": list("0123456789"), "left_out": 2}),
    ],
)  # fmt: skip
def test_a_reply_is_judged_by_what_is_read_of_it(parse, reply, read):
    assert parse(json.dumps(reply)) == read


def test_two_keys_in_two_objects_are_not_put_together():
    with pytest.raises(BadReply, match="2 different"):
        read_object('{"verdict": 1} {"reason": "x"}', ("verdict", "reason"))
