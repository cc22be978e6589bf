"""The HTTP engine: what is sent and read, caps, cache, secrets. Faults: test_faults.py."""

import json
import logging
import socket
import time

import pytest

from diversity_tuning.errors import UserError
from diversity_tuning.generation.apis import Anthropic, OpenAI
from diversity_tuning.generation.budget import Limits
from diversity_tuning.generation.remote import HttpEngine
from diversity_tuning.generation.requests import ChatRequest, Sample, SamplingSettings, user_request
from diversity_tuning.generation.vllm import VllmCompletions
from diversity_tuning.thinking import cut_thinking
from tests.generation.server import anthropic_reply, chat_server, openai_reply
from tests.tiny import make_tokenizer

KEY = "sk-very-secret-0123456789"
SETTINGS = SamplingSettings(max_new_tokens=50, system_prompt="You write.")
GOOD = Sample("a story", True, 20)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


def engine(server, folder, **options):
    options = {"cache": str(folder), "backoff": 0.01, "timeout": 20, "max_retries": 2, "concurrency": 2} | options
    return HttpEngine(OpenAI(), "model", server if isinstance(server, str) else server.url, **options)


def ask(engine, count=1, settings=SETTINGS, seed=0, prompt="a door"):
    answers = [
        pair for batch in engine.complete([user_request(prompt, n) for n in range(count)], settings, seed) for pair in batch
    ]
    assert sorted(i for i, _ in answers) == list(range(count))
    return [answer for _, answer in sorted(answers, key=lambda pair: pair[0])]


def test_what_is_sent_and_read(tmp_path):
    with chat_server(lambda body, times: openai_reply("<think>plan</think>\n\na story ", "length")) as server:
        answers = ask(engine(server, tmp_path, extra={"top_k": 50, "top_p": None}), 4)
    assert answers == [Sample("a story", False, 20)] * 4
    assert len({body["seed"] for body in server.bodies}) == 4
    body = server.bodies[0]
    assert body | {"seed": 0} == {
        "model": "model",
        "messages": [{"role": "system", "content": "You write."}, {"role": "user", "content": "a door"}],
        "temperature": 1.0,
        "max_tokens": 50,
        "top_k": 50,
        "seed": 0,
    }
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert server.headers[0]["path"] == "/v1/chat/completions"


def test_anthropic(tmp_path):
    with chat_server(lambda body, times: anthropic_reply("a story", "max_tokens" if times else "end_turn")) as server:
        claude = HttpEngine(Anthropic(), "claude", server.url.removesuffix("/v1"), concurrency=1, cache=str(tmp_path))
        assert ask(claude, 2) == [GOOD, Sample("a story", False, 20)]
    assert server.headers[0]["path"] == "/v1/messages"
    assert server.headers[0]["x-api-key"] == KEY
    assert server.headers[0]["anthropic-version"] == "2023-06-01"
    messages = [{"role": "user", "content": "a door"}]
    body = {"model": "claude", "system": "You write.", "messages": messages, "temperature": 1.0, "max_tokens": 50}
    assert server.bodies[0] == body
    for reply, error in ((anthropic_reply("", "refusal"), "refusal"), ({"type": "error"}, "fields are missing")):
        with chat_server(lambda body, times, reply=reply: reply) as server:
            claude = HttpEngine(Anthropic(), "claude", server.url.removesuffix("/v1"), max_retries=0, cache=str(tmp_path))
            assert error in ask(claude)[0].error


def test_min_p_is_sent_to_servers_that_may_have_it_and_refused_elsewhere(tmp_path):
    hot = SamplingSettings(max_new_tokens=5, min_p=0.1)
    with chat_server(lambda body, times: openai_reply("a story")) as server:
        ask(engine(server, tmp_path), settings=hot)
        assert server.bodies[0]["min_p"] == 0.1
        for api, url in ((OpenAI(), None), (OpenAI(), "https://api.openai.com/v1/"), (Anthropic(), server.url)):
            refusing = HttpEngine(api, "m", url, cache=str(tmp_path))
            with pytest.raises(UserError, match=r"--min_p 0.1: \w+'s API has no min-p"):
                ask(refusing, settings=hot)
        assert len(server.bodies) == 1


def test_min_p_of_vllm():
    api = VllmCompletions(make_tokenizer(), [1])
    request = user_request("a door")
    assert "min_p" not in api.body("m", request, SamplingSettings(), 0, {})
    assert api.body("m", request, SamplingSettings(min_p=0.1), 0, {})["min_p"] == 0.1


def test_nothing_is_bought_twice(tmp_path):
    with chat_server(lambda body, times: openai_reply(f"story {body['seed']}")) as server:
        first = ask(engine(server, tmp_path), 5)
        assert ask(engine(server, tmp_path), 5) == first
        assert len(server.bodies) == 5
        (file,) = tmp_path.iterdir()
        file.write_bytes(file.read_bytes()[:-20])  # killed while writing the last line
        assert sorted(a.text for a in ask(engine(server, tmp_path), 5)) == sorted(a.text for a in first)
        assert len(server.bodies) == 6
        assert ask(engine(server, tmp_path), 5) == first
        assert len(server.bodies) == 6
        for other in (
            lambda: ask(engine(server, tmp_path), seed=1),
            lambda: ask(engine(server, tmp_path), prompt="a window"),
            lambda: ask(engine(server, tmp_path), settings=SamplingSettings(temperature=0.5)),
            lambda: ask(engine(server, tmp_path, extra={"top_k": 5})),
        ):
            before = len(server.bodies)
            other()
            assert len(server.bodies) == before + 1


def test_concurrency_is_used_and_limited_and_changes_no_answer(tmp_path):
    def answer(body, times):
        time.sleep(0.05)
        return openai_reply(f"story {body['seed']}")

    with chat_server(answer) as server:
        several = ask(engine(server, tmp_path / "a", concurrency=3), 9)
        assert server.most_at_once == 3
        server.most_at_once = 0
        assert ask(engine(server, tmp_path / "b", concurrency=1), 9) == several
        assert server.most_at_once == 1


def test_max_requests_counts_retries_and_the_next_run_goes_on(tmp_path):
    with chat_server(lambda body, times: (500, {}, b"") if times == 0 else openai_reply("a story")) as server:
        answers = ask(engine(server, tmp_path, limits=Limits(max_requests=3), concurrency=1), 6)
        assert len(server.bodies) == 3
        assert answers[:2] == [GOOD, GOOD]
        assert {answer.error for answer in answers[2:]} == {"not asked: --max_requests 3 reached"}
        assert ask(engine(server, tmp_path), 6) == [GOOD] * 6
        assert len(server.bodies) == 7


@pytest.mark.parametrize("usage", [True, False])
def test_max_cost_is_never_passed(tmp_path, usage):
    limits = Limits(max_cost=0.01, price_input=1.0, price_output=100.0)  # 20 tokens out: 0.002; 50 at most: 0.005
    with chat_server(lambda body, times: openai_reply("a story", usage=usage)) as server:
        paid = engine(server, tmp_path, limits=limits, concurrency=4)
        answers = ask(paid, 10)
    bought = sum(isinstance(answer, Sample) for answer in answers)
    assert len(server.bodies) == bought == (3 if usage else 1)
    assert 0 < paid.budget.spent <= 0.01
    assert "--max_cost 0.01 would be passed" in answers[-1].error or isinstance(answers[-1], Sample)


def test_a_server_that_fails_is_given_up(tmp_path):
    with chat_server(lambda body, times: (500, {}, b"broken")) as server:
        answers = ask(engine(server, tmp_path, max_retries=0, concurrency=1), 30)
        assert len(server.bodies) == 10
    assert "HTTP 500" in answers[0].error
    assert sum("not asked: 10 requests in a row had failed" in answer.error for answer in answers) == 20


def test_a_server_that_is_not_there_stops_the_run_in_seconds(tmp_path):
    """With the retries and the back-off that the command has by default."""
    started = time.monotonic()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        down = engine(url, tmp_path, max_retries=5, backoff=1.0, concurrency=8)
        with pytest.raises(UserError, match=rf"no server at {url}/chat/completions; is it started\?"):
            ask(down, 100)
    assert time.monotonic() - started < 10
    assert down.budget.sent <= 16


def test_a_server_that_goes_away_later_is_waited_for(tmp_path):
    """Once it has answered, a connection that is refused is tried again, since servers are restarted."""
    with chat_server(lambda body, times: openai_reply("a story")) as server:
        client = engine(server, tmp_path, max_retries=1, concurrency=1)
        assert ask(client) == [GOOD]
    (answer,) = ask(client, prompt="another")
    assert "no connection" in answer.error
    assert "sent 2 times" in answer.error


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "The model `model` does not exist."), (400, "model: unknown model 'model'"), (404, "Not Found")],
)
def test_an_unknown_model_stops_the_run_at_once(tmp_path, monkeypatch, status, message):
    monkeypatch.delenv("OPENAI_API_KEY")
    with chat_server(lambda body, times: (status, {}, json.dumps({"error": {"message": message}}).encode())) as server:
        server.models = ["Modell", "other"]
        with pytest.raises(UserError) as stopped:
            ask(engine(server, tmp_path, concurrency=1), 20)
        assert len(server.bodies) == 1
    error = str(stopped.value)
    assert message in error
    assert "is --model model served there? Did you mean Modell?" in error
    assert "key" not in error.lower(), "no advice about keys where there is none"


def test_what_a_server_without_a_list_of_models_says(tmp_path):
    with chat_server(lambda body, times: (404, {}, b"{}")) as server, pytest.raises(UserError, match=r"served there\?$"):
        ask(engine(server, tmp_path))


def test_requests_that_are_all_refused_end_after_five(tmp_path):
    """A 400 may be about one prompt, so one of them does not stop the run; five before any answer do."""
    with chat_server(lambda body, times: (400, {}, b'{"error": "max_tokens is too large"}')) as server:
        with pytest.raises(UserError, match="refuses every request"):
            ask(engine(server, tmp_path, concurrency=1), 20)
        assert len(server.bodies) == 5


def test_a_server_that_wants_a_key_and_gets_none(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with (
        chat_server(lambda body, times: (401, {}, b"{}")) as server,
        pytest.raises(UserError, match="it wants a key in OPENAI_API_KEY"),
    ):
        ask(engine(server, tmp_path))


def test_a_refused_key_ends_the_run_without_showing_it(tmp_path):
    with chat_server(lambda body, times: (401, {}, f'{{"error": "no such key {KEY}"}}'.encode())) as server:
        with pytest.raises(UserError, match="OPENAI_API_KEY") as error:
            ask(engine(server, tmp_path, concurrency=1), 5)
        assert KEY not in str(error.value)
        assert len(server.bodies) == 1


def test_no_secret_on_disk_or_in_logs(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with chat_server(lambda body, times: openai_reply(f"you sent {KEY}") if times else (500, {}, KEY.encode())) as server:
        (answer,) = ask(engine(server, tmp_path))
        (failure,) = ask(engine(server, tmp_path, max_retries=0), prompt="another")
    assert answer.text == "you sent ***"
    assert KEY not in failure.error
    assert KEY not in "".join(file.read_text() for file in tmp_path.iterdir())
    assert "127.0.0.1" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "http://user:pass@host/v1"}, "no user, password or query"),
        ({"url": "http://host/v1?key=abc"}, "no user, password or query"),
        ({"url": "host:8000"}, "must begin with http"),
        ({"extra": {"stream": True}}, "'stream' is set by the engine"),
        ({"concurrency": 0}, "--concurrency"),
    ],
)
def test_wrong_options_are_told(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        HttpEngine(OpenAI(), "m", **{"url": "http://localhost", "cache": str(tmp_path), **options})


def test_a_missing_key_or_price_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match="OPENAI_API_KEY is not set"):
        HttpEngine(OpenAI(), "m", cache=str(tmp_path))
    with pytest.raises(UserError, match="--price_input"):
        Limits(max_cost=1.0)


def test_half_an_emoji_can_be_written(tmp_path):
    with chat_server(lambda body, times: (200, {}, json.dumps(openai_reply("a \ud83d story")).encode())) as server:
        (answer,) = ask(engine(server, tmp_path))
    assert answer.text.encode() == b"a ? story"


def test_a_conversation_keeps_its_turns(tmp_path):
    turns = (("user", "a door"), ("assistant", "It was shut."), ("user", "Another."))
    with chat_server(lambda body, times: openai_reply("a story")) as server:
        list(engine(server, tmp_path).complete([ChatRequest(turns)], SamplingSettings()))
    assert [(m["role"], m["content"]) for m in server.bodies[0]["messages"]] == list(turns)


def test_only_leading_reasoning_is_cut():
    assert cut_thinking("a story") == "a story"
    assert cut_thinking("<think>a\nb</think>\nc") == "\nc"
    assert cut_thinking("plan </think> c") == " c"  # a server that has cut the opening tag off
    assert cut_thinking("<think>a") is None
    assert cut_thinking("He said <think> and </think> aloud") == "He said <think> and </think> aloud"
