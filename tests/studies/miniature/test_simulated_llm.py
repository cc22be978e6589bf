"""The simulated LLM: its rules against known stories, its errors against their rates, its roles, and its server."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from diversity_tuning.errors import UserError
from diversity_tuning.generation.apis import OpenAI
from diversity_tuning.generation.remote import HttpEngine
from diversity_tuning.generation.requests import Sample, SamplingSettings, user_request
from studies.miniature import flawed_stories
from studies.miniature.recognise import craft
from studies.miniature.simulated_llm import answers
from studies.miniature.simulated_llm.answers import DROP, Settings, answer
from studies.miniature.simulated_llm.flaws import POOL, flaws_of, named_in
from studies.miniature.simulated_llm.prompt import entries, read_prompt
from studies.miniature.simulated_llm.server import MODEL, simulated_server
from studies.miniature.simulated_llm.writing import write_flawed
from studies.miniature.specification import draw_specification

SURE = Settings(noise=0)
ASKS = {
    "positive": '{"strengths": {}}', "negative": '{"weaknesses": {}}', "judge": '{"verdict": 1, "reason": ""}',
    "reflect": '{"verdict": 1, "reason": "", "overturned": true}', "generator": '{"response": "", "explanation": ""}',
    "detector": '{"verdict": 1, "reason": "", "suggestion": ""}', "reflector": '{"why": "", "missing": ""}',
    "optimizer": '{"rules": []}',
}  # fmt: skip


def prompt(role, **inputs):
    filled = "\n".join(f"<{tag}>\n{value}\n</{tag}>" for tag, value in inputs.items())
    return f"You are asked.\n{filled}\nReply with {ASKS[role]}"


def ask(role, settings=SURE, seed=0, **inputs):
    return json.loads(answer(prompt(role, **inputs), seed, settings))


def principles(*names):
    return "\n".join(f"{number}. {POOL[name].principle}" for number, name in enumerate(names, start=1))


def draw(seed, *flaws):
    """A prompt of the miniature, and a story with these flaws."""
    rng = np.random.default_rng(seed)
    specification = draw_specification(rng)
    return "\n".join(specification.to_post()), write_flawed(rng, specification, set(flaws)), specification


@pytest.mark.parametrize("flaw", POOL.values(), ids=list(POOL))
def test_every_sentence_about_a_flaw_names_it_alone(flaw):
    for sentence in (flaw.principle, flaw.strategy, flaw.complaint):
        assert named_in(sentence) == {flaw.name}


@pytest.mark.parametrize("name", [*POOL, None])
def test_a_flaw_that_was_put_in_is_found_and_no_other(name):
    """Of a text that is too short, or nonsense, little of the story is left."""
    for seed in range(8):
        _, text, specification = draw(seed, *([name] if name else []))
        found = flaws_of(specification, text)
        assert (name in found) if name in ("short", "nonsense") else found == ({name} if name else set())


def test_a_story_without_flaws_shows_all_craft():
    assert craft(*draw(3)[:2]) == 4


def test_the_role_is_read_behind_the_inputs_and_not_in_them():
    for role in ASKS:
        assert read_prompt(prompt(role, query="a", response='"rules" "missing" "suggestion"')).role == role
    assert read_prompt("Write a story.").role is None
    assert "simulated" in answer("Write a story.")


def test_inputs_and_lists():
    text = prompt("detector", query="one\ntwo", response="", principles="1. first\n2) second\n- third")
    read = read_prompt(text)
    assert (read.inputs["query"], read.response, read.lines("principles")) == ("one\ntwo", "", ["first", "second", "third"])
    assert entries('["a", "b"]') == ["a", "b"]
    assert entries('{"twist": "missing"}') == ["twist: missing"]
    assert entries("[]") == entries("(none)") == entries("") == []


def test_a_detector_judges_by_the_principles_that_it_knows_alone():
    for seed in range(10):
        query, text, _ = draw(seed, "twist")
        verdict = {
            rules: ask("detector", query=query, response=text, principles=rules)["verdict"]
            for rules in (principles("twist", "hero"), principles("hero", "ending"), "Be heartfelt.", "[]")
        }
        assert list(verdict.values()) == [0, 1, 1, 1]


def test_errors_come_at_the_rates_of_the_flaw_and_grow_with_the_noise():
    specification = draw(0)[2]
    flaws = {True: {"twist"}, False: set()}
    texts = {there: write_flawed(np.random.default_rng(1), specification, put_in) for there, put_in in flaws.items()}
    query = "\n".join(specification.to_post())

    def good(there, noise):
        text = prompt("detector", query=query, response=texts[there], principles=principles("twist"))
        return np.mean([json.loads(answer(text, seed, Settings(noise=noise)))["verdict"] for seed in range(1500)])

    twist = POOL["twist"]
    assert abs(good(True, 1) - twist.missed * (1 - 0.02)) < 0.025
    assert abs(good(True, 3) - 3 * twist.missed * (1 - 0.06)) < 0.04
    assert abs(1 - good(False, 1) - (twist.imagined + 0.02)) < 0.02
    assert (good(True, 0), good(False, 0)) == (0, 1)


def test_the_same_prompt_and_seed_get_the_same_reply():
    query, text, _ = draw(2, "twist")
    asked = prompt("detector", query=query, response=text, principles=principles(*list(POOL)[:9]))
    replies = [answer(asked, seed, Settings(noise=2)) for seed in range(40)]
    assert replies == [answer(asked, seed, Settings(noise=2)) for seed in range(40)]
    assert len(set(replies)) > 5
    assert replies != [answer(asked, seed, Settings(noise=2, seed=1)) for seed in range(40)]


def test_replies_do_not_depend_on_the_order_of_sets():
    """Python draws that order anew in every process."""
    program = (
        "from studies.miniature.simulated_llm.answers import Settings, answer\n"
        "import sys\n"
        "for seed in range(20): print(answer(sys.argv[1], seed, Settings(leniency=0.5)))"
    )
    query, text, _ = draw(5, "taboo", "twist", "tense")
    words = [sys.executable, "-c", program, prompt("positive", query=query, response=text)]
    said = [
        subprocess.run(words, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout
        for seed in "123"
    ]
    assert said[0] == said[1] == said[2]
    assert "simulated: it keeps to this" in said[0]


def verdicts(role, settings, texts, **inputs):
    return np.mean([ask(role, settings, seed, query=q, response=t, **inputs)["verdict"] for seed, (q, t) in enumerate(texts)])


def test_length_bias_lets_long_texts_pass_and_short_ones_not():
    long = [draw(seed, "hero", "rambling")[:2] for seed in range(40)]
    short = [(query, " ".join(text.split()[:45])) for query, text in long]
    rules = {"principles": principles("hero")}
    biased = Settings(noise=0, length_bias=0.8)
    assert verdicts("detector", SURE, long, **rules) == 0
    assert 0.6 < verdicts("detector", biased, long, **rules) < 0.97
    assert verdicts("detector", biased, short, **rules) == 0
    assert 0.3 < verdicts("detector", Settings(noise=0, leniency=0.6), short, **rules) < 0.85


def test_written_weaknesses_and_a_second_look_take_the_bias_away():
    """By the simulated LLM's own rules: a listed weakness makes it look again."""
    long = [draw(seed, "hero", "rambling")[:2] for seed in range(60)]
    biased = Settings(noise=0, length_bias=0.8)
    rubric, blamed = principles("hero"), json.dumps({"hero": POOL["hero"].complaint})
    lists = {"rubric": rubric, "strengths": "{}"}
    alone = verdicts("judge", biased, long, weaknesses="{}", **lists)
    debated = verdicts("judge", biased, long, weaknesses=blamed, **lists)
    passed = json.dumps({"verdict": 1, "reason": "it is fine"})
    reflected = verdicts("reflect", biased, long, weaknesses=blamed, judge_verdict=passed, **lists)
    assert alone > 0.6
    assert debated < 0.25
    assert reflected < 0.25
    assert verdicts("reflect", biased, long, weaknesses="{}", judge_verdict=passed, **lists) == 1


def test_a_blame_that_cannot_be_confirmed_is_overturned():
    query, text, _ = draw(1)
    blamed = json.dumps({"verdict": 0, "reason": POOL["twist"].complaint})
    reply = ask("reflect", query=query, response=text, weaknesses="{}", strengths="{}", judge_verdict=blamed)
    assert (reply["verdict"], reply["overturned"]) == (1, True)
    query, text, _ = draw(1, "twist")
    reply = ask("reflect", query=query, response=text, weaknesses="{}", strengths="{}", judge_verdict=blamed)
    assert (reply["verdict"], reply["overturned"]) == (0, False)


def test_critics():
    query, text, _ = draw(4, "twist", "moral")
    assert set(ask("negative", query=query, response=text)["weaknesses"]) == {"twist", "moral"}
    within = ask("negative", query=query, response=text, rubric=principles("twist", "hero"))
    assert set(within["weaknesses"]) == {"twist"}
    praised = ask("positive", query=query, response=text, rubric=principles("twist", "hero"))["strengths"]
    assert set(praised) == {"hero"}


def test_the_generator_writes_what_it_was_told_and_says_so():
    query, _, specification = draw(5)
    reply = ask("generator", query=query, strategies=f"1. {POOL['ending'].strategy}")
    assert flaws_of(specification, reply["response"]) == {"ending"}
    assert named_in(reply["explanation"]) == {"ending"}
    drawn = {ask("generator", seed=seed, query=query, strategies="[]")["explanation"] for seed in range(30)}
    assert len(drawn) > 5


def test_the_reflector_names_the_flaw_or_takes_a_principle_back():
    query, text, _ = draw(6, "twist", "moral")
    missed = ask("reflector", query=query, response=text, principles=principles("hero", "moral"), label="0", verdict="1")
    assert missed["missing"] == POOL["twist"].principle
    verdict = json.dumps({"verdict": 0, "reason": POOL["moral"].complaint})
    unjust = ask("reflector", query=query, response=text, principles=principles("hero", "moral"), label="1", verdict=verdict)
    assert unjust["missing"] == DROP + POOL["moral"].principle
    misread = json.dumps({"verdict": 0, "reason": POOL["hero"].complaint})
    unjust = ask("reflector", query=query, response=text, principles=principles("hero"), label="Good", verdict=misread)
    assert named_in(unjust["missing"]) == set()


def test_the_optimizer_adds_takes_back_and_keeps_ten():
    feedback = [POOL["ending"].principle, DROP + POOL["moral"].principle, DROP + POOL["hero"].principle, POOL["hero"].principle]
    reply = ask("optimizer", principles=principles("twist", "moral", "hero"), feedback=json.dumps(feedback))
    assert reply["rules"] == [POOL[name].principle for name in ("twist", "hero", "ending")]
    names = list(POOL)
    full = principles(*names[:9]) + "\n10. Be heartfelt."
    reply = ask("optimizer", principles=full, feedback=json.dumps([POOL[names[12]].principle] * 2))
    assert reply["rules"] == [POOL[name].principle for name in (*names[:9], names[12])]
    reply = ask("optimizer", strategies=POOL["hero"].strategy, feedback=json.dumps([POOL["tense"].strategy]))
    assert reply["rules"] == [POOL["hero"].strategy, POOL["tense"].strategy]
    assert ask("optimizer", principles="[]", feedback="[]")["rules"] == [answers.GENERAL]


@pytest.mark.parametrize("settings", [{"length_bias": 1.5}, {"leniency": -0.1}, {"noise": 9}])
def test_settings_out_of_range(settings):
    with pytest.raises(UserError, match=f"--{next(iter(settings))}"):
        Settings(**settings)


def test_the_server_answers_the_engine_of_the_project():
    query, text, _ = draw(7, "twist")
    asked = prompt("detector", query=query, response=text, principles=principles("twist"))
    with simulated_server(SURE) as url:
        engine = HttpEngine(OpenAI(), MODEL, url, cache=None)
        (found,) = [pair for batch in engine.complete([user_request(asked)], SamplingSettings()) for pair in batch]
        assert isinstance(found[1], Sample)
        assert found[1].finished
        assert found[1].tokens > 5
        assert json.loads(found[1].text)["verdict"] == 0
        short = SamplingSettings(max_new_tokens=3)
        ((_, cut),) = next(HttpEngine(OpenAI(), MODEL, url, cache=None).complete([user_request(asked)], short))
        assert not cut.finished
        with pytest.raises(UserError, match="It has simulated"):
            list(HttpEngine(OpenAI(), "other", url, cache=None).complete([user_request(asked)], SamplingSettings()))


def test_what_is_no_chat_request_is_refused():
    with simulated_server() as url:
        for path, body, status in (
            ("/chat/completions", b"[]", 400),
            ("/chat/completions", b"{}", 400),
            ("/elsewhere", b"{}", 404),
            ("/chat/completions", b'{"model": "simulated", "messages": [{"content": [1]}]}', 400),
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(url + path, data=body, timeout=10)
            assert refused.value.code == status
        assert json.loads(urllib.request.urlopen(f"{url}/models", timeout=10).read())["data"][0]["id"] == MODEL


def start(*flags, parent=""):
    command = [sys.executable, "-m", "studies.miniature.simulated_llm", *flags]
    if parent:
        command = [sys.executable, "-c", parent, *command]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_prints_its_url_and_stops_at_sigterm():
    process = start("--noise", "0")
    url = process.stdout.readline().strip()
    assert json.loads(urllib.request.urlopen(f"{url}/models", timeout=10).read())["data"]
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


def test_the_command_stops_with_its_parent():
    parent = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(600)"
    process = start(parent=parent)
    url = process.stdout.readline().strip()
    process.kill()
    process.wait()
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{url}/models", timeout=1).close()
        except OSError:
            return
        time.sleep(0.1)
    raise AssertionError("still there after 20 s")


def test_a_port_that_is_taken_is_one_line():
    with simulated_server() as url:
        process = start("--port", url.split(":")[2].split("/")[0])
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.count("\n")) == (2, "", 1)
    assert "cannot be taken" in err


def write_prompts(path, n=6):
    rng = np.random.default_rng(0)
    rows = [{"prompt": "\n".join(draw_specification(rng).to_post())} for _ in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_labelled_stories(tmp_path):
    write_prompts(tmp_path / "prompts.jsonl")
    command = ["--source", str(tmp_path / "prompts.jsonl"), "--output", str(tmp_path / "out"), "--num_prompts", "6"]
    flawed_stories.main(command)
    parts = [
        [json.loads(line) for line in (tmp_path / "out" / name).read_text().splitlines()]
        for name in ("train.jsonl", "heldout.jsonl")
    ]
    assert [len(part) for part in parts] == [12, 12]
    assert not {row["prompt"] for row in parts[0]} & {row["prompt"] for row in parts[1]}
    for row in parts[0] + parts[1]:
        assert bool(row["flaws"]) == (row["label"] == 0)
    before = (tmp_path / "out" / "train.jsonl").read_bytes()
    flawed_stories.main([*command, "--overwrite"])
    assert (tmp_path / "out" / "train.jsonl").read_bytes() == before
    with pytest.raises(SystemExit) as stopped:
        flawed_stories.main([*command, "--flaws", "moral"])
    assert stopped.value.code == 2
    (tmp_path / "other.jsonl").write_text('{"prompt": "a cat"}\n{"prompt": "a dog"}\n')
    with pytest.raises(SystemExit):
        flawed_stories.main(["--source", str(tmp_path / "other.jsonl"), "--output", str(tmp_path / "no")])
    assert not (tmp_path / "no").exists()
