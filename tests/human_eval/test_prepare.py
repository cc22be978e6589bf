"""From evaluated runs to items and key."""

import csv
import json
from pathlib import Path

import pytest

from diversity_tuning.generation import engine as engines
from diversity_tuning.generation.requests import Failure, Sample
from diversity_tuning.human_eval.annotations import read_key
from scripts_eval.prepare_human_eval_data import main
from tests.human_eval.helpers import HOSTILE, write_run

PROMPTS = [f"title {number}\nbody" for number in range(12)]


class Summariser:
    """An engine that writes the story's first word, and fails where told to."""

    def __init__(self):
        self.asked, self.fails = [], lambda message: False

    def complete(self, requests, settings, seed=0):
        for position, request in enumerate(requests):
            message = request.messages[-1][1]
            self.asked.append(message)
            story = message.split("\nStory:\n")[1].split("\n\nSummary")[0]
            yield [(position, Failure("no answer") if self.fails(message) else Sample(f"about {story}", True, 2))]


@pytest.fixture
def summariser(monkeypatch):
    made = Summariser()
    monkeypatch.setattr(engines, "make_engine", lambda args: made)
    return made


@pytest.fixture
def runs(tmp_path):
    one = {prompt: [f"one{row}s{number}" for number in range(4)] for row, prompt in enumerate(PROMPTS)}
    other = {prompt: [f"other{row}s{number}" for number in range(5)] for row, prompt in enumerate(PROMPTS)}
    return [str(write_run(tmp_path / name, name, stories)) for name, stories in (("one", one), ("other", other))]


def prepare(runs, output, *flags):
    seed = [] if "--seed" in flags else ["--seed", "0"]
    main(["--runs", *runs, "--output", str(output), "--num_prompts", "5", *seed, *flags])
    items = [json.loads(line) for line in (Path(output) / "items.jsonl").read_text().splitlines()]
    with (Path(output) / "key.csv").open(newline="") as stream:
        return {item["id"]: item["text"] for item in items}, {row["id"]: row for row in csv.DictReader(stream)}


def test_the_key_tells_what_the_items_show(runs, tmp_path):
    items, key = prepare(runs, tmp_path / "study", "--no_summaries")
    assert items.keys() == key.keys()
    assert len(items) == 5
    for identity, row in key.items():
        left, right = items[identity].split("<h2>Set B</h2>")
        for half, side in ((left, "a"), (right, "b")):
            stories = [f"{row[f'set_{side}']}{row['prompt_id']}s{n}" for n in row[f"samples_{side}"].split()]
            found = [half.index(f">{story}<") for story in stories]
            assert found == sorted(found)
            assert len(stories) == 4
        assert row["prompt"] == PROMPTS[int(row["prompt_id"])]


def test_items_hold_nothing_but_what_is_shown(tmp_path):
    stories = {prompt: [f"tale {row} {number}" for number in range(4)] for row, prompt in enumerate(PROMPTS)}
    runs = [str(write_run(tmp_path / name, name, stories)) for name in ("zebra", "quokka")]
    prepare(runs, tmp_path / "study", "--no_summaries")
    text = (tmp_path / "study" / "items.jsonl").read_text()
    assert "zebra" not in text
    assert "quokka" not in text
    rows = [json.loads(line) for line in text.splitlines()]
    assert {tuple(row) for row in rows} == {("id", "text")}
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)


def test_potato_reads_the_columns_that_are_written(runs, tmp_path):
    import yaml

    config = yaml.safe_load((Path(__file__).parents[2] / "human-eval" / "config.yaml").read_text())
    prepare(runs, tmp_path / "study", "--no_summaries")
    row = json.loads((tmp_path / "study" / "items.jsonl").read_text().splitlines()[0])
    assert set(config["item_properties"].values()) <= set(row)
    assert config["max_annotations_per_item"] == 3
    assert config["max_annotations_per_user"] == 25


def test_the_same_seed_gives_the_same_bytes_and_skip_goes_on(runs, tmp_path):
    first, _ = prepare(runs, tmp_path / "first", "--no_summaries")
    prepare(runs[::-1], tmp_path / "again", "--no_summaries")
    assert (tmp_path / "first/items.jsonl").read_bytes() == (tmp_path / "again/items.jsonl").read_bytes()
    second, _ = prepare(runs, tmp_path / "second", "--no_summaries", "--skip", "5")
    other_seed, _ = prepare(runs, tmp_path / "third", "--no_summaries", "--seed", "1")
    assert not first.keys() & second.keys()
    assert first.keys() != other_seed.keys()


def test_what_is_left_out_is_reported(tmp_path, capsys):
    good = {prompt: ["a", "b", "c", "d"] for prompt in PROMPTS}
    removed = {"[removed]\n": list("abcd"), "t\n[deleted by user]": list("abcd"), "t2\n[ Removed by Reddit ]": list("abcd")}
    one = write_run(tmp_path / "one", "one", {**good, **removed, "few\n": list("abc"), "only one\n": list("abcd")})
    other = write_run(tmp_path / "other", "other", {**good, **removed, "few\n": list("abcd"), PROMPTS[0]: ["a", "b", " ", "d"]})
    main(
        [
            "--runs",
            str(one),
            str(other),
            "--output",
            str(tmp_path / "study"),
            "--no_summaries",
            "--num_prompts",
            "40",
            "--seed",
            "0",
        ]
    )
    report = json.loads((tmp_path / "study" / "report.json").read_text())
    assert {reason: found["prompts"] for reason, found in report["dropped"].items()} == {
        "removed or deleted prompt": 3, "fewer than 4 stories in one": 1, "not in other": 1, "empty story in other": 1,
    }  # fmt: skip
    assert report["dropped"]["empty story in other"]["prompt_ids"] == [0]
    assert (report["prompts_shown"], report["prompts_missing"]) == (11, 29)
    said = capsys.readouterr().out
    assert "left out: 3 prompts, removed or deleted prompt" in said
    assert "29 items fewer than asked for" in said
    assert "removed" not in (tmp_path / "study" / "items.jsonl").read_text()


def test_the_summariser_gets_its_instruction_the_prompt_and_the_story(runs, tmp_path, summariser):
    items, _ = prepare(runs, tmp_path / "study", "--summary_words", "77")
    assert len(summariser.asked) == 5 * 8
    for message in summariser.asked:
        assert "about 77 words" in message
        assert "in the order in which it happens" in message
        assert "Begin with how it takes up the writing prompt" in message
        assert any(prompt in message for prompt in PROMPTS)
    assert all(text.count("about one") == text.count("about other") == 4 for text in items.values())
    assert not any('"story full"' in text for text in items.values())


def test_braces_in_a_story_are_not_a_template(tmp_path, summariser):
    stories = {prompt: [f"{{words}} {{0}} {number}" for number in range(4)] for prompt in PROMPTS}
    runs = [str(write_run(tmp_path / name, name, stories)) for name in ("one", "other")]
    prepare(runs, tmp_path / "study")
    assert all("{words} {0}" in message for message in summariser.asked)


def test_a_failed_summary_stops_it_and_only_that_one_is_asked_for_again(runs, tmp_path, summariser, capsys):
    summariser.fails = lambda message: "s3" in message and "one" in message
    with pytest.raises(SystemExit):
        prepare(runs, tmp_path / "study")
    error = capsys.readouterr().err
    assert "5 of 40 summaries are missing (first: no answer" in error
    assert not (tmp_path / "study").exists()
    file = tmp_path / "study.summaries.jsonl"
    content = file.read_bytes()
    assert len(content.splitlines()) == 35
    file.write_bytes(content[:-7])  # a kill in the middle of a line
    summariser.asked, summariser.fails = [], lambda message: False
    items, _ = prepare(runs, tmp_path / "study")
    assert len(summariser.asked) == 6
    assert len(items) == 5
    summariser.asked = []
    prepare(runs, tmp_path / "more", "--summaries", str(file), "--num_prompts", "8")
    assert len(summariser.asked) == 3 * 8  # the first five prompts' summaries are there
    prepare(runs, tmp_path / "study")
    assert len(summariser.asked) == 3 * 8  # nothing to do


def test_another_length_or_model_asks_anew(runs, tmp_path, summariser):
    flags = ["--summaries", str(tmp_path / "kept.jsonl")]
    prepare(runs, tmp_path / "a", *flags, "--engine", "openai", "--model", "m1")
    prepare(runs, tmp_path / "b", *flags, "--engine", "openai", "--model", "m2")
    prepare(runs, tmp_path / "c", *flags, "--engine", "openai", "--model", "m2", "--summary_words", "50")
    assert len(summariser.asked) == 3 * 40
    prepare(runs, tmp_path / "d", *flags, "--engine", "openai", "--model", "m2", "--overwrite")
    assert len(summariser.asked) == 3 * 40


@pytest.mark.parametrize("answer", [Sample("  ", True, 1), Sample("cut", False, 400)])
def test_empty_and_cut_summaries_are_not_shown(runs, tmp_path, monkeypatch, answer, capsys):
    class Bad:
        def complete(self, requests, settings, seed=0):
            yield [(position, answer) for position in range(len(requests))]

    monkeypatch.setattr(engines, "make_engine", lambda args: Bad())
    with pytest.raises(SystemExit):
        prepare(runs, tmp_path / "study")
    assert "40 of 40 summaries are missing" in capsys.readouterr().err


def test_a_longer_limit_asks_again_for_cut_summaries_only(runs, tmp_path, monkeypatch):
    asked = []

    class Cutting:
        def complete(self, requests, settings, seed=0):
            asked.append(len(requests))
            for position, request in enumerate(requests):
                long = "s2\n\nSummary" in request.messages[-1][1]
                yield [(position, Sample("a summary", not long or settings.max_new_tokens > 400, 9))]

    monkeypatch.setattr(engines, "make_engine", lambda args: Cutting())
    with pytest.raises(SystemExit):
        prepare(runs, tmp_path / "study")
    prepare(runs, tmp_path / "study", "--summary_tokens", "800")
    cut = json.loads((tmp_path / "study" / "report.json").read_text())
    assert cut["prompts_shown"] == 5
    assert asked[0] == 40
    assert 0 < asked[1] <= 10


def test_hostile_stories_survive(tmp_path):
    stories = {f"<b>{{{{7*7}}}}</b> {row}\n": HOSTILE[:4] for row in range(3)}
    others = dict.fromkeys(stories, HOSTILE[4:])
    runs = [str(write_run(tmp_path / "one", "one", stories)), str(write_run(tmp_path / "other", "=cmd|' /C calc'!A0", others))]
    items, _ = prepare(runs, tmp_path / "study", "--no_summaries")
    assert len(items) == 3
    assert set(read_key([tmp_path / "study" / "key.csv"])["set_a"]) <= {"one", "=cmd|' /C calc'!A0"}
    for text in items.values():
        assert "<script>" not in text
        assert "{{" not in text


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda one, other: ["--runs", one, one], "both runs are named 'one'"),
        (lambda one, other: ["--runs", one, "nowhere"], "nowhere: not an evaluated run"),
        (lambda one, other: ["--runs", one, "nowhere", "--names", "a", "b"], "no such file"),
        (lambda one, other: ["--runs", one, other, "--skip", "12"], "no prompt is left to show"),
        (lambda one, other: ["--runs", one, other, "--num_samples", "6"], "no prompt is left to show"),
        (lambda one, other: ["--runs", one, other, "--num_prompts", "0"], "--num_prompts"),
    ],
)
def test_errors_are_one_line(runs, tmp_path, capsys, change, complaint):
    with pytest.raises(SystemExit) as stop:
        main([*change(*runs), "--output", str(tmp_path / "study"), "--no_summaries", "--seed", "0"])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert complaint in error
    assert error.count("\n") == 1
    assert not (tmp_path / "study").exists()


def test_gold_stories_can_be_a_condition(runs, tmp_path):
    gold = tmp_path / "gold"
    gold.mkdir()
    with (gold / "scores.csv").open("w", newline="") as stream:
        table = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC)
        table.writerow(["prompt_id", "prompt", "response", "sample"])
        table.writerows([row, prompt, f"gold{row}s{n}", n] for row, prompt in enumerate(PROMPTS) for n in range(4))
    _, key = prepare([runs[0], str(gold)], tmp_path / "study", "--no_summaries", "--names", "model", "people")
    assert {row["set_a"] for row in key.values()} | {row["set_b"] for row in key.values()} == {"model", "people"}
