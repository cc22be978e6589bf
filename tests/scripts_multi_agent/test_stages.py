"""Path A through its commands, with a model behind a real server."""

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict, load_from_disk

from diversity_tuning.data.tables import open_split
from diversity_tuning.reward_model import reward_pair_dataset
from scripts_multi_agent import main as whole
from tests.generation.server import chat_server, openai_reply
from tests.scripts_multi_agent.helpers import (
    CORPUS,
    FOLDERS,
    ROLES,
    answer,
    between,
    candidates,
    read_jsonl,
    reply,
    role_of,
    server_flags,
    stage,
    write_jsonl,
)
from tests.tiny import save_base

ROOT = Path(__file__).parents[2]
REFUSAL = {"choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]}


@pytest.fixture
def source(tmp_path):
    return write_jsonl(tmp_path / "candidates.jsonl", candidates())


def run(server, source, output, *more):
    """All stages, by the wrapper's module."""
    flags = ["--source", source, "--output", output, *server_flags(server, output.parent / "bought"), *more]
    return whole.main([str(flag) for flag in flags])


def fails(call, capsys):
    """The one line that a command ends with."""
    with pytest.raises(SystemExit) as stopped:
        call()
    assert stopped.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    return line


def rows_of(output, name="4_reflect"):
    return read_jsonl(output / name / "responses.jsonl")


def prompts_of(server, role):
    prompts = [body["messages"][-1]["content"] for body in server.bodies]
    return [prompt for prompt in prompts if role_of(prompt) == role]


def test_the_whole_path(source, tmp_path, capsys):
    corpus, output = write_jsonl(tmp_path / "corpus.jsonl", CORPUS), tmp_path / "out"
    flags = ["--corpus", corpus, "--popularity_column", "clicks", "--k_search", 1, "--k_final", 1, "--price_input", 1,
             "--price_output", 2, "--validation_share", 0.4, "--length_match", 0.5]  # fmt: skip
    with chat_server(answer) as server:
        run(server, source, output, *flags)
        asked = len(server.bodies)
        said = capsys.readouterr().out
        rows = rows_of(output)
        assert asked == 4 * len(rows) == 48
        run(server, source, output, *flags)
        assert len(server.bodies) == asked
        assert capsys.readouterr().out.count("already made") == 6
    given = read_jsonl(source)
    assert [{name: row[name] for name in given[0]} for row in rows] == given
    for row in rows:
        good = "good" in row["response"]
        assert row["strengths"] == ({"plot": "it is good"} if good else {})
        assert row["judge"]["verdict"] == int(good != ("unfair" in row["response"]))
        assert row["reflect"] == {"verdict": int(good), "reason": "on reflection", "overturned": "unfair" in row["response"]}
        assert row["usage"]["judge"] == {"calls": 1, "tokens_in": 10, "tokens_out": 20}
    summary = json.loads((output / "4_reflect" / "summary.json").read_text())
    assert summary["overturned"] == {"0_to_1": 3, "1_to_0": 3, "kept_0": 3, "kept_1": 3}
    assert summary["agreement"]["judge"]["accuracy"]["value"] == 0.5
    assert summary["agreement"]["reflect"]["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert summary["usage"]["positive"]["cost"] == pytest.approx((10 * 1 + 20 * 2) / 1e6)
    assert (output / "4_reflect" / "verdicts.png").is_file()
    pairs = load_from_disk(str(output / "pairs"))
    assert {name: len(part) for name, part in pairs.items()} == {"train": 8, "validation": 4}
    assert all("good" in pair["chosen"] and "plain" in pair["rejected"] for part in pairs.values() for pair in part)
    assert len(reward_pair_dataset(open_split(str(output / "pairs"), "train"), "pairs")) == 8  # what the reward model reads
    assert "Reflect overturned 6: 3 to good, 3 to bad." in said
    script = "next: python -m scripts_reward_modeling.pairwise_reward_model_train --model_name_or_path MODEL"
    assert said.strip().splitlines()[-1] == f"{script} --source {output}/pairs --output_dir {output}/reward"


def test_the_examples_and_what_was_said_before_reach_the_later_roles(source, tmp_path):
    corpus = write_jsonl(tmp_path / "corpus.jsonl", CORPUS)
    with chat_server(answer) as server:
        run(
            server,
            source,
            tmp_path / "out",
            "--corpus",
            corpus,
            "--popularity_column",
            "clicks",
            "--k_search",
            1,
            "--k_final",
            1,
        )
        for role in ROLES:
            prompts = prompts_of(server, role)
            assert len(prompts) == 12
            for prompt in prompts:
                examples = [{"query": "A door in the wall.", "response": "Corpus story 3, which people liked."}]
                assert json.loads(between(prompt, "examples")) == examples
        for prompt in [*prompts_of(server, "judge"), *prompts_of(server, "reflect")]:
            good = "good" in between(prompt, "response")
            assert json.loads(between(prompt, "strengths")) == ({"plot": "it is good"} if good else {})
            assert json.loads(between(prompt, "weaknesses")) == ({} if good else {"plot": "it is plain"})
        for prompt in prompts_of(server, "reflect"):
            assert json.loads(between(prompt, "judge_verdict"))["reason"] == "as it seems"


def test_the_corpus_may_be_the_candidates_themselves(source, tmp_path):
    with chat_server(answer) as server:
        run(server, source, tmp_path / "out", "--corpus", source, "--k_search", 9, "--k_final", 9)
    for row in rows_of(tmp_path / "out"):
        assert len(row["examples"]) == 3
        assert row["response"] not in [one["response"] for one in row["examples"]]


def test_rows_in_another_order_and_other_batches_get_the_same_answers(tmp_path):
    rows = candidates(4)
    shuffled = random.Random(0).sample(rows, len(rows))

    def noisy(body, times):
        """As a sampling model: it depends on the server's seed and the prompt."""
        prompt = body["messages"][-1]["content"]
        said = reply(prompt)
        if "verdict" in said:
            said["verdict"] = random.Random(f"{body['seed']}{prompt}").randrange(2)
        if random.Random(f"bad{body['seed']}{prompt}").random() < 0.3:
            return openai_reply("I would rather not say.")
        return openai_reply(json.dumps(said))

    found = []
    for name, given, concurrency in (("a", rows, 1), ("b", shuffled, 7)):
        (tmp_path / name).mkdir()
        path = write_jsonl(tmp_path / name / "candidates.jsonl", given)
        with chat_server(noisy) as server:
            run(server, path, tmp_path / name / "out", "--concurrency", concurrency)
        found.append({row["id"]: row for row in rows_of(tmp_path / name / "out")})
    assert found[0] == found[1]
    assert {row["judge"]["verdict"] for row in found[0].values() if "judge" in row} == {0, 1}
    assert sum(row["usage"]["positive"]["calls"] > 1 for row in found[0].values()) > 1
    pairs = [load_from_disk(str(tmp_path / name / "out" / "pairs"))["train"].to_list() for name in "ab"]
    assert pairs[0] == pairs[1]


def test_bad_replies_are_listed_left_out_and_asked_again_only_on_demand(source, tmp_path, capsys):
    patient = False

    def answers(body, times):
        prompt = body["messages"][-1]["content"]
        if role_of(prompt) == "judge" and "Story 1." in between(prompt, "response") and not patient:
            return openai_reply("判决：好。" if "1.1" in between(prompt, "response") else '{"verdict": "maybe", "reason": "x"}')
        return answer(body)

    output = tmp_path / "out"
    with chat_server(answers) as server:
        run(server, source, output)
        assert len(prompts_of(server, "judge")) == 8 + 4 * 3
        assert len(prompts_of(server, "reflect")) == 8
        said = capsys.readouterr().out
        assert 'failed: 3 × the verdict is neither 0 nor 1: "maybe"' in said
        assert "failed: 1 × no JSON object with 'verdict', 'reason'" in said
        assert "left out, failed in an earlier stage: 4" in said
        failed = [row for row in rows_of(output) if "failed" in row]
        assert [row["id"] for row in failed] == ["1-0", "1-1", "1-2", "1-3"]
        assert failed[1]["failed"] == {
            "stage": "judge",
            "reason": "no JSON object with 'verdict', 'reason'",
            "reply": "判决：好。",
        }
        assert not any("judge" in row or "reflect" in row for row in failed)
        summary = json.loads((output / "4_reflect" / "summary.json").read_text())
        assert (summary["judged"], sum(summary["failed"]["judge"].values())) == (8, 4)
        patient, before = True, len(server.bodies)
        run(server, source, output)
        assert len(server.bodies) == before
        run(server, source, output, "--retry_failed")
        assert len(server.bodies) == before + 4 + 4
    assert not any("failed" in row for row in rows_of(output))
    assert len(load_from_disk(str(output / "pairs"))["train"]) == 12
    assert [row["usage"]["judge"]["calls"] for row in rows_of(output)] == [1] * 4 + [4] * 4 + [1] * 4


def test_a_killed_stage_asks_only_for_what_is_missing(source, tmp_path):
    """SIGKILL while the judge answers; then again until it is done. No prompt is asked twice, not even without the cache."""
    output, killing, killed = tmp_path / "out", threading.Event(), threading.Event()
    asked = []

    def slow(body, times):
        prompt = body["messages"][-1]["content"]
        asked.append(prompt)
        if role_of(prompt) == "judge" and len([one for one in asked if role_of(one) == "judge"]) % 5 == 0:
            killing.set()
            killed.wait(60)
        return answer(body)

    with chat_server(slow) as server:
        flags = ["--source", source, "--output", output, *server_flags(server, tmp_path / "bought", "--concurrency", 1)]
        command = [sys.executable, "-m", "scripts_multi_agent.main", *map(str, flags)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert killing.wait(120)
        journal = output / "3_judge" / "answers.jsonl"
        while (kept := journal.read_bytes().count(b"\n")) < 4:
            time.sleep(0.02)
        process.kill()
        process.wait()
        killed.set()
        assert not (output / "3_judge" / "responses.jsonl").exists()
        journal.write_bytes(journal.read_bytes() + b'{"key": "cut in t')
        shutil.rmtree(tmp_path / "bought")
        before = len(asked)
        run(server, source, output)
        again = asked[before:]
    assert [sum(role_of(prompt) == role for prompt in again) for role in ROLES] == [0, 0, 12 - kept, 12]
    assert [row["reflect"]["verdict"] for row in rows_of(output)] == [1, 0, 1, 0] * 3


def test_more_candidates_and_other_settings(source, tmp_path, capsys):
    """What is known of a response serves again when rows are added; other prompts or settings need another folder."""
    output = tmp_path / "out"
    with chat_server(answer) as server:
        flags = server_flags(server, tmp_path / "bought")
        stage(0, "--source", source, "--output", output / "0")
        stage(1, "--source", output / "0", "--output", output / "1", *flags)
        more = write_jsonl(tmp_path / "more.jsonl", candidates(4)[::-1])
        stage(0, "--source", more, "--output", output / "0more")
        shutil.rmtree(tmp_path / "bought")
        before = len(server.bodies)
        stage(1, "--source", output / "0more", "--output", output / "1", *flags)
        assert len(server.bodies) == before + 4
        assert len(read_jsonl(output / "1" / "responses.jsonl")) == 16
        for changed, told in [
            (["--temperature", 1], "temperature 0.2 there, 1.0 now"),
            (["--language", "zh"], "the prompts or the rubric"),
            (["--model", "other"], "model 'm' there, 'other' now"),
        ]:
            line = fails(lambda c=changed: stage(1, "--source", output / "0", "--output", output / "1", *flags, *c), capsys)
            assert f"has answers made otherwise ({told}); --overwrite or another folder" in line
        line = fails(lambda: stage(2, "--source", output / "1", "--output", output / "1", *flags), capsys)
        assert "has answers made otherwise (by 1_positive_agent)" in line
        stage(1, "--source", output / "0", "--output", output / "1", *flags, "--language", "zh", "--overwrite")
        assert "优点" in server.bodies[-1]["messages"][-1]["content"]
        assert len(read_jsonl(output / "1" / "responses.jsonl")) == 12
        moved = ["--base_url", server.url.replace("127.0.0.1", "localhost")]  # the same model elsewhere: nothing is asked
        before = len(server.bodies)
        stage(1, "--source", output / "0", "--output", output / "1", *flags, *moved, "--language", "zh")
        assert len(server.bodies) == before


def test_a_judge_without_debate_sees_no_arguments(source, tmp_path):
    with chat_server(answer) as server:
        flags = server_flags(server, tmp_path / "bought", "--no_debate")
        stage(0, "--source", source, "--output", tmp_path / "0")
        stage(3, "--source", tmp_path / "0", "--output", tmp_path / "3", *flags)
        stage(4, "--source", tmp_path / "3", "--output", tmp_path / "4", *flags)
        assert len(prompts_of(server, "judge")) == len(prompts_of(server, "reflect")) == 12
        assert {between(body["messages"][-1]["content"], "strengths") for body in server.bodies} == {"{}"}


def test_caps_hold_for_all_stages_together(source, tmp_path, capsys):
    with chat_server(answer) as server:
        line = fails(lambda: run(server, source, tmp_path / "out", "--max_requests", 20), capsys)
        assert (
            "2_negative: 4 of 12 responses have no answer yet (not asked: --max_requests 20 reached); the same command" in line
        )
        assert len(server.bodies) == 20
        run(server, source, tmp_path / "out", "--max_requests", 28)
        assert len(server.bodies) == 48


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (lambda body, times: openai_reply("判决：这篇故事很好。"), "most often: no JSON object with 'strengths'"),
        (lambda body, times: openai_reply('{"优点": {}}'), "most often: no JSON object with 'strengths'"),
        (lambda body, times: REFUSAL, "refused: No."),
        (lambda body, times: (401, {}, b'{"error": "bad key"}'), "refuses every request (HTTP 401: bad key); it wants a key"),
        (lambda body, times: (404, {}, b'{"error": {"message": "model m not found"}}'), "is --model m served there?"),
        (lambda body, times: (500, {}, b"down"), "HTTP 500: down"),
    ],
    ids=["another language", "other keys", "refusals", "wrong key", "no such model", "server errors"],
)  # fmt: skip
def test_a_model_or_server_that_is_of_no_use(source, tmp_path, capsys, told, reason):
    """One line; and after it works, the same command with --retry_failed goes on."""
    output, useless = tmp_path / "out", True
    with chat_server(lambda body, times: told(body, times) if useless else answer(body)) as server:
        line = fails(lambda: run(server, source, output), capsys)
        assert reason in line
        assert ("--retry_failed asks again" in line) == ("none of 12 responses" in line)
        useless = False
        run(server, source, output, "--retry_failed")
    assert not any("failed" in row for row in rows_of(output))


def test_a_server_that_is_not_there(source, tmp_path, capsys):
    with chat_server(answer) as server:
        pass
    line = fails(lambda: run(server, source, tmp_path / "out"), capsys)
    assert "is it started?" in line
    with chat_server(answer) as server:
        run(server, source, tmp_path / "out")
        assert len(server.bodies) == 48


def test_every_verdict_equal_or_one_response_a_prompt(tmp_path, capsys):
    rows = [row for row in candidates() if "good" in row["response"]]
    for name, given, told in [
        ("good", rows, "of 3 prompts 3 have good responses only, 0 bad ones only, 0 a single one"),
        ("one", rows[::2], "each of 3 prompts has one response"),
    ]:
        (tmp_path / name).mkdir()
        path = write_jsonl(tmp_path / name / "rows.jsonl", given)
        with chat_server(answer) as server:
            line = fails(lambda s=server, p=path, n=name: run(s, p, tmp_path / n / "out"), capsys)
        assert told in line
        assert (tmp_path / name / "out" / "4_reflect" / "summary.json").is_file()
        assert not (tmp_path / name / "out" / "pairs").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--corpus", "EMPTY"], "empty.jsonl: no rows"),
        (["--corpus", "ROWS", "--popularity_column", "clicks"], "no column 'clicks' (--popularity_column); it has id, label"),
        (["--corpus", "ROWS", "--popularity_column", "id"], "row 1, column 'id': expected a number, found '0-0'"),
        (["--popularity_column", "id"], "a column of the --corpus, which is missing"),
        (["--k_final", "4", "--k_search", "3"], "at most --k_search 3"),
        (["--source", "BARE"], "row 1: no column 'response'; it has prompt"),
        (["--source", "TAKEN"], "the column 'judge' is one that these stages add"),
        (["--source", "NULL"], "row 1, column 'response': expected a text, found None"),
        (["--source", "HALF"], "row 1, column 'response': no valid text (surrogates not allowed at character 5)"),
        (["--source", "BROKEN"], "broken.jsonl: row 2: not valid JSON"),
        (["--source", "nowhere.jsonl"], "not there"),
    ],
)
def test_candidates_and_corpora_that_cannot_be_used(source, tmp_path, capsys, flags, told):
    files = {
        "EMPTY": [], "ROWS": candidates(1), "BARE": [{"prompt": "a"}], "TAKEN": [{**candidates(1)[0], "judge": 1}],
        "NULL": [{"prompt": "a", "response": None}], "BROKEN": candidates(1)[:1],
    }  # fmt: skip
    places = {name: write_jsonl(tmp_path / f"{name.lower()}.jsonl", rows) for name, rows in files.items()}
    places["BROKEN"].write_text(places["BROKEN"].read_text() + "{")
    places["HALF"] = tmp_path / "half.jsonl"
    places["HALF"].write_text('{"prompt": "a", "response": "half \\ud83d"}\n')
    flags = [places.get(flag, flag) for flag in flags]
    line = fails(lambda: stage(0, "--source", source, "--output", tmp_path / "out", *flags), capsys)
    assert told in line
    assert not (tmp_path / "out").exists()


def test_stages_in_the_wrong_order(source, tmp_path, capsys):
    flags = ["--engine", "openai", "--model", "m", "--base_url", "http://127.0.0.1:9/v1"]
    stage(0, "--source", source, "--output", tmp_path / "0")
    for number, place, told in [
        (1, tmp_path / "nowhere", "no such file" ),
        (1, source, "row 1: no field 'examples'; run 0_retrieval_agent first"),
        (3, tmp_path / "0", "row 1: no field 'strengths'; run 1_positive_agent first"),
        (4, tmp_path / "0", "row 1: no field 'strengths'"),
    ]:  # fmt: skip
        line = fails(lambda n=number, p=place: stage(n, "--source", p, "--output", tmp_path / "out", *flags), capsys)
        assert told in line or "no responses.jsonl here" in line
        assert not (tmp_path / "out").exists()
    line = fails(lambda: stage(5, "--source", tmp_path / "0", "--output", tmp_path / "out"), capsys)
    assert "row 1: no field 'reflect'; run 4_reflect_agent first" in line


def test_candidates_of_any_policy(tmp_path):
    """A run folder of scripts_eval.sample, queries instead of prompts, messages, and a stage's data set."""
    prompt, response = "A door.", "It opened."
    (tmp_path / "run").mkdir()
    sample = {"prompt_id": 0, "prompt": prompt, "sample": 0, "response": response, "finished": True, "tokens": 3}
    write_jsonl(tmp_path / "run" / "samples.jsonl", [sample])
    write_jsonl(tmp_path / "q.jsonl", [{"query": prompt, "response": response, "label": 1}])
    messages = {"prompt": [{"role": "user", "content": prompt}], "completion": [{"role": "assistant", "content": response}]}
    (tmp_path / "m.json").write_text(json.dumps([messages]))
    post = {
        "post_title": "A", "post_text": "door.", "filtered_comment_texts": [response, "No."], "filtered_comment_scores": [5, 2],
    }  # fmt: skip
    DatasetDict({"test": Dataset.from_list([post])}).save_to_disk(str(tmp_path / "data"))
    found = {}
    for name, flags in (("run", []), ("q.jsonl", []), ("m.json", []), ("data", ["--split", "test"])):
        stage(0, "--source", tmp_path / name, "--output", tmp_path / f"out-{name}", *flags)
        found[name] = read_jsonl(tmp_path / f"out-{name}" / "responses.jsonl")
    for name in ("run", "q.jsonl", "m.json"):
        assert (found[name][0]["prompt"], found[name][0]["response"], found[name][0]["examples"]) == (prompt, response, [])
    assert found["run"][0]["tokens"] == 3
    assert found["q.jsonl"][0]["label"] == 1
    assert [(row["prompt"], row["response"], row["votes"]) for row in found["data"]] == [
        ("A\ndoor.", response, 5), ("A\ndoor.", "No.", 2),
    ]  # fmt: skip


def test_the_command_in_another_folder(source, tmp_path):
    with chat_server(answer) as server:
        flags = ["--source", source, "--output", tmp_path / "out", *server_flags(server, tmp_path / "bought")]
        command = [sys.executable, "-m", "scripts_multi_agent.main", *map(str, flags)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name != "embeddings") == sorted(FOLDERS)


def test_a_judge_that_refuses_everything_is_not_asked_600_times(tmp_path, capsys):
    """200 responses: it stops when the first replies are of no use, asks nothing when run again, and goes on when told to."""
    stage(0, "--source", write_jsonl(tmp_path / "candidates.jsonl", candidates(50)), "--output", tmp_path / "0")
    refusing = [True]
    with chat_server(lambda body, times: openai_reply("I cannot.") if refusing[0] else answer(body)) as server:
        flags = ["--source", tmp_path / "0", "--output", tmp_path / "1", *server_flags(server, tmp_path / "bought")]
        line = fails(lambda: stage(1, *flags), capsys)
        assert "the first 24 replies were all of no use, the last: no JSON object" in line
        asked = len(server.bodies)
        assert asked <= 24 + 8 * 8  # eight are under way at once, and a busy machine reads them late
        assert "--retry_failed" in fails(lambda: stage(1, *flags), capsys)
        assert len(server.bodies) == asked
        refusing[0] = False
        stage(1, *flags, "--retry_failed")
    assert not any("failed" in row for row in read_jsonl(tmp_path / "1" / "responses.jsonl"))


def test_a_model_of_this_machine(tmp_path, capsys):
    """The local engine: its replies, here garbage, are kept and not asked for again."""
    base = save_base(tmp_path / "base")
    source = write_jsonl(tmp_path / "candidates.jsonl", candidates(1, 2))
    stage(0, "--source", source, "--output", tmp_path / "0")
    flags = ["--source", tmp_path / "0", "--output", tmp_path / "1", "--base_model", base, "--max_new_tokens", 4]
    for asked in (True, False):
        line = fails(lambda: stage(1, *flags, "--device", "cpu"), capsys)
        assert "none of 2 responses has a usable answer; most often: no JSON object" in line
        rows = read_jsonl(tmp_path / "1" / "responses.jsonl")
        assert [row["usage"]["positive"]["calls"] for row in rows] == [3, 3]
        kept = read_jsonl(tmp_path / "1" / "answers.jsonl")
        assert len(kept) == 2, asked
    assert all(row["failed"]["reply"] for row in rows)


def test_a_column_of_labels_is_checked_before_anything_is_asked(source, tmp_path, capsys):
    with chat_server(answer) as server:
        line = fails(lambda: run(server, source, tmp_path / "out", "--label_column", "gold"), capsys)
        assert "no column 'gold' (--label_column); the responses have examples, id, label, more" in line
        line = fails(lambda: run(server, source, tmp_path / "out", "--label_column", "id"), capsys)
        assert "column 'id': expected 0 (bad) or 1 (good), found '0-0'" in line
        assert server.bodies == []


def test_the_whole_path_again_with_more_candidates(source, tmp_path, capsys):
    corpus, output = write_jsonl(tmp_path / "corpus.jsonl", CORPUS), tmp_path / "out"
    with chat_server(answer) as server:
        run(server, source, output, "--corpus", corpus)
        write_jsonl(source, candidates(4))
        shutil.rmtree(tmp_path / "bought")
        run(server, source, output, "--corpus", corpus)
        assert len(server.bodies) == 48 + 4 * 4
        assert len(rows_of(output)) == 16
        assert len(load_from_disk(str(output / "pairs"))["train"]) == 16
        line = fails(lambda: run(server, source, output, "--corpus", corpus, "--k_final", 1), capsys)
        assert "0_retrieval: exists already and was made otherwise (different arguments: k_final)" in line
        assert len(server.bodies) == 48 + 4 * 4


def test_what_is_wrong_is_told_before_anything_is_made(source, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    for flags, told in [
        ([], "--base_model is missing"),
        (["--engine", "openai"], "--model is missing"),
        (["--engine", "openai", "--model", "m"], "OPENAI_API_KEY is not set"),
        (
            ["--engine", "openai", "--model", "m", "--base_url", "http://127.0.0.1:9", "--task", "poems"],
            "no rubric of that name",
        ),
        (["--base_model", "nowhere", "--prompts", "nowhere"], "--prompts nowhere: no such folder"),
    ]:
        line = fails(lambda f=flags: whole.main(["--source", str(source), "--output", "out", *f]), capsys)
        assert told in line
        assert not (tmp_path / "out").exists()


def test_another_model_after_one_that_never_answered(source, tmp_path, capsys):
    stage(0, "--source", source, "--output", tmp_path / "0")
    wrong = [True]
    with chat_server(lambda body, times: (404, {}, b"no such model") if wrong[0] else answer(body)) as server:
        flags = ["--source", tmp_path / "0", "--output", tmp_path / "1", *server_flags(server, tmp_path / "bought")]
        assert "is --model wrong served there?" in fails(lambda: stage(1, *flags, "--model", "wrong"), capsys)
        wrong[0] = False
        stage(1, *flags)
    assert len(read_jsonl(tmp_path / "1" / "responses.jsonl")) == 12
    assert json.loads((tmp_path / "1" / "provenance.json").read_text())["arguments"]["model"] == "m"
