"""Path B: its parts by hand, whole runs with the simulated LLM, kills, caps, faults and bad input."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from diversity_tuning.evaluation.statistics import cluster_weights
from diversity_tuning.generation.apis import OpenAI
from diversity_tuning.generation.remote import HttpEngine
from diversity_tuning.judging import agreement
from diversity_tuning.judging.agreement import length_strata
from diversity_tuning.judging.principles import SAMPLING, read_judge
from diversity_tuning.reward_functions import load_reward
from scripts_adversarial import main as adversarial
from studies.judges.adversarial import Asker, Check, Labelled, Rules, drawn, load_roles, play_round, read_data
from studies.judges.adversarial_report import write_report
from studies.judges.adversarial_run import best_round, read_rounds
from studies.judges.round_scores import balanced, selected, verdict_scores
from studies.miniature.simulated_llm.answers import DROP, Settings
from studies.miniature.simulated_llm.flaws import POOL, named_in
from studies.miniature.simulated_llm.server import reply, simulated_server
from tests.generation.server import chat_server, openai_reply
from tests.judging.judges import stories, write_rows

FLAWS = ("twist", "hero", "ending")


@pytest.fixture(scope="module")
def url():
    with simulated_server(Settings(noise=0)) as url:
        yield url


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("labels") / "labels.jsonl", stories(20, flaws=FLAWS, nuisances=("moral",)))


def command(labels, output, url, *flags, rounds=2, batch=6, cache=""):
    engine = ["--engine", "openai", "--model", "simulated", "--base_url", url, "--cache", str(cache)]
    size = ["--rounds", str(rounds), "--batch", str(batch)]
    return ["--labels", str(labels), "--output", str(output), *engine, *size, *flags]


def error_of(capsys, argv):
    """The one line that the command ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        adversarial.main(argv)
    assert stopped.value.code == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error: ")]
    return line


def test_every_item_comes_once_before_any_comes_again():
    rounds = [drawn(list("abcde"), 2, number, seed=1) for number in range(1, 6)]
    together = [*itertools.chain(*rounds)]
    assert sorted(together[:5]) == sorted(together[5:]) == list("abcde")
    assert together[:5] != together[5:]
    assert rounds[2] == drawn(list("abcde"), 2, 3, seed=1)


def test_no_prompt_of_a_held_out_row_is_learned_from(tmp_path):
    rows = stories(10)
    prompts = list(dict.fromkeys(row["prompt"] for row in rows))
    labels = write_rows(tmp_path / "labels.jsonl", rows)
    held_out = write_rows(tmp_path / "held_out.jsonl", [row for row in rows if row["prompt"] in prompts[:4]])
    data = read_data(labels, labels, held_out, 0.5, 10, 0)
    assert set(data.held_out.prompts) == set(prompts[:4])
    assert {row.query for row in data.train} == set(data.queries) == set(prompts[4:])
    shares = read_data(labels, None, None, 0.3, 10, 0)
    assert len(set(shares.held_out.prompts)) == 3
    assert {row.query for row in shares.train} == set(prompts) - set(shares.held_out.prompts)
    assert data.weights.shape == (10, 8)


def test_figures_balanced_by_length_by_hand():
    """Of strata 0 and 1, the judge is right in 3 of 4 and in 1 of 2; stratum 2 has good ones alone."""
    labels = np.array([True, True, False, False, True, False, True, True])
    verdicts = np.array([True, True, False, True, False, False, False, False])
    strata, once = np.array([0, 0, 0, 0, 1, 1, 2, 2]), np.ones((1, 8))
    assert balanced(agreement.accuracy, verdicts, labels, strata, once) == pytest.approx([(3 / 4 + 1 / 2) / 2])
    assert balanced(agreement.f1, verdicts, labels, strata, once) == pytest.approx([(0.8 + 0) / 2])
    twice = np.array([[1, 1, 1, 1, 0, 2, 1, 1.0]])
    assert balanced(agreement.accuracy, verdicts, labels, strata, twice) == pytest.approx([(3 / 4 + 1) / 2])
    assert np.isnan(balanced(agreement.accuracy, verdicts, labels, np.arange(8), once))


def test_length_alone_gains_nothing_by_length():
    responses = ["a" * n for n in [*range(10, 30), *range(110, 130)]]
    labels = np.array([n % 5 == 0 for n in range(20)] + [n % 5 != 0 for n in range(20)])
    strata = length_strata(responses)
    assert np.bincount(strata).tolist() == [10, 10, 10, 10]
    found = verdict_scores([int(len(text) > 60) for text in responses], labels, strata, cluster_weights(responses, 50, 0))
    assert found["accuracy"]["value"] == pytest.approx(0.8)
    assert found["accuracy_by_length"]["value"] == pytest.approx(0.8)  # right by the majority of each stratum
    assert found["f1_by_length"]["value"] < 0.5 < found["f1"]["value"]


def test_rows_without_a_verdict_count_as_wrong():
    labels, strata = np.array([True, False, True, False]), np.zeros(4, dtype=int)
    found = verdict_scores([1, 0, None, 1], labels, strata, cluster_weights(list("abcd"), 20, 0))
    assert (found["n"], found["without_verdict"], found["judged_good"]) == (4, 1, pytest.approx(2 / 3))
    assert found["accuracy"]["value"] == 0.5
    assert found["f1"]["value"] == 0.5  # one right of two judged good, one of two good ones found
    assert verdict_scores([1, 0, 1, 1], labels, strata, cluster_weights(list("abcd"), 20, 0))["accuracy"]["value"] == 0.75


def as_round(number, value, by_length=None):
    none = {"value": None, "low": None, "high": None}
    figure = {"value": value, "low": value, "high": value}
    balanced = none if by_length is None else {"value": by_length, "low": by_length, "high": by_length}
    found = {"n": 4, "without_verdict": 0, "judged_good": 0.5, "accuracy": figure, "f1": figure}
    return {
        "round": number, "principles": [f"rule {number}"], "strategies": [], "fooled": 0, "written": 0, "erred": 0, "judged": 0,
        "failed": {}, "calls": 1, "rejected": 0, "scores": found | {"accuracy_by_length": balanced, "f1_by_length": balanced},
    }  # fmt: skip


def test_the_best_round_is_the_first_of_the_best_by_length():
    rounds = [as_round(0, 0.9, 0.5), as_round(1, 0.7, 0.8), as_round(2, 0.95, 0.8), as_round(3, 0.99, 0.6)]
    assert best_round(rounds) == 1
    assert best_round([as_round(0, 0.5), as_round(1, 0.7)]) == 1
    assert selected(as_round(0, 0.5)["scores"]) == 0.5


def asker_of(url):
    roles = load_roles("en", "stories")
    return Asker(HttpEngine(OpenAI(), "simulated", url, cache=None), roles, SAMPLING, SAMPLING)


def test_what_fooled_the_judge_becomes_a_principle_and_what_was_caught_a_suggestion(url):
    rows = stories(6)
    queries = [row["prompt"] for row in rows]
    known = Rules([POOL["twist"].principle], [POOL["twist"].strategy])
    rules, told = play_round(asker_of(url), known, queries[:3], [], 1)
    assert [one["verdict"] for one in told["attempts"]] == [0, 0, 0]
    assert rules.principles == known.principles
    assert len(rules.strategies) > 1
    fooling = Rules([POOL["twist"].principle], [POOL["ending"].strategy])
    rules, told = play_round(asker_of(url), fooling, queries[:3], [], 1)
    assert [one["verdict"] for one in told["attempts"]] == [1, 1, 1]
    assert rules == Rules([POOL[name].principle for name in ("twist", "ending")], fooling.strategies)


def test_a_query_that_comes_again_gets_another_response(url):
    queries, start = [stories(1)[0]["prompt"]], Rules(["Be kind."], [POOL["hero"].strategy])
    texts = [play_round(asker_of(url), start, queries, [], number)[1]["attempts"][0]["response"] for number in (1, 2, 1)]
    assert texts[0] == texts[2] != texts[1]


def test_errors_on_labelled_rows_become_principles_and_take_them_back(url):
    missed = [Labelled(row["prompt"], row["response"], row["label"]) for row in stories(3, flaws=("hero",))]
    rules, told = play_round(asker_of(url), Rules(["Be kind."], []), [], missed, 1)
    assert (told["judged"], len(told["errors"])) == (6, 3)
    assert named_in(rules.principles[1]) == {"hero"}
    fine = [Labelled(row["prompt"], row["response"], 1) for row in stories(3, flaws=("moral",))]
    rules, told = play_round(asker_of(url), Rules([POOL["moral"].principle, POOL["hero"].principle], []), [], fine, 1)
    assert rules.principles == [POOL["hero"].principle]
    assert told["errors"][0]["missing"].startswith(DROP)


def test_principles_that_judge_labelled_rows_worse_are_rejected(url):
    """The generator's flaw is none by the labels: without a check it becomes a principle."""
    rows = stories(12, flaws=("hero",), nuisances=("moral",))
    labelled = [Labelled(row["prompt"], row["response"], row["label"]) for row in rows]
    start = Rules([POOL["hero"].principle], [POOL["moral"].strategy])
    asker = asker_of(url)
    rules, told = play_round(asker, start, [row["prompt"] for row in rows[:2]], [], 1)
    assert named_in(rules.principles[-1]) == {"moral"}
    assert told["rejected"] == 0
    asker.check = Check(labelled)
    rules, told = play_round(asker, start, [row["prompt"] for row in rows[:2]], [], 1)
    assert (rules.principles, told["rejected"]) == (start.principles, 1)
    assert sorted(asker.check.known.values())[1] == 1
    asker.check.known[tuple(start.principles)] = min(asker.check.known.values())
    rules, told = play_round(asker, start, [row["prompt"] for row in rows[:2]], [], 1)
    assert (len(rules.principles), told["rejected"]) == (2, 0)  # as good is good enough
    blind = Rules(["Be kind."], [POOL["hero"].strategy])
    rules, told = play_round(asker, blind, [row["prompt"] for row in rows[:2]], [], 1)
    assert (named_in(rules.principles[-1]), told["rejected"]) == ({"hero"}, 0)


def test_a_checked_run_goes_on_as_if_it_had_not_stopped(url, labels, tmp_path):
    flags = ("--early_stop", "0", "--accept", "not_worse")
    adversarial.main(command(labels, tmp_path / "a", url, *flags, rounds=1))
    adversarial.main(command(labels, tmp_path / "a", url, *flags, rounds=3))
    adversarial.main(command(labels, tmp_path / "b", url, *flags, rounds=3))
    assert (tmp_path / "a" / "rounds.jsonl").read_bytes() == (tmp_path / "b" / "rounds.jsonl").read_bytes()
    checked = [one["checked"] for one in read_rounds(tmp_path / "a")]
    assert checked == sorted(checked)
    assert checked[-1] > checked[0]


def test_updates_after_each_item_see_the_rules_of_the_item_before(url):
    rows = [Labelled(row["prompt"], row["response"], row["label"]) for row in stories(4, flaws=("hero",)) if not row["label"]]
    start = Rules(["Be kind."], [])
    _, at_once = play_round(asker_of(url), start, [], rows, 1, "batch")
    _, one_by_one = play_round(asker_of(url), start, [], rows, 1, "item")
    assert (len(at_once["errors"]), len(one_by_one["errors"])) == (4, 1)


def test_a_run_finds_the_flaws_and_its_judge_is_a_reward(url, labels, tmp_path, capsys, monkeypatch):
    output = tmp_path / "judge"
    adversarial.main(command(labels, output, url, rounds=4, batch=12))
    out = capsys.readouterr().out
    assert out.count("round ") == 5
    assert "next: python -m scripts_eval.judge_agreement --reward" in out
    rounds = read_rounds(output)
    judge = read_judge(output / "judge.yaml")
    best = best_round(rounds)
    assert judge.round == best > 0
    assert judge.principles == rounds[best]["principles"]
    assert judge.engine.model == "simulated"
    assert [one["round"] for one in judge.history] == list(range(len(rounds)))
    assert rounds[0]["scores"]["accuracy"]["value"] < 0.6
    assert rounds[best]["scores"]["accuracy"]["value"] > 0.8
    assert len(set(FLAWS) & set().union(*map(named_in, judge.principles))) >= 2
    assert all(len(one["principles"]) <= 10 and len(one["strategies"]) <= 10 for one in rounds)
    monkeypatch.setenv("JUDGE_CACHE", "")
    rows = stories(6, seed=9, flaws=FLAWS[:1])
    found = load_reward(str(output / "judge.yaml"))([r["prompt"] for r in rows], [r["response"] for r in rows], [True] * 12)
    assert np.mean([one == row["label"] for one, row in zip(found, rows, strict=True)]) > 0.6
    assert (output / "curve.png").read_bytes().startswith(b"\x89PNG")
    report = (output / "report.md").read_text()
    assert "simulated LLM" in report
    assert f"+ {rounds[1]['principles'][-1]}" in report
    assert "OPENAI" not in (output / "judge.yaml").read_text()


def test_a_finished_run_is_skipped_goes_on_with_more_rounds_and_is_not_mixed(url, labels, tmp_path, capsys):
    flags = ("--early_stop", "0")
    adversarial.main(command(labels, tmp_path / "a", url, *flags, rounds=1))
    capsys.readouterr()
    adversarial.main(command(labels, tmp_path / "a", url, *flags, rounds=1))
    assert "round 1 was the last, skipped" in capsys.readouterr().out
    adversarial.main(command(labels, tmp_path / "a", url, *flags, rounds=2))
    adversarial.main(command(labels, tmp_path / "b", url, *flags, rounds=2))
    assert (tmp_path / "a" / "rounds.jsonl").read_bytes() == (tmp_path / "b" / "rounds.jsonl").read_bytes()
    line = error_of(capsys, command(labels, tmp_path / "a", url, *flags, "--seed", "1"))
    assert "was made otherwise (another seed)" in line
    adversarial.main(command(labels, tmp_path / "a", url, *flags, "--seed", "1", "--overwrite", rounds=1))
    assert len(read_rounds(tmp_path / "a")) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_it_goes_on_at_a_server_that_moved(url, labels, tmp_path):
    adversarial.main(command(labels, tmp_path / "out", url, rounds=1))
    with simulated_server(Settings(noise=0)) as moved:
        adversarial.main(command(labels, tmp_path / "out", moved, rounds=2))
    assert len(read_rounds(tmp_path / "out")) == 3
    assert read_judge(tmp_path / "out" / "judge.yaml").engine.base_url == moved


def test_killed_between_two_files_it_writes_what_is_missing(url, labels, tmp_path, capsys):
    argv = command(labels, tmp_path / "out", url, rounds=1)
    adversarial.main(argv)
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.name != "provenance.json"}
    (tmp_path / "out" / "report.html").unlink()
    adversarial.main(argv)
    assert (tmp_path / "out" / "report.html").read_bytes() == files["report.html"]
    for name in files:  # nothing but the record of the settings was written
        (tmp_path / "out" / name).unlink()
    adversarial.main(argv)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files} == files


def test_it_stops_when_rounds_get_no_better(url, labels, tmp_path):
    """Reflection alone, without an error: the rules stay as they are."""
    principles = tmp_path / "principles.txt"
    principles.write_text("".join(f"{POOL[name].principle}\n" for name in FLAWS))
    flags = ("--early_stop", "2", "--principles", str(principles), "--steps", "reflection")
    adversarial.main(command(labels, tmp_path / "out", url, *flags, rounds=9))
    rounds = read_rounds(tmp_path / "out")
    assert (len(rounds), best_round(rounds)) == (3, 0)
    assert rounds[0]["scores"]["accuracy"]["value"] == 1
    assert [one["calls"] for one in rounds[1:]] == [6, 6]  # the held-out rows are not judged again by the same principles
    assert [one["written"] for one in rounds] == [0, 0, 0]


def slow(body, times):
    time.sleep(0.05)
    return simulated(body)


def simulated(body):
    return reply(body["messages"][0]["content"], body["seed"], 2000, Settings())


def test_killed_and_started_again_it_ends_as_if_it_had_not_been(tmp_path):
    """Killed with SIGKILL after a round was written; no question that was answered is asked again."""
    with chat_server(slow) as server:
        flags = ("--early_stop", "0", "--concurrency", "4")
        labels = write_rows(tmp_path / "labels.jsonl", stories(8, flaws=FLAWS))
        argv = command(labels, tmp_path / "out", server.url, *flags, rounds=3, batch=4, cache=tmp_path / "paid")
        process = subprocess.Popen([sys.executable, "-m", "scripts_adversarial.main", *argv], stdout=subprocess.DEVNULL)
        wait_for(lambda: len(read_rounds(tmp_path / "out")) >= 2, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert read_judge(tmp_path / "out" / "judge.yaml").principles
        assert len(read_rounds(tmp_path / "out")) < 4
        adversarial.main(argv)
        questions = [json.dumps([body["messages"], body["seed"]]) for body in server.bodies]
        assert len(read_rounds(tmp_path / "out")) == 4
        whole = command(labels, tmp_path / "whole", server.url, *flags, rounds=3, batch=4, cache=tmp_path / "paid")
        adversarial.main(whole)
    assert (tmp_path / "out" / "rounds.jsonl").read_bytes() == (tmp_path / "whole" / "rounds.jsonl").read_bytes()
    assert len(server.bodies) == len(questions)
    assert len(questions) - len(set(questions)) <= 4  # those under way at the kill


def wait_for(done, process):
    for _ in range(600):
        if done():
            return
        assert process.poll() is None
        time.sleep(0.1)
    raise AssertionError("60 s")


def test_a_cap_stops_it_with_one_line_and_more_goes_on(labels, tmp_path, capsys):
    with chat_server(lambda body, times: simulated(body)) as server:
        argv = command(labels, tmp_path / "out", server.url, "--early_stop", "0", cache=tmp_path / "paid")
        line = error_of(capsys, [*argv, "--max_requests", "10"])
        assert "stopped in round 0 (not asked: --max_requests 10 reached); no round is complete, the same command" in line
        assert not (tmp_path / "out").exists()
        line = error_of(capsys, [*argv, "--max_requests", "40"])
        assert "1 rounds are kept" in line
        assert (tmp_path / "out" / "report.html").exists()
        adversarial.main(argv)
        assert len(read_rounds(tmp_path / "out")) == 3
        questions = [json.dumps([body["messages"], body["seed"]]) for body in server.bodies]
        assert len(questions) == len(set(questions))


def judged_otherwise(**said):
    """A server that answers as the simulated LLM, but for some roles, told by the key they alone are asked for."""

    def answer(body, times):
        text = body["messages"][0]["content"]
        return next((told for key, told in said.items() if f'"{key}":' in text.rsplit("\n", 2)[-1]), None) or simulated(body)

    return chat_server(answer)


@pytest.mark.parametrize(
    ("key", "said"),
    [("missing", "I would rather not."), ("rules", '{"rules": []}')],
)
def test_a_role_that_gives_nothing_of_use_leaves_the_rules_and_is_counted(labels, tmp_path, capsys, key, said):
    with judged_otherwise(**{key: openai_reply(said)}) as server:
        adversarial.main(command(labels, tmp_path / "out", server.url, "--steps", "reflection", rounds=1))
    rounds = read_rounds(tmp_path / "out")
    assert rounds[1]["principles"] == rounds[0]["principles"]
    role = {"missing": "reflector", "rules": "optimizer"}[key]
    assert rounds[1]["failed"][role] >= 1
    assert f"{role}: {rounds[1]['failed'][role]} of {rounds[1]['asked'][role]} replies of no use (" in capsys.readouterr().out


def test_of_too_many_rules_the_first_ten_are_taken(labels, tmp_path, capsys):
    with judged_otherwise(rules=openai_reply(json.dumps({"rules": [f"rule {i}" for i in range(11)]}))) as server:
        adversarial.main(command(labels, tmp_path / "out", server.url, "--steps", "reflection", rounds=1))
    assert read_rounds(tmp_path / "out")[1]["principles"] == [f"rule {i}" for i in range(10)]
    assert "1 rules beyond the tenth left out" in capsys.readouterr().out


def test_a_search_whose_optimizer_always_fails_is_no_success(labels, tmp_path, capsys):
    with judged_otherwise(rules=openai_reply("I would rather not.")) as server:
        argv = command(labels, tmp_path / "out", server.url, "--early_stop", "0", rounds=9)
        for _ in range(2):  # the second time nothing is asked
            line = error_of(capsys, argv)
            assert "no reply of the optimizer was of use" in line
            assert "judge.yaml holds the principles to begin with" in line
            asked = len(server.bodies)
    rounds = read_rounds(tmp_path / "out")
    assert len(rounds) <= 5
    assert asked == sum(one["calls"] for one in rounds)
    assert (tmp_path / "out" / "report.md").exists()


def test_a_verdict_counts_without_the_suggestion_that_nothing_reads(labels, tmp_path):
    """Many models leave the suggestion out where the verdict is Good."""

    def answer(body, times):
        return (
            openai_reply('{"verdict": 1.0, "reason": "fine"}')
            if '"suggestion":' in body["messages"][0]["content"]
            else simulated(body)
        )

    with chat_server(answer) as server:
        adversarial.main(command(labels, tmp_path / "out", server.url, rounds=0))
    scores = read_rounds(tmp_path / "out")[0]["scores"]
    assert (scores["without_verdict"], scores["judged_good"]) == (0, 1.0)


@pytest.mark.parametrize(
    ("key", "said", "message"),
    [
        ("suggestion", openai_reply("C'est bon."), "replies of the detector were of no use, the last: no JSON object"),
        ("suggestion", openai_reply('{"verdict": "bon", "reason": "a", "suggestion": ""}'), "the verdict is neither 0 nor 1"),
        ("explanation", openai_reply(""), "replies of the generator were of no use, the last: empty text"),
        (
            "explanation",
            {"choices": [{"message": {"content": None, "refusal": "I can't."}, "finish_reason": "stop"}]},
            "replies of the generator were of no use, the last: refused: I can't.",
        ),
    ],
)
def test_a_model_that_cannot_play_a_role_stops_it_with_one_line(labels, tmp_path, capsys, key, said, message):
    with judged_otherwise(**{key: said}) as server:
        assert message in error_of(capsys, command(labels, tmp_path / "out", server.url))


def test_words_of_a_stopped_engine_in_a_reply_stop_nothing(labels, tmp_path):
    said = openai_reply('{"verdict": "not asked", "reason": "a", "suggestion": ""}')
    spoilt = []

    def answer(body, times):
        text = body["messages"][0]["content"]
        if '"suggestion":' in text and (not spoilt or spoilt[0] == text):
            spoilt[:] = [text]
            return said
        return simulated(body)

    with chat_server(answer) as server:
        adversarial.main(command(labels, tmp_path / "out", server.url, rounds=0))
    assert read_rounds(tmp_path / "out")[0]["scores"]["without_verdict"] == 1


def test_faults_of_the_server_on_the_way_are_survived(labels, url, tmp_path):
    """Every third question fails at first: 500, a dropped connection, garbage."""
    faults = [(500, {}, b"oops"), lambda handler: handler.connection.close(), openai_reply('{"verdict": 1, "rea', "length")]
    count = 0

    def answer(body, times):
        nonlocal count
        count += 1
        return faults[count // 3 % 3] if times == 0 and count % 3 == 0 else simulated(body)

    with chat_server(answer) as server:
        adversarial.main(command(labels, tmp_path / "out", server.url, rounds=1))
    assert [one["scores"]["without_verdict"] for one in read_rounds(tmp_path / "out")] == [0, 0]


@pytest.mark.parametrize(
    ("rows", "flags", "message"),
    [
        (
            [{"prompt": f"p{i}", "response": f"r{i}", "label": 1} for i in range(6)],
            [],
            "3 held-out rows 3 are good; both parts",
        ),
        ([{"prompt": "p", "response": f"r{i}", "label": i % 2} for i in range(6)], [], "0 other rows 0 are good"),
        ([], [], "no rows"),
        ([{"prompt": "p", "response": "r"}], [], "no column 'label'"),
        (None, ["--queries", "EMPTY"], "no rows|no queries"),
        (None, ["--queries", "LABELS", "--held_out", "LABELS"], "0 other rows"),
        (None, ["--queries", "nowhere.jsonl"], "nowhere.jsonl: not there"),
        (None, ["--principles", "nowhere.txt"], "--principles nowhere.txt: cannot be read"),
        (None, ["--principles", "LABELS"], "40 rules; at most 10"),
        (None, ["--task", "sonnets"], "--task sonnets: no rubric"),
        (None, ["--held_out_share", "1"], "--held_out_share 1.0: must be between 0 and 1"),
        (None, ["--steps", "reflexion"], "did you mean reflection"),
        (None, ["--temperature", "0"], "temperature > 0"),
        (None, ["--base_url", "http://127.0.0.1:9/v1"], "no server at http://127.0.0.1:9/v1"),
        (None, ["--model", "gpt"], "It has simulated"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(url, labels, tmp_path, capsys, rows, flags, message):
    (tmp_path / "empty.jsonl").write_text("")
    source = labels if rows is None else write_rows(tmp_path / "labels.jsonl", rows)
    flags = [str(tmp_path / "empty.jsonl") if flag == "EMPTY" else labels if flag == "LABELS" else flag for flag in flags]
    line = error_of(capsys, command(source, tmp_path / "out", url, *flags))
    assert any(one in line for one in message.split("|")), line
    assert not (tmp_path / "out").exists()


def test_a_wrong_key_is_one_line(labels, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with chat_server(lambda body, times: (401, {}, b'{"error": {"message": "bad key sk-secret"}}')) as server:
        line = error_of(capsys, command(labels, tmp_path / "out", server.url))
    assert "the key comes from OPENAI_API_KEY" in line
    assert "sk-secret" not in line


def test_a_folder_with_something_else_is_refused(url, labels, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert "not empty and not made by this command" in error_of(capsys, command(labels, tmp_path / "out", url, "--overwrite"))
    adversarial.main(command(labels, tmp_path / "run", url, rounds=0))
    (tmp_path / "run" / "mine.txt").write_text("mine")
    line = error_of(capsys, command(labels, tmp_path / "run", url, "--overwrite", "--seed", "2"))
    assert "mine.txt" in line
    assert (tmp_path / "run" / "mine.txt").exists()
    (tmp_path / "run" / "rounds.jsonl").write_text('{"round": 0')
    assert "rounds.jsonl: not as it was written" in error_of(capsys, command(labels, tmp_path / "run", url))


def test_rules_are_escaped_in_the_report(tmp_path):
    rounds = [as_round(0, 0.5, 0.5), as_round(1, 0.7, 0.6)]
    rounds[1]["principles"] = ["<script>alert(1)</script> & ```more"]
    write_report(rounds, 1, tmp_path, {"model": "<b>m</b>"})
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page
    assert "<b>m" not in page
    assert "<ins>+ &lt;script&gt;alert(1)&lt;/script&gt; &amp; ```more</ins>" in page
    assert "<del>- rule 0</del>" in page
    assert "- rule 0\n+ \\<script>" in (tmp_path / "report.md").read_text()
