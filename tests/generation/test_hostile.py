"""The HTTP engine: dummy and broken keys, proxies of the environment, replies that no honest server sends."""

import json
import socket
import threading
import time

import pytest

from diversity_tuning.cli import command
from diversity_tuning.errors import UserError
from diversity_tuning.generation.apis import Anthropic, OpenAI
from diversity_tuning.generation.engine import EngineConfig, extra_body
from diversity_tuning.generation.remote import HttpEngine, is_loopback
from diversity_tuning.generation.requests import Failure
from diversity_tuning.generation.vllm import VllmCompletions
from diversity_tuning.generation.vllm_server import VllmServer
from tests.generation.server import anthropic_reply, chat_server, openai_reply
from tests.generation.test_remote import GOOD, ask, engine
from tests.tiny import make_tokenizer

TOLD = "the greatest token of none: EMPTY keys, a test, not-needed, sk-no-key-required"


@pytest.mark.parametrize("dummy", ["test", "none", "key", "token", "EMPTY", "e", "not-needed", "sk-no-key-required"])
def test_a_dummy_key_changes_no_answer(tmp_path, monkeypatch, dummy):
    monkeypatch.setenv("OPENAI_API_KEY", dummy)
    monkeypatch.setenv("ANTHROPIC_API_KEY", dummy)
    with chat_server(lambda body, times: openai_reply(TOLD)) as server:
        assert [ask(engine(server, tmp_path))[0].text for _ in "ab"] == [TOLD] * 2
        assert server.headers[0]["authorization"] == f"Bearer {dummy}"
    with chat_server(lambda body, times: anthropic_reply(TOLD)) as server:
        assert ask(HttpEngine(Anthropic(), "m", server.url.removesuffix("/v1"), cache=str(tmp_path)))[0].text == TOLD


def test_a_dummy_key_hides_no_unknown_model(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "model")
    answer = (400, {}, b'{"error": {"message": "The model `m` does not exist"}}')
    with chat_server(lambda body, times: answer) as server, pytest.raises(UserError, match="is --model model served"):
        ask(engine(server, tmp_path))


BROKEN = [
    "sk-abcdef0123456789\r",
    "sk-abcdef0123456789\n",
    "“sk-abcdef0123456789”",
    "sk-abc def",
    "\tsk-abcdef",
    "sk-ключ",
    "\n",
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_key_that_no_header_can_hold_is_refused_unseen_and_nothing_is_sent(tmp_path, monkeypatch, broken):
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "VLLM_API_KEY"):
        monkeypatch.setenv(name, broken)
    with chat_server(lambda body, times: openai_reply("a story")) as server:
        for make in (
            lambda: engine(server, tmp_path),
            lambda: HttpEngine(Anthropic(), "m", server.url, cache=str(tmp_path)),
            lambda: HttpEngine(VllmCompletions(make_tokenizer(), [0]), "m", server.url, cache=None),
            lambda: VllmServer("base", {}, tmp_path / "vllm.log").start(100),
        ):
            with pytest.raises(UserError, match=r"_API_KEY: holds a.* that no key has") as refused:
                make()
            assert not broken.strip() or broken.strip() not in str(refused.value)
        assert not server.bodies
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "url", ["http://host/v1#sk-secret", "http://u:sk-secret@host", "u:sk-secret@host", "http://[::1/#sk-secret"]
)
def test_a_secret_in_a_url_is_refused_and_not_shown(url):
    with pytest.raises(UserError, match="--base_url") as refused:
        EngineConfig("openai", model="m", base_url=url)
    assert "sk-secret" not in str(refused.value)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_a_server_of_this_machine_is_asked_past_every_proxy(tmp_path, monkeypatch, variable):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with chat_server(lambda body, times: openai_reply("from the proxy")) as proxy:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.server_port}")
        with chat_server(lambda body, times: openai_reply("a story")) as server:
            assert ask(engine(server, tmp_path)) == [GOOD]
            assert ask(engine(server.url.replace("127.0.0.1", "localhost"), tmp_path)) == [GOOD]
        assert not proxy.bodies
        answer = ask(engine("http://elsewhere.invalid/v1", tmp_path / "other"))[0]
        assert answer.text == "from the proxy", "other hosts are asked through it, as the environment says"


def test_what_is_this_machine():
    assert all(
        map(is_loopback, "127.0.0.1 127.8.9.1 localhost LOCALHOST. a.localhost ::1 [::1] 0.0.0.0 ::ffff:127.0.0.1".split())
    )
    assert not any(map(is_loopback, "example.org 10.0.0.1 localhost.example.org 127.example.org 192.168.1.1 ::2".split()))


def deep(depth=200_000):
    return (200, {}, b'{"choices":' + b"[" * depth + b"]" * depth + b"}")


def choice(**fields):
    message = {"role": "assistant", "content": "a story"}
    return {"choices": [{"message": message, "finish_reason": "stop"} | fields]}


HOSTILE = {
    "deep": deep(),
    "deep error": (500, {}, deep()[2]),
    "list for text": choice(message={"content": ["a story"]}),
    "empty list for text": choice(message={"content": []}),
    "object for text": choice(message={"content": {"text": "a"}}),
    "list for reason": choice(finish_reason=["stop"]),
    "object for reason": choice(finish_reason={"a": 1}),
    "object for choices": {"choices": {"a": 1}},
    "text for choices": {"choices": "abc"},
    "list for message": choice(message=["a story"]),
    "object for refusal": choice(message={"content": None, "refusal": {"a": "\ud83d"}}),
    "half an emoji in an error": (400, {}, b'{"error": {"message": "bad \\ud83d thing"}}'),
    "escapes in an error": (400, {}, b'{"error": {"message": "\\u001b[2J\\u001b]0;title\\u0007red\\u009b31m"}}'),
    "list for error": (400, {}, b'{"error": [1, {"a": null}]}'),
    "wait of no number": (503, {"retry-after": "nan"}, b"busy"),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_reply_that_no_honest_server_sends_is_a_failure_of_one_printable_line(tmp_path, hostile):
    with chat_server(lambda body, times: HOSTILE[hostile]) as server:
        (answer,) = ask(engine(server, tmp_path))
    assert isinstance(answer, Failure)
    assert answer.error.encode().decode().isprintable()


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": [1], "completion_tokens": "2"}, {"completion_tokens": 10**400}, [1], "x", None]
)
def test_counts_of_another_type_are_not_known(tmp_path, usage):
    with chat_server(lambda body, times: openai_reply("a story", usage=False) | {"usage": usage}) as server:
        assert ask(engine(server, tmp_path))[0].tokens is None


@pytest.mark.parametrize("ids", [["a"], [None], [-1], [10**30], [[1]], [1.5], [True], "abc", {}])
def test_token_ids_that_are_none(ids):
    answer = VllmCompletions(make_tokenizer(), [0]).read({"choices": [{"finish_reason": "stop", "token_ids": ids}]})
    assert isinstance(answer, Failure)


def test_an_error_is_printed_without_escapes(capsys):
    @command
    def main(argv=None):
        raise UserError("the server said \x1b[31mno\x1b[0m \x9b2J\ud83d")

    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().err == "error: the server said no \n"


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\nx-a: ", b"HTTP/1.1 100 Continue\r\n\r\n", b"HT"])
def test_a_header_that_drips_ends_with_the_time_out(tmp_path, part):
    """Byte after byte, each within the time-out."""
    ended = threading.Event()

    def serve():
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    def drip(connection):
        try:
            connection.sendall(part)
            while not ended.wait(0.1):
                connection.sendall(part if b"100" in part else b"a")
        except OSError:
            pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        begin = time.monotonic()
        (answer,) = ask(engine(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", tmp_path, timeout=0.5, max_retries=0))
        took = time.monotonic() - begin
        ended.set()
    assert isinstance(answer, Failure)
    assert took < 3


@pytest.mark.parametrize("timeout", [float("nan"), -1.0, 0.0, float("inf")])
def test_a_time_out_that_is_no_time_is_refused(timeout):
    for name in ("timeout", "server_timeout"):
        with pytest.raises(UserError, match=f"--{name}"):
            EngineConfig("openai", model="m", **{name: timeout})
    with pytest.raises(UserError, match="--timeout"):
        HttpEngine(OpenAI(), "m", "http://localhost", timeout=timeout, cache=None)


def test_no_number_of_json_is_refused():
    for text in ('{"a": NaN}', '{"a": -Infinity}', "[" * 100_000):
        with pytest.raises(UserError, match="--extra_body: not JSON"):
            extra_body(EngineConfig("openai", model="m", extra_body=text))


def test_a_key_in_the_extra_body_is_refused_and_not_shown():
    for extra in ('{"api_key": "sk-secret"}', {"deep": [{"auth_token": "sk-secret"}]}):
        with pytest.raises(UserError, match="--extra_body: holds a key") as refused:
            extra_body(EngineConfig("openai", model="m", extra_body=extra))
        assert "sk-secret" not in str(refused.value)
    assert extra_body(EngineConfig("openai", model="m", extra_body='{"stop_token": "<|end|>", "max_tokens": 5}'))


def test_a_stored_reply_that_is_nested_too_deep_is_passed_over(tmp_path):
    with chat_server(lambda body, times: openai_reply("a story")) as server:
        bought = engine(server, tmp_path)
        bought.transcripts.path.write_bytes(b'{"key": "a", "reply": ' + b"[" * 200_000 + b"\n")
        assert ask(engine(server, tmp_path)) == [GOOD]
        assert json.loads(bought.transcripts.path.read_text().splitlines()[-1])["reply"]
