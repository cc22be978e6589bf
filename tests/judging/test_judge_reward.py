"""The reward of an LLM judge: verdicts, cache, caps, faults of its server, its file, and the commands that take it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from diversity_tuning.errors import UserError
from diversity_tuning.generation.engine import EngineConfig
from diversity_tuning.judging.judge_reward import JudgeReward
from diversity_tuning.judging.principles import read_judge
from diversity_tuning.reward_functions import load_reward
from scripts_eval import judge_agreement
from studies.miniature.simulated_llm.answers import Settings
from studies.miniature.simulated_llm.server import reply, simulated_server
from tests.generation.server import chat_server, openai_reply
from tests.generation.test_faults import FAULTS
from tests.judging.judges import save_judge, stories, write_rows
from tests.trainers.test_together import free_port

SURE = Settings(noise=0)
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_paid_answers(monkeypatch):
    monkeypatch.setenv("JUDGE_CACHE", "")


@pytest.fixture(scope="module")
def url():
    with simulated_server(SURE) as url:
        yield url


def columns(rows):
    return [row["prompt"] for row in rows], [row["response"] for row in rows], [True] * len(rows)


def test_verdicts_are_the_labels(url, tmp_path):
    rows = stories()
    reward = load_reward(save_judge(tmp_path / "judge.yaml", url))
    assert reward(*columns(rows)) == [float(row["label"]) for row in rows]
    assert (reward.asked, reward.failed, reward.usage.calls) == (16, 0, 16)
    assert reward.usage.tokens_in > 16 * 100


def test_a_cut_completion_is_bad_unasked_and_a_known_one_is_not_asked_again(url, tmp_path):
    rows = stories(2)
    reward = JudgeReward(save_judge(tmp_path / "judge.yaml", url))
    prompts, responses, _ = columns(rows)
    first = reward(prompts * 2, responses * 2, [True] * 4 + [False] * 4)
    assert first == [float(row["label"]) for row in rows] + [0.0] * 4
    assert reward(prompts, responses, [True] * 4) == first[:4]
    assert reward.asked == 4


def test_paid_answers_are_not_bought_twice(tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_CACHE", str(tmp_path / "paid"))
    rows = stories(3)

    def answer(body, times):
        time.sleep(0.05)
        return simulated(body)

    with chat_server(answer) as server:
        path = save_judge(tmp_path / "judge.yaml", server.url)
        first = JudgeReward(path)(*columns(rows))
        assert len(server.bodies) == 6
        assert JudgeReward(path)(*columns(rows)) == first
        assert len(server.bodies) == 6
        assert server.most_at_once > 1


def judged_by(tmp_path, answer, n=3, **settings):
    """What the reward gives, for stories that a server with faults judges."""
    with chat_server(answer) as server:
        engine = EngineConfig("openai", model="simulated", base_url=server.url, max_retries=2, timeout=0.7)
        reward = JudgeReward(save_judge(tmp_path / "judge.yaml", server.url, engine=engine), **settings)
        reward.engine.backoff = 0.01
        return reward, reward(*columns(stories(n))), server


def simulated(body):
    return reply(body["messages"][0]["content"], body["seed"], 500, SURE)


GARBAGE = {
    "garbage": openai_reply("It's rather nice, I would say."),
    "truncated JSON": openai_reply('{"verdict": 1, "reason": "it', "length"),
    "verdict in another language": openai_reply('{"verdict": "gut", "reason": "", "suggestion": ""}'),
    "verdict in between": openai_reply('{"verdict": 0.5, "reason": "a", "suggestion": ""}'),
    "words of an engine that has stopped": openai_reply('{"verdict": "not asked", "reason": "a", "suggestion": ""}'),
    "empty text": openai_reply(""),
    "refusal": {"choices": [{"message": {"content": None, "refusal": "I can't."}, "finish_reason": "stop"}]},
    "wrong keys": openai_reply('{"score": 1}'),
    "a verdict that talks of a stop": openai_reply('{"verdict": "not asked: cap", "reason": "a", "suggestion": ""}'),
    "another role's answer": openai_reply('{"weaknesses": {}}'),
}


@pytest.mark.parametrize("fault", [*FAULTS, "garbage", "truncated JSON", "verdict in another language", "wrong keys"])
def test_a_passing_fault_of_the_judge_is_survived(tmp_path, fault):
    said = {**FAULTS, **GARBAGE}[fault]

    def answer(body, times):
        return said if times == 0 else simulated(body)

    _, found, _ = judged_by(tmp_path, answer)
    assert found == [float(row["label"]) for row in stories(3)]


@pytest.mark.parametrize("fault", GARBAGE)
def test_what_is_no_verdict_is_none_for_that_response_alone(tmp_path, fault, capsys):
    spoilt = stories(3)[2]["response"]

    def answer(body, times):
        return GARBAGE[fault] if spoilt in body["messages"][0]["content"] else simulated(body)

    reward, found, server = judged_by(tmp_path, answer)
    assert found == [None if row["response"] == spoilt else float(row["label"]) for row in stories(3)]
    assert (reward.asked, reward.failed) == (6, 1)
    assert reward.reason
    assert capsys.readouterr().err == ""
    asked = sum(spoilt in body["messages"][0]["content"] for body in server.bodies)
    assert asked == (1 if fault in ("empty text", "refusal") else 3)


def test_mostly_failed_verdicts_are_told_once(tmp_path, capsys):
    with chat_server(lambda body, times: GARBAGE["garbage"]) as server:
        reward = JudgeReward(save_judge(tmp_path / "judge.yaml", server.url))
        for _ in range(2):
            assert reward(*columns(stories(3))) == [None] * 6
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "6 of 6 verdicts failed" in told


def test_good_and_bad_in_chinese(tmp_path):
    rows = stories(1)
    with chat_server(lambda body, times: openai_reply('{"verdict": "合格", "reason": "好", "suggestion": ""}')) as server:
        path = save_judge(tmp_path / "judge.yaml", server.url, language="zh", prompt_hash=None)
        assert JudgeReward(path)(*columns(rows)) == [1.0, 1.0]


def test_a_cap_stops_the_run_and_keeps_what_was_paid(tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_CACHE", str(tmp_path / "paid"))
    monkeypatch.setenv("JUDGE_MAX_REQUESTS", "4")
    rows = stories(4)
    with chat_server(lambda body, times: simulated(body)) as server:
        path = save_judge(tmp_path / "judge.yaml", server.url)
        with pytest.raises(UserError, match=r"no more verdicts \(not asked: --max_requests 4 reached\)"):
            JudgeReward(path)(*columns(rows))
        assert JudgeReward(path)(*columns(rows)) == [float(row["label"]) for row in rows]
        assert len(server.bodies) == 8


def test_a_server_that_is_gone_or_refuses_the_key_stops_at_once(tmp_path):
    with simulated_server() as gone:
        path = save_judge(tmp_path / "judge.yaml", gone)
    with pytest.raises(UserError, match="no server at"):
        JudgeReward(path)(*columns(stories(1)))
    with chat_server(lambda body, times: (401, {}, b'{"error": {"message": "bad key"}}')) as server:
        path = save_judge(tmp_path / "judge.yaml", server.url)
        with pytest.raises(UserError, match="OPENAI_API_KEY"):
            JudgeReward(path)(*columns(stories(1)))


def test_a_server_that_moved(url, tmp_path, monkeypatch):
    path = save_judge(tmp_path / "judge.yaml", "http://127.0.0.1:9/v1")
    rows = stories(1)
    assert JudgeReward(path, base_url=url)(*columns(rows)) == [float(row["label"]) for row in rows]
    monkeypatch.setenv("JUDGE_BASE_URL", url)
    assert load_reward(path)(*columns(rows)) == [float(row["label"]) for row in rows]
    for name in ("JUDGE_MAX_COST", "JUDGE_MAX_REQUESTS"):  # empty: not set
        monkeypatch.setenv(name, "")
    assert load_reward(path)(*columns(rows)) == [float(row["label"]) for row in rows]
    monkeypatch.setenv("JUDGE_BASE_URL", "")  # not the provider's, which would be sent the texts and the key
    assert load_reward(path).engine.url.startswith("http://127.0.0.1:9/v1")
    monkeypatch.setenv("JUDGE_MAX_COST", "a lot")
    with pytest.raises(UserError, match="JUDGE_MAX_COST=a lot: not a number"):
        load_reward(path)


def test_the_file_is_read_as_it_was_written(url, tmp_path):
    path = save_judge(tmp_path / "judge.yaml", url, seed=5, history=[{"round": 0, "accuracy": 0.5}])
    judge = read_judge(path)
    assert (judge.seed, judge.round, judge.history) == (5, 2, [{"round": 0, "accuracy": 0.5}])
    assert judge.engine.base_url == url
    assert (judge.sampling.temperature, judge.sampling.max_new_tokens) == (0.1, 512)
    assert len(judge.principles) == 2
    save_judge(tmp_path / "again.yaml", url, seed=5, history=judge.history)
    assert (tmp_path / "again.yaml").read_text() == (tmp_path / "judge.yaml").read_text()


def test_a_file_written_by_hand_needs_four_keys(url, tmp_path):
    text = f"""
principles: [The twist of the prompt must come out.]
language: en
task: stories
engine: {{engine: openai, model: simulated, base_url: "{url}"}}
"""
    (tmp_path / "mine.yaml").write_text(text)
    rows = stories(2)
    assert load_reward(str(tmp_path / "mine.yaml"))(*columns(rows)) == [float(row["label"]) for row in rows]


TWO = """
import sys
import torch.distributed as distributed
from diversity_tuning.cli import command
from diversity_tuning.judging.judge_reward import JudgeReward

@command
def main(argv):
    distributed.init_process_group("gloo")
    try:
        rank, reward = distributed.get_rank(), JudgeReward(argv[0])
        for turn in range(int(argv[1])):
            prompts = [f"p{rank}-{turn}-{i}" for i in range(3 + rank)]
            found = reward(prompts, [f"good for {p}" if rank else "bad" for p in prompts], [True] * len(prompts))
            assert found == [float(rank)] * len(prompts), found
        print(f"ASKED {rank} {reward.asked}", flush=True)
    finally:
        distributed.destroy_process_group()

main(sys.argv[1:])
"""


@pytest.mark.parametrize(("cap", "turns"), [("100", "2"), ("10", "5")])
def test_caps_and_concurrency_are_of_the_run_and_not_of_each_process(tmp_path, cap, turns):
    """Two processes with 3 and 4 completions a step: the first one asks for all, and both stop at the cap."""

    def answer(body, times):
        time.sleep(0.02)
        return openai_reply(json.dumps({"verdict": int("good for p" in body["messages"][0]["content"]), "reason": "x"}))

    (tmp_path / "two.py").write_text(TWO)
    with chat_server(answer) as server:
        engine = EngineConfig("openai", model="m", base_url=server.url, concurrency=2)
        path = save_judge(tmp_path / "judge.yaml", server.url, engine=engine)
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "WORLD_SIZE": "2", "JUDGE_MAX_REQUESTS": cap, "JUDGE_CACHE": "",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()),
        }  # fmt: skip
        running = [
            subprocess.Popen(
                [sys.executable, str(tmp_path / "two.py"), path, turns], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, env={**environment, "RANK": rank},
            )
            for rank in "01"
        ]  # fmt: skip
        told = [one.communicate(timeout=120) for one in running]
        assert server.most_at_once <= 2
        if cap == "100":
            assert [one.returncode for one in running] == [0, 0], told
            assert "ASKED 0 14" in told[0][0]
            assert len(server.bodies) == 14
        else:
            assert [one.returncode for one in running] == [2, 2], told
            assert "--max_requests 10 reached" in told[0][1]
            assert len(server.bodies) == 10


def gone(name):
    return lambda judge: judge.pop(name)


def put(**values):
    return lambda judge: judge.update(values)


def inner(part, **values):
    return lambda judge: judge[part].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (gone("principles"), "no 'principles'; a judge needs principles, language, task, engine"),
        (gone("engine"), "no 'engine'"),
        (put(principle=[]), "unknown key 'principle'; did you mean principles"),
        (put(principles="be strict"), "'principles': must be a list of sentences"),
        (put(principles=["another one"]), "the principles have been edited"),
        (put(language="de"), "'language' 'de': is one of en, zh"),
        (put(task="stroies"), "no rubric of that name.*did you mean stories"),
        (put(seed="one"), "'seed' 'one'"),
        (put(prompt_hash="0" * 64), "the detector's prompt or rubric has changed"),
        (put(engine="openai"), "'engine' must be a mapping"),
        (inner("engine", modle="x"), "unknown key 'engine.modle'; did you mean model"),
        (inner("engine", timeout="long"), "'engine.timeout' 'long'"),
        (inner("engine", engine="gpt"), "engine 'gpt': is one of"),
        (inner("engine", model=None), "--model is missing"),
        (inner("engine", max_cost=1.0), "--max_cost needs --price_input"),
        (inner("sampling", temperature=0), "temperature > 0"),
        (put(sampling=["hot"]), "'sampling' must be a mapping"),
        (put(sampling="hot"), "'sampling' must be a mapping"),
        (put(prompts="nowhere"), "nowhere: no such folder"),
    ],
)
def test_a_file_that_is_not_as_it_must_be(url, tmp_path, change, message):
    path = tmp_path / "judge.yaml"
    save_judge(path, url)
    judge = yaml.safe_load(path.read_text())
    change(judge)
    path.write_text(yaml.safe_dump(judge))
    with pytest.raises(UserError, match=message) as error:
        load_reward(str(path))
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"- a\n- b\n", b"a: [", b"\xff\xfe", b"a: " + b"[" * 5000])
def test_no_yaml(tmp_path, content):
    (tmp_path / "judge.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"judge\.yaml: not a "):
        load_reward(str(tmp_path / "judge.yaml"))


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "judge.yaml").mkdir()
    with pytest.raises(UserError, match=r"judge\.yaml: cannot be read"):
        load_reward(str(tmp_path / "judge.yaml"))


def test_agreement_of_a_judge_with_labels(url, tmp_path, capsys):
    labels = write_rows(tmp_path / "labels.jsonl", stories(6))
    path = save_judge(tmp_path / "judge.yaml", "http://127.0.0.1:9/v1")
    command = ["--reward", path, "--labels", labels, "--output", str(tmp_path / "out"), "--draws", "50"]
    judge_agreement.main([*command, "--judge_base_url", url])
    found = json.loads((tmp_path / "out" / "agreement.json").read_text())
    assert (found["accuracy"]["value"], found["f1"]["value"], found["thresholds"]) == (1.0, 1.0, [0.5])
    assert found["without_verdict"] == 0
    made = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert made["inputs"]["reward"]
    assert made["judge"]["principles_hash"] == read_judge(path).principles_hash
    assert made["judge"]["prompt_hash"] == read_judge(path).prompt_hash
    assert (made["judge"]["model"], made["judge"]["failed"]) == ("simulated", 0)
    assert made["judge"]["asked"] == made["judge"]["calls"] == 12 + 6  # each good response beside another prompt, too
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        judge_agreement.main(["--reward", "builtin:length", *command[2:5], str(tmp_path / "no"), "--judge_base_url", url])
    assert stopped.value.code == 2
    assert "only for an LLM judge" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_agreement_that_reached_a_cap_goes_on_and_buys_nothing_twice(tmp_path, capsys, monkeypatch):
    labels = write_rows(tmp_path / "labels.jsonl", stories(4))
    with chat_server(lambda body, times: simulated(body)) as server:
        path = save_judge(tmp_path / "judge.yaml", server.url)
        command = ["--reward", path, "--labels", labels, "--output", str(tmp_path / "out"), "--draws", "20"]
        command += ["--judge_cache", str(tmp_path / "paid")]
        monkeypatch.setenv("JUDGE_MAX_REQUESTS", "5")
        with pytest.raises(SystemExit) as stopped:
            judge_agreement.main(command)
        assert stopped.value.code == 2
        assert "--max_requests 5 reached" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
        monkeypatch.delenv("JUDGE_MAX_REQUESTS")
        judge_agreement.main(command)
        assert len(server.bodies) == 8 + 4


def test_labels_that_are_all_equal_are_told_before_anything_is_asked(tmp_path, capsys):
    with chat_server(lambda body, times: simulated(body)) as server:
        path = save_judge(tmp_path / "judge.yaml", server.url)
        labels = write_rows(tmp_path / "labels.jsonl", [row | {"label": 1} for row in stories(2)])
        with pytest.raises(SystemExit):
            judge_agreement.main(["--reward", path, "--labels", labels, "--output", str(tmp_path / "out")])
        assert "4 responses, 4 of them good: good and bad ones are needed" in capsys.readouterr().err
        assert server.bodies == []


def test_a_response_without_verdict_is_left_out_and_counted(tmp_path):
    spoilt = stories(4)[0]["response"]

    def answer(body, times):
        return openai_reply("hm") if spoilt in body["messages"][0]["content"] else simulated(body)

    with chat_server(answer) as server:
        path = save_judge(tmp_path / "judge.yaml", server.url)
        labels = write_rows(tmp_path / "labels.jsonl", stories(4))
        judge_agreement.main(["--reward", path, "--labels", labels, "--output", str(tmp_path / "out"), "--draws", "20"])
    found = json.loads((tmp_path / "out" / "agreement.json").read_text())
    assert (found["responses"], found["without_verdict"]) == (7, 1)
    assert np.isfinite(found["accuracy"]["value"])
