"""The sampling command over a server and over several processes: faults, caps, kill and resume."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import pandas as pd
import pytest

from diversity_tuning.evaluation.sampling.run import SamplingConfig, followed, sampling_record
from diversity_tuning.evaluation.sampling.samples import Processes
from diversity_tuning.flags import parse_flags
from scripts_eval import generation_eval1_1, sample
from tests import ending
from tests.generation.server import chat_server, openai_reply
from tests.scripts_eval.test_evaluation import PUBLISHED, sampling_flags, scoring_flags


def server_flags(world, server, output, *more, **changes):
    flags = {"engine": "openai", "model": "m", "base_url": server.url, "cache": output.parent / "bought", "max_retries": 0}
    return [*sampling_flags(world, output, base_model=None, **{**flags, "num_samples": 2, **changes}), *more]


def lines(output):
    return [json.loads(line) for line in (output / "samples.jsonl").read_text().splitlines()]


def record(output):
    return json.loads((output / "sampling.json").read_text())


def story(body, times=0):
    return openai_reply(f"A story of {body['messages'][-1]['content']}, {body['seed']}.")


def test_failures_are_listed_kept_from_scoring_and_asked_again(world, tmp_path, capsys):
    output, broken = tmp_path / "gpt", True

    def answer(body, times):
        return (
            (500, {}, b"down") if broken and body["messages"][0]["content"].strip() in ("title 3", "title 7") else story(body)
        )

    with chat_server(answer) as server:
        flags = [*server_flags(world, server, output), *scoring_flags(world)]
        for runs in (1, 2):
            with pytest.raises(SystemExit):
                generation_eval1_1.main(flags)
            said = capsys.readouterr()
            assert "4 of 18 responses failed" in said.out
            assert "HTTP 500: down (sent 1 times): 3/0 3/1 7/0 7/1" in said.out
            assert "4 responses are missing, listed in sampling.json" in said.err
            assert [(f["prompt_id"], f["sample"], f["runs"]) for f in record(output)["failures"]] == [
                (row, number, runs) for row in (3, 7) for number in (0, 1)
            ]
            assert not (output / "scores.csv").exists()
        assert len(server.bodies) == 18 + 4
        generation_eval1_1.main([*flags, "--accept_failures"])
        assert len(pd.read_csv(output / "scores.csv")) == 14
        broken = False
        generation_eval1_1.main(flags)  # what has failed comes, and all is scored anew
        assert len(server.bodies) == 18 + 4 + 4 + 4
        generation_eval1_1.main(flags)
        assert len(server.bodies) == 18 + 4 + 4 + 4
    scores = pd.read_csv(output / "scores.csv")
    assert list(scores.columns[:6]) == PUBLISHED
    assert len(scores) == len({(row["prompt_id"], row["sample"]) for row in lines(output)}) == 18
    content = record(output)
    assert content["failures"] == []
    assert content["arguments"] | {"model": "m", "engine": "openai"} == content["arguments"]
    assert content["arguments"]["not_sent"] == ["dtype", "repetition_penalty", "top_k"]


def test_nothing_answered_is_not_accepted(world, tmp_path, capsys):
    with chat_server(lambda body, times: (400, {}, b"no")) as server, pytest.raises(SystemExit):
        sample.main(server_flags(world, server, tmp_path / "gpt", "--accept_failures"))
    assert record(tmp_path / "gpt")["finished"] is False


def test_a_cap_stops_the_run_and_the_next_one_goes_on(world, tmp_path, capsys):
    with chat_server(story) as server:
        for asked in (5, 10, 15):
            with pytest.raises(SystemExit):
                sample.main(server_flags(world, server, tmp_path / "gpt", "--max_requests=5"))
            assert "not asked: --max_requests 5 reached" in capsys.readouterr().out
            assert len(server.bodies) == asked == len(lines(tmp_path / "gpt"))
        sample.main(server_flags(world, server, tmp_path / "gpt", "--max_requests=5"))
        assert len(server.bodies) == 18
        sample.main([*server_flags(world, server, tmp_path / "gpt"), "--overwrite"])
        assert len(server.bodies) == 18  # bought before
    assert "all" not in capsys.readouterr().err


def test_killed_while_asking_loses_and_doubles_nothing(world, tmp_path):
    def answer(body, times):
        time.sleep(0.1)
        return story(body)

    with chat_server(answer) as server:
        flags = server_flags(world, server, tmp_path / "gpt", concurrency=2)
        command = [sys.executable, "-m", "scripts_eval.sample", *flags]
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
        file = tmp_path / "gpt" / "samples.jsonl"
        while process.poll() is None and not (file.exists() and file.read_bytes().count(b"\n") >= 4):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert 4 <= len(lines(tmp_path / "gpt")) < 18
        time.sleep(0.3)
        before = len(server.bodies)
        sample.main(flags)
        assert before + len(server.bodies) - before <= 18 + 2  # what was under way when it was killed, at most
        whole = lines(tmp_path / "gpt")
        sample.main(server_flags(world, server, tmp_path / "whole", cache=tmp_path / "other"))
    assert len(whole) == 18
    key = lambda row: (row["prompt_id"], row["sample"])  # noqa: E731
    assert sorted(whole, key=key) == sorted(lines(tmp_path / "whole"), key=key)


def test_iterative_and_verbalized(world, tmp_path, capsys):
    def answer(body, times):
        if "responses to the prompt below" not in body["messages"][0]["content"]:
            return story(body)
        blocks = [f"<response><text>text {i}</text><probability>0.{i + 1}</probability></response>" for i in range(3)]
        return openai_reply("".join(blocks))

    with chat_server(answer) as server:
        sample.main(server_flags(world, server, tmp_path / "iter", "--iterative", concurrency=1))
        turns = [len(body["messages"]) for body in server.bodies]
        assert turns == [1] * 9 + [3] * 9
        first = {row["prompt"]: row["response"] for row in lines(tmp_path / "iter") if row["sample"] == 0}
        for body in server.bodies[9:]:
            assert body["messages"][1]["content"] == first[body["messages"][0]["content"]]
        sample.main(server_flags(world, server, tmp_path / "vs", "--verbalized=3"))
        assert len(server.bodies) == 18 + 9
        assert all(len({r["response"] for r in lines(tmp_path / "vs") if r["prompt_id"] == row}) == 2 for row in range(2, 10))
        with pytest.raises(SystemExit):
            sample.main(server_flags(world, server, tmp_path / "vs", "--verbalized=5"))
        assert "verbalized 3 there, 5 now" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            sample.main(server_flags(world, server, tmp_path / "few", "--verbalized=1"))
        assert "--verbalized 1: at least --num_samples 2" in capsys.readouterr().err


def test_replies_without_the_form_are_counted_and_given_up_once(world, tmp_path, capsys):
    """Of nine prompts one never gets the form, one at the second try, one at the fourth, which is another run."""
    form = "".join(f"<response><text>text {i}</text><probability>.5</probability></response>" for i in range(2))
    needed, output = {"title 3": 99, "title 4": 2, "title 5": 4}, tmp_path / "vs"
    asked = Counter()

    def answer(body, times):
        title = re.search(r"title \d+", body["messages"][0]["content"])[0]
        asked[title] += 1
        return openai_reply(form if asked[title] >= needed.get(title, 1) else "I would rather not.")

    with chat_server(answer) as server:
        flags = server_flags(world, server, output, "--verbalized=2")
        with pytest.raises(SystemExit):
            sample.main(flags)
        assert "7 of 14 replies had the form that was asked for" in capsys.readouterr().out
        assert followed(output) == {"replies": 14, "read": 7}
        sample.main([*flags, "--accept_failures"])  # three tries more, of what is missing
        assert followed(output) == {"replies": 18, "read": 8}
        assert {row["unread"] for row in lines(output) if row["prompt"].startswith("title 5")} == {3}
        assert [(row["prompt_id"], row["unread"]) for row in record(output)["failures"]] == [(3, 6), (3, 6)]
        before = len(server.bodies)
        sample.main([*flags, "--accept_failures"])  # the model has answered: that is the result
        assert "all 16 responses are there; 2 could not be read" in capsys.readouterr().out
        assert len(server.bodies) == before
        never = server_flags(world, server, tmp_path / "never", "--verbalized=3", "--accept_failures", num_samples=3)
        sample.main(never)
        assert record(tmp_path / "never")["finished"]
        assert followed(tmp_path / "never") == {"replies": 27, "read": 0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_model": None}, "--base_model is missing"),
        ({"engine": "openai"}, "--model is missing"),
        ({"engine": "anthropic", "model": "m"}, "ANTHROPIC_API_KEY is not set"),
        ({"engine": "openai", "model": "m", "base_url": "http://localhost", "extra_body": "[1]"}, "must be a JSON object"),
        ({"engine": "openai", "model": "m", "base_url": "http://localhost", "max_cost": 1}, "--price_input"),
    ],
)
def test_one_line_says_what_is_missing(world, tmp_path, capsys, monkeypatch, changes, message):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(SystemExit) as exit_code:
        sample.main(sampling_flags(world, tmp_path / "run", cache=tmp_path / "bought", **changes))
    assert exit_code.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_iterative_sampling_of_a_local_model(world, tmp_path):
    flags = sampling_flags(world, tmp_path / "local", num_prompts=3, num_samples=3)
    sample.main([*flags, "--iterative"])
    whole = lines(tmp_path / "local")
    assert len(whole) == 9
    sample.main(sampling_flags(world, tmp_path / "plain", num_prompts=3, num_samples=3))
    plain = {(row["prompt_id"], row["sample"]): row["response"] for row in lines(tmp_path / "plain")}
    same = [row["response"] == plain[row["prompt_id"], row["sample"]] for row in whole if row["sample"] == 0]
    assert all(same)
    assert any(row["response"] != plain[row["prompt_id"], row["sample"]] for row in whole)
    (tmp_path / "local" / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in whole[:5]))
    text = (tmp_path / "local" / "sampling.json").read_text()
    (tmp_path / "local" / "sampling.json").write_text(text.replace('"finished": true', '"finished": false'))
    sample.main([*flags, "--iterative"])
    assert sorted(map(str, lines(tmp_path / "local"))) == sorted(map(str, whole))


def test_processes_share_the_prompts():
    prompts = {row: "x" * (row * 7 % 11) for row in range(20)}
    shares = []
    for rank in range(3):
        processes = Processes()
        processes.count, processes.rank = 3, rank
        shares.append(processes.share(prompts))
    assert sorted(row for share in shares for row in share) == list(range(20))
    for share in shares:
        assert [len(text) for text in share.values()] == sorted(map(len, share.values()), reverse=True)
    lengths = [sum(map(len, share.values())) for share in shares]
    assert max(lengths) - min(lengths) <= 11


def test_two_processes_go_on_and_sample_what_one_does(world, tmp_path):
    """Through accelerate launch, gloo; two others were killed before, one of them while it wrote."""
    changes = {"num_samples": 3, "max_new_tokens": 24, "sample_batch_size": 2, "device": None}
    one, two = tmp_path / "one", tmp_path / "two"
    sample.main(sampling_flags(world, one, **changes))
    rows = (one / "samples.jsonl").read_text().splitlines(keepends=True)
    two.mkdir()
    (two / "sampling.json").write_text(json.dumps(record(one) | {"finished": False}))
    (two / "samples.jsonl").write_text("".join(rows[:2]))
    (two / "samples-0.jsonl").write_text("".join(rows[1:5]))
    (two / "samples-1.jsonl").write_text("".join(rows[9:13]) + rows[20][:30])
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file=accelerate_configs/cpu.yaml", "--multi_gpu"]
    command += [
        "--num_processes=2",
        "--main_process_port=0",
        "-m",
        "scripts_eval.sample",
        *sampling_flags(world, two, **changes),
    ]
    environment = {**os.environ, **ending.with_record(tmp_path), "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(command, env=environment, text=True, capture_output=True)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert ending.both_left(tmp_path)
    assert answer.stdout.count("9 of 27 responses are there, resuming") == 1
    assert sorted((two / "samples.jsonl").read_text().splitlines(keepends=True)) == sorted(rows)
    assert sorted(path.name for path in two.iterdir()) == ["samples.jsonl", "sampling.json"]
    assert record(two)["finished"] is True
    assert record(two)["last_run"]["responses"] == 18


@pytest.mark.parametrize(
    ("engine", "extra", "unsent", "sent"),
    [
        ("openai", None, {"repetition_penalty", "top_k"}, {"temperature": 1.0, "top_p": 0.95, "seed": 42}),
        ("openai", '{"top_k": 20, "temperature": null}', {"repetition_penalty", "temperature"}, {"top_k": 20}),
        ("openai", '{"seed": null}', {"repetition_penalty", "top_k", "seed"}, {"seed": 42}),  # it draws verbalized responses
        ("anthropic", None, {"repetition_penalty", "top_k", "top_p", "seed"}, {"temperature": 1.0}),
    ],
)
def test_the_record_says_what_was_sent(world, tmp_path, engine, extra, unsent, sent):
    def record_of(argv):
        return sampling_record(parse_flags(SamplingConfig, "the.command", "", argv))

    flags = sampling_flags(world, tmp_path, engine=engine, model="m", extra_body=extra, base_model=None)
    arguments = record_of(flags)["arguments"]
    assert set(arguments["not_sent"]) == unsent | {"dtype"}
    assert arguments | sent == arguments
    assert not (set(arguments) & unsent - {"seed"})
    assert "min_p" not in [*arguments, *arguments["not_sent"]], "off: the record of a run from before it was known"
    settings = ["--min_p=0.1", *sampling_flags(world, tmp_path)]
    assert record_of(settings)["arguments"]["min_p"] == 0.1
