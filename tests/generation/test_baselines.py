"""Ways to ask for several responses: what the engine is asked, and what is made of its answers."""

from collections import Counter

import pytest

from diversity_tuning.generation import baselines
from diversity_tuning.generation.baselines import independent, iterative, read_candidates, seeded, verbalized
from diversity_tuning.generation.requests import Failure, Sample, SamplingSettings

PROMPTS = {7: "a door", 9: "the moon"}
SETTINGS = SamplingSettings(max_new_tokens=10)


class Script:
    """An engine that answers by a function of the request and remembers what it was asked."""

    def __init__(self, answer):
        self.answer, self.asked, self.settings = answer, [], []

    def complete(self, requests, settings, seed=0):
        self.asked += requests
        self.settings.append(settings)
        for i, request in reversed(list(enumerate(requests))):
            answer = self.answer(request)
            yield [(i, answer if isinstance(answer, Failure) else Sample(answer, True, 5))]


def collect(answers):
    pairs = [pair for batch in answers for pair in batch]
    assert len(pairs) == len(dict(pairs))
    return {key: answer.text if isinstance(answer, Sample) else answer for key, answer in pairs}


def test_independent_asks_for_what_is_missing():
    engine = Script(lambda request: f"{request.key} {request.sample}")
    found = collect(independent(engine, PROMPTS, {(7, 1): "there"}, 2, SETTINGS, 0))
    assert found == {(7, 0): "a door 0", (9, 0): "the moon 0", (9, 1): "the moon 1"}


def test_iterative_shows_what_came_before():
    engine = Script(lambda request: f"{request.messages[0][1]} {request.sample}")
    found = collect(iterative(engine, PROMPTS, {(7, 0): "there"}, 3, SETTINGS, 0))
    assert set(found) == {(7, 1), (7, 2), (9, 0), (9, 1), (9, 2)}
    last = next(request for request in engine.asked if request.sample == 2 and request.messages[0][1] == "a door")
    another = ("user", baselines.ANOTHER)
    assert last.messages == (("user", "a door"), ("assistant", "there"), another, ("assistant", "a door 1"), another)


def test_iterative_after_a_failure():
    engine = Script(lambda request: Failure("down") if request.messages[0][1] == "a door" and request.sample == 1 else "x")
    found = collect(iterative(engine, PROMPTS, {}, 3, SETTINGS, 0))
    assert found[7, 1].error == "down"
    assert found[7, 2].error == "the response before it is missing: down"
    assert found[9, 2] == "x"
    assert len(engine.asked) == 5


def tagged(*pairs):
    return "\n".join(f"<response>\n<text>{text}</text>\n<probability>{p}</probability>\n</response>" for text, p in pairs)


def test_verbalized_draws_by_probability_without_replacement():
    pairs = [("rare", 0.05), ("usual", 0.6), ("some", 0.2), ("other", 0.15)]
    engine = Script(lambda request: tagged(*pairs))
    prompts = dict(enumerate(f"prompt {i}" for i in range(4000)))
    found = collect(verbalized(engine, prompts, {}, 2, SETTINGS, 0, candidates=4))
    first = Counter(found[row, 0] for row in prompts)
    for text, probability in pairs:
        assert first[text] / 4000 == pytest.approx(probability, abs=0.03)
    after_usual = Counter(found[row, 1] for row in prompts if found[row, 0] == "usual")
    assert after_usual["some"] / after_usual.total() == pytest.approx(0.5, abs=0.05)
    assert after_usual["usual"] == 0
    assert engine.settings[0].max_new_tokens == 40
    assert "Give 4 responses" in engine.asked[0].messages[0][1]
    assert "prompt 17" in engine.asked[17].messages[0][1]


def test_verbalized_goes_on_with_the_same_draw():
    engine = Script(lambda request: tagged(*((f"{request.key[-6:]} {i}", 0.2) for i in range(5))))
    whole = collect(verbalized(engine, PROMPTS, {}, 4, SETTINGS, 3))
    rest = collect(verbalized(engine, PROMPTS, {(7, 1): "there", (7, 3): "there"}, 4, SETTINGS, 3))
    assert rest == {key: text for key, text in whole.items() if key not in {(7, 1), (7, 3)}}
    assert collect(verbalized(engine, PROMPTS, {}, 4, SETTINGS, 4)) != whole


def test_verbalized_asks_anew_where_too_few_can_be_read():
    good = tagged(("a", 0.5), ("b", 0.5))
    engine = Script(lambda request: good if request.sample == 4 or "moon" in request.key else "I would rather not.")
    answers = dict(pair for batch in verbalized(engine, PROMPTS, {}, 2, SETTINGS, 0, 2, tried={7: 3}) for pair in batch)
    found = {key: answer.text for key, answer in answers.items()}
    assert {found[7, 0], found[7, 1]} == {"a", "b"}
    assert [request.sample for request in engine.asked if "door" in request.key] == [3, 4]
    assert {key: answer.unread for key, answer in answers.items()} == {(7, 0): 1, (7, 1): 1, (9, 0): 0, (9, 1): 0}
    found = collect(verbalized(engine, PROMPTS, {}, 2, SETTINGS, 0, candidates=2))
    assert "0 responses could be read of the 2" in found[7, 0].error
    assert found[7, 0].unread == 3
    assert found[7, 1] == found[7, 0]
    assert set(found) == {(7, 0), (7, 1), (9, 0), (9, 1)}


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (tagged(("a", 0.5), ("b\nc", "0.25")), [("a", 0.5), ("b\nc", 0.25)]),
        (tagged(("a", "50%"), ("b", " 12.5 %")), [("a", 0.5), ("b", 0.125)]),
        (tagged(("a", ".5"), ("b", "1e-3"), ("c", "~0.2")), [("a", 0.5), ("b", 0.001), ("c", 0.2)]),
        (tagged(("a", 0.5), ("b", "likely"), ("c", 0.1), ("d", 0)), [("a", 0.5), ("b", 0.3), ("c", 0.1), ("d", 0.3)]),
        (tagged(("a", "?"), ("b", "?")), [("a", 1.0), ("b", 1.0)]),
        (tagged(("a", 0.5), ("a", 0.4), ("", 0.3)), [("a", 0.5)]),
        ("Sure!\n" + tagged(("a", 0.5)) + "\n<response><text>cut he", [("a", 0.5)]),
        ("<response><text>a</text><probability>0.5</probability><response><text>b</text></response>", [("a", 0.5), ("b", 0.5)]),
        ('```json\n{"responses": [{"text": "a", "probability": 0.5}, {"text": "b"}, "c"]}\n```', [("a", 0.5), ("b", 0.5)]),
        ('[{"text": "a", "probability": 0.1}, {"text": 3}]', [("a", 0.1)]),
        ('{"responses": {"text": "a"}}', []),
        ("1. a (0.5)", []),
        ("", []),
        ("{", []),
    ],
)
def test_candidates_are_read_as_far_as_they_can_be(answer, found):
    assert read_candidates(answer) == [(text, pytest.approx(weight)) for text, weight in found]


def test_seed_of_thought_takes_the_answer_and_asks_anew_where_there_is_none():
    """The third answer to the door's second response can be read; the moon's never can."""
    whole = "<random_string>x9#</random_string><thinking>2</thinking><answer>\n A story. \n</answer>"
    engine = Script(lambda request: whole if "a door" in request.key and request.sample in (0, 5) else "<answer>cut")
    found = collect(seeded(engine, PROMPTS, {(9, 0): "there"}, 2, SETTINGS, 0))
    assert (found[7, 0], found[7, 1]) == ("A story.", "A story.")
    assert found[9, 1].error == "no response between <answer> and </answer>"
    assert sorted(request.sample for request in engine.asked if "a door" in request.key) == [0, 1, 3, 5]
    assert all("a door" in request.key or "the moon" in request.key for request in engine.asked)
    assert engine.settings[0].max_new_tokens == 10 + 1024


def test_seed_of_thought_repeats_no_request_that_was_in_vain():
    engine = Script(lambda request: "nothing")
    for tried in (None, {(7, 0): 1}):
        collect(seeded(engine, {7: "a door"}, {}, 1, SETTINGS, 0, tried))
    assert [request.sample for request in engine.asked] == [0, 1, 2, 3, 4, 5]


def test_seed_of_thought_leaves_failures_of_the_engine():
    engine = Script(lambda request: Failure("down"))
    assert collect(seeded(engine, {7: "a door"}, {}, 1, SETTINGS, 0))[7, 0].error == "down"
    assert len(engine.asked) == 1


def test_one_baseline_at_a_time():
    from diversity_tuning.errors import UserError
    from diversity_tuning.evaluation.sampling.run import SamplingConfig

    with pytest.raises(UserError, match="--verbalized and --seed_of_thought: give one of them"):
        SamplingConfig(source="x", output="y", verbalized=5, seed_of_thought=True)
    with pytest.raises(UserError, match="--seed -1: must be at least 0"):
        SamplingConfig(source="x", output="y", seed=-1)
