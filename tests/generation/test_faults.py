"""The HTTP engine against a server that fails in every way: survived, or listed and asked again by the next run."""

import json
import socket
import time

import pytest

from diversity_tuning.generation.requests import Failure
from tests.generation.server import chat_server, openai_reply
from tests.generation.test_remote import GOOD, ask, engine, key  # noqa: F401 (a fixture)


def cut_body(handler):
    content = json.dumps(openai_reply("a story")).encode()
    handler.send(200, {}, content[:30], length=len(content))


def drop(handler):
    handler.connection.shutdown(socket.SHUT_RDWR)


def drip(handler):
    handler.send(200, {}, b"", length=1000)
    for _ in range(12):
        time.sleep(0.1)
        handler.wfile.write(b" ")


def hang(handler):
    time.sleep(1.0)


FAULTS = {
    "500": (500, {}, b"oops"),
    "503 page": (503, {"content-type": "text/html"}, b"<html>busy</html>"),
    "529": (529, {}, b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'),
    "429": (429, {}, b'{"error": {"message": "slow down"}}'),
    "408": (408, {}, b""),
    "cut body": cut_body,
    "dropped connection": drop,
    "dripping body": drip,
    "time-out": hang,
    "malformed JSON": (200, {}, b'{"choices": [{'),
    "not UTF-8": (200, {}, b'{"choices": "\xff\xfe"}'),
    "empty body": (200, {}, b""),
    "not an object": (200, {}, b"[1, 2]"),
    "wrong schema": {"choices": [{"text": "old style"}]},
    "no choices": {"choices": []},
    "message is a text": {"choices": [{"message": "a story", "finish_reason": "stop"}]},
    "parts": {"choices": [{"message": {"content": [{"text": "a story"}]}, "finish_reason": "stop"}]},
    "error with 200": {"error": {"message": "upstream"}},
    "false gzip": (200, {"content-encoding": "gzip"}, b"not gzip"),
}


def patience(fault):
    return 0.7 if fault in ("time-out", "dripping body") else 20


@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_is_survived(tmp_path, fault):
    with chat_server(lambda body, times: FAULTS[fault] if times == 0 else openai_reply("a story")) as server:
        assert ask(engine(server, tmp_path, timeout=patience(fault))) == [GOOD]
        assert len(server.bodies) == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lasting_fault_is_a_failure_and_asked_again_by_the_next_run(tmp_path, fault):
    broken = True
    with chat_server(lambda body, times: FAULTS[fault] if broken else openai_reply("a story")) as server:
        (answer,) = ask(engine(server, tmp_path, timeout=patience(fault)))
        assert isinstance(answer, Failure)
        assert "sent 3 times" in answer.error
        assert "\n" not in answer.error
        assert len(server.bodies) == 3
        broken = False
        assert ask(engine(server, tmp_path)) == [GOOD]


def test_retry_after_is_heeded_by_all_requests(tmp_path):
    def answer(body, times):
        return (429, {"retry-after": "0.6"}, b"{}") if times == 0 else openai_reply("a story")

    with chat_server(answer) as server:
        assert ask(engine(server, tmp_path, concurrency=1), 3) == [GOOD] * 3
        assert server.times[1] - server.times[0] >= 0.6
        assert len(server.bodies) == 4


def test_a_wait_that_is_too_long_is_a_failure(tmp_path):
    with chat_server(lambda body, times: (429, {"retry-after": "86400"}, b"{}")) as server:
        (answer,) = ask(engine(server, tmp_path))
        assert "86400" in answer.error
        assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (openai_reply(""), "empty text"),
        (openai_reply("   \n"), "empty text"),
        (openai_reply(None), "empty text"),
        (openai_reply("<think>long and", "length"), "not closed"),
        (openai_reply("<think>all</think> ", "length"), "empty text"),
        (openai_reply("half a st", "content_filter"), "content_filter"),
        (openai_reply("a story", None), "finish reason None"),
        ({"choices": [{"message": {"content": None, "refusal": "I can't."}, "finish_reason": "stop"}]}, "refused: I can't."),
        ((400, {}, b'{"error": {"message": "context is too long"}}'), "HTTP 400: context is too long"),
        ((422, {}, b'{"detail": "Unexpected fields"}'), "HTTP 422: Unexpected fields"),
        ((301, {"location": "http://elsewhere"}, b""), "HTTP 301"),
    ],
)
def test_an_answer_of_no_use_is_not_retried_at_once_but_asked_anew_later(tmp_path, reply, error):
    bad = True
    with chat_server(lambda body, times: reply if bad else openai_reply("a story")) as server:
        (answer,) = ask(engine(server, tmp_path))
        assert error in answer.error
        assert len(server.bodies) == 1
        bad = False
        assert ask(engine(server, tmp_path)) == [GOOD]
        if isinstance(reply, dict):
            assert server.bodies[0]["seed"] != server.bodies[1]["seed"]
        assert ask(engine(server, tmp_path)) == [GOOD]
        assert len(server.bodies) == 2
