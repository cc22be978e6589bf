"""Chat models behind HTTP: several requests at once, retries with back-off, caps, and every paid answer kept."""

import contextlib
import email.utils
import ipaddress
import json
import math
import random
import re
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

import httpcore2
import httpx2

from diversity_tuning.cli import REQUESTS
from diversity_tuning.errors import UserError
from diversity_tuning.generation.apis import Anthropic, BadReplyError, OpenAI
from diversity_tuning.generation.budget import Budget, Limits
from diversity_tuning.generation.requests import ChatRequest, Failure, Sample, SamplingSettings, row_key
from diversity_tuning.generation.transcripts import Transcripts, request_key
from diversity_tuning.names import nearest
from diversity_tuning.public import hide, is_unmistakable, key_of, masked_url, printable

_LONGEST_WAIT = 600.0  # seconds; a server that asks for more has its request listed as failed
_GIVE_UP = 10  # requests in a row that no retry could save: the server is down
_LARGEST_BODY = 1 << 25  # bytes of one answer
_AGAIN = {408, 409, 425, 429}  # besides 5xx
_UNREADABLE = {400, 415, 422}  # a field of the body that the server does not take
_CONNECT = 10.0  # seconds until a server that does not take the connection is not there
_PATIENCE = 5  # requests that are refused (4xx) before the first answer: no other will fare better
_NO_MODEL = (  # in a complaint that is about the model, not about one prompt
    re.compile(r"model", re.IGNORECASE),
    re.compile(r"not (exist|found|available|supported|served|a valid)|unknown|no such|invalid|unsupported", re.IGNORECASE),
)


class HttpEngine:
    """A server as an :class:`Engine`. Answers come as they arrive; how many requests run at once does not change them.

    ``url`` is the API's base, ``extra`` fields of the body besides (see :mod:`generation.apis`), ``timeout`` the seconds for a
    whole answer, ``backoff`` seconds before the first retry, ``cache`` the folder of answers, None where they cost nothing.
    ``paid``: a run that is stopped waits for the requests under way. The key is read from the environment and never written
    anywhere.
    """

    def __init__(
        self,
        api: OpenAI | Anthropic,
        model: str,
        url: str | None = None,
        extra: dict | None = None,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        concurrency: int = 8,
        timeout: float = 600,
        max_retries: int = 5,
        cache: str | None = "transcripts",
        backoff: float = 1.0,
        paid: bool = True,
    ):
        if concurrency < 1 or not 0 < timeout < math.inf or max_retries < 0:
            raise UserError("--concurrency must be at least 1, --timeout a number above 0 and --max_retries at least 0")
        self.api, self.model, self.extra = api, model, extra or {}
        ours = sorted({"model", "messages", "stream", "n", "seed"} & {name for name, v in self.extra.items() if v is not None})
        if ours:
            raise UserError(f"--extra_body: '{ours[0]}' is set by the engine; only null, to leave it out, may be given")
        self.url = checked_url(url or api.default_url) + api.path
        self.key = key_of(api.key_variable)
        if self.key is None and url is None:
            raise UserError(f"{api.key_variable} is not set in the environment; {self.url} needs a key")
        self.concurrency, self.timeout, self.max_retries, self.backoff = concurrency, timeout, max_retries, backoff
        self.paid = paid
        self.budget = Budget(limits)
        self.transcripts = Transcripts(cache, self.url, model) if cache else None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._stop: str | None = None  # why no more requests are sent
        self._answered, self._given_up, self._not_before = False, 0, 0.0
        self._reached, self._refusals = False, 0  # before the first answer
        self.format_refused = ""  # what the server said when it did not take a response_format; it is then left out

    def complete(
        self, requests: list[ChatRequest], settings: SamplingSettings, seed: int = 0
    ) -> Iterator[list[tuple[int, Sample | Failure]]]:
        """As :class:`Engine` says. Bought answers are not bought again; one that was of no use is asked for with a new seed."""
        self.api.check(settings, self.url)
        self._closing.clear()
        with client_of(self.url, self.timeout, self.api.headers(self.key), self.concurrency) as client:
            executor = ThreadPoolExecutor(self.concurrency, thread_name_prefix=REQUESTS)
            wait = self.paid
            try:
                futures = {executor.submit(self._one, client, r, settings, seed): i for i, r in enumerate(requests)}
                for future in as_completed(futures):
                    yield [(futures[future], future.result())]
            except KeyboardInterrupt:
                if not self.paid:
                    raise
                try:
                    print(
                        "stopping when the requests under way, which are paid for, are answered; Ctrl-C again: now",
                        file=sys.stderr,
                    )
                    self._closing.set()
                    executor.shutdown(cancel_futures=True)
                except KeyboardInterrupt:  # the second
                    wait = False
                raise
            finally:  # what is under way is paid for: let it come in and be kept
                self._closing.set()
                executor.shutdown(wait=wait, cancel_futures=True)

    def _one(self, client: httpx2.Client, request: ChatRequest, settings: SamplingSettings, seed: int) -> Sample | Failure:
        body = self.api.body(self.model, request, settings, 0, self.extra)
        key = request_key(body, seed, request.sample)
        bought = self.transcripts.replies(key) if self.transcripts else []
        for reply in bought:
            with contextlib.suppress(BadReplyError, RecursionError):
                if isinstance(answer := self.api.read(reply), Sample):
                    return answer
        if "seed" in body and "seed" not in self.extra:
            body["seed"] = row_key(seed, f"{len(bought)}\0{request.key}", request.sample) % 2**31
        if self.format_refused:
            body.pop("response_format", None)
        return self._ask(client, body, key, settings.max_new_tokens)

    def _ask(self, client: httpx2.Client, body: dict, key: str, new_tokens: int) -> Sample | Failure:
        """Send, and send again while that may help. A :class:`UserError` when no request can succeed."""
        asked = max(
            [new_tokens, *(n for name in ("max_tokens", "max_completion_tokens") if isinstance(n := body.get(name), int))]
        )
        dearest = self.budget.cost(len(json.dumps(body).encode()), asked)  # a token is a byte or more
        error = ""
        for attempt in range(self.max_retries + 1):
            self._wait(attempt)
            stop = self._stop or ("the run was stopped" if self._closing.is_set() else self.budget.take(dearest))
            if stop:
                self._stop = self._stop or stop
                return Failure(f"{error}; not asked again: {stop}" if error else f"not asked: {stop}", stopped=True)
            cost = dearest  # unless we know better: an answer lost on the way is paid for, too
            try:
                status, headers, content = self._post(client, body)
                if status == 200:
                    reply = _parse(content)
                    cost = self._cost(reply, dearest)
                    answer = self.api.read(reply)
                    if self.transcripts:
                        self.transcripts.add(key, body, reply)
                    self._answered, self._reached, self._given_up = True, True, 0
                    return answer if isinstance(answer, Sample) else replace(answer, error=self._public(answer.error))
                cost, self._reached = 0.0, True
                said = f"HTTP {status}: {_message(content)}"
                error = self._public(said)
                if status in _UNREADABLE and "response_format" in body:
                    return self._without_format(client, body, key, new_tokens, error)
                if status not in _AGAIN and status < 500:
                    return self._refused(client, status, error, all(pattern.search(said) for pattern in _NO_MODEL))
                if not self._heed(headers.get("retry-after")):
                    return Failure(f"{error}; the server asks to wait {self._public(headers['retry-after'])} s")
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as problem:
                cost, error = 0.0, self._public(f"no connection to {self.url}: {problem}")
                if not self._reached and (attempt or isinstance(problem, httpx2.ConnectTimeout) or not self.max_retries):
                    self._stop = f"no server at {self.url}; is it started? ({self._public(str(problem))})"
                    raise UserError(self._stop) from None
            except (httpx2.RequestError, BadReplyError) as problem:
                error = self._public(f"{type(problem).__name__}: {problem}")
            except RecursionError:
                error = "BadReplyError: nested too deep to be read"
            finally:
                self.budget.settle(dearest, cost)
        return self._give_up(f"{error} (sent {self.max_retries + 1} times)")

    def _post(self, client: httpx2.Client, body: dict) -> tuple[int, httpx2.Headers, bytes]:
        """Status, headers and whole body, within the time-out even when header or body drip.

        A real key that the server repeats is masked in it; a dummy one, which any text may hold, is left alone.
        """
        content, told = b"", {"content-type": "application/json"}
        _Stream.deadline.end = time.monotonic() + self.timeout
        with client.stream("POST", self.url, content=json.dumps(body).encode(), headers=told) as response:
            for part in response.iter_bytes():
                content += part
                if len(content) > _LARGEST_BODY:
                    raise BadReplyError("the answer is too large")
        if self.key and is_unmistakable(self.key):
            content = content.replace(self.key.encode(), b"***")
        return response.status_code, response.headers, content

    def _wait(self, attempt: int) -> None:
        """Back-off that doubles with each attempt, to 60 s, half of it random; and no request before a server's Retry-After."""
        wait = min(60.0, self.backoff * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0) if attempt else 0.0
        self._closing.wait(wait)
        while (pause := self._not_before - time.monotonic()) > 0 and not self._closing.is_set():
            self._closing.wait(pause + random.uniform(0, self.backoff))

    def _heed(self, retry_after: str | None) -> bool:
        """Hold all requests back as long as the server asks; False when that is too long."""
        seconds = _seconds(retry_after)
        if seconds > _LONGEST_WAIT:
            return False
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + seconds)
        return True

    def _refused(self, client: httpx2.Client, status: int, error: str, names_model: bool) -> Failure:
        """A request that the server does not take as it is; before the first answer, a reason to ask for nothing more."""
        with self._lock:
            self._refusals += 1
            hopeless = not self._answered and (status in (401, 403, 404) or self._refusals >= _PATIENCE or names_model)
        if not hopeless:
            return Failure(error)
        self._stop = error
        if status in (401, 403):
            advice = f"the key comes from {self.api.key_variable}" if self.key else f"it wants a key in {self.api.key_variable}"
        else:
            advice = f"is --model {self.model} served there?{self._served(client)}"
        raise UserError(f"{self.url} refuses every request ({error}); {advice}")

    def _without_format(self, client: httpx2.Client, body: dict, key: str, new_tokens: int, error: str) -> Sample | Failure:
        """The request without its ``response_format``; where that is answered, no other request has one, and a line says so."""
        answer = self._ask(client, {name: value for name, value in body.items() if name != "response_format"}, key, new_tokens)
        with self._lock:
            if isinstance(answer, Sample) and not self.format_refused:
                self.format_refused = error
                print(f"warning: {self.url} takes no response_format ({error}); asked without", file=sys.stderr, flush=True)
        return answer

    def _served(self, client: httpx2.Client) -> str:
        """The models that a server of OpenAI's kind says it has, nearest first; nothing where it does not say."""
        with contextlib.suppress(httpx2.HTTPError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            _Stream.deadline.end = time.monotonic() + _CONNECT
            models = client.get(f"{self.url.removesuffix(self.api.path)}/models", timeout=_CONNECT).json()["data"]
            names = [model["id"] for model in models]
            near = nearest(self.model, names).replace("; did", " Did")
            return " " + self._public(near or f"It has {', '.join(names[:5])}") if names else ""
        return ""

    def _give_up(self, error: str) -> Failure:
        """Count a request that no retry could save; after some of them in a row, no more are sent."""
        with self._lock:
            self._given_up += 1
            if self._given_up >= _GIVE_UP and not self._stop:
                self._stop = f"{_GIVE_UP} requests in a row had failed, the last: {error}"
        return Failure(error)

    def _cost(self, reply: dict, dearest: float) -> float:
        tokens_in, tokens_out = self.api.usage(reply)
        return dearest if tokens_in is None or tokens_out is None else self.budget.cost(tokens_in, tokens_out)

    def _public(self, text: str) -> str:
        """One short line without the key and without what a terminal obeys."""
        line = " ".join(printable(hide(text, self.key)).split())
        return line if len(line) <= 300 else f"{line[:300]}…"


class _Stream(httpcore2.NetworkStream):
    """A connection whose reads and writes end at the deadline of the thread's request, however the server drips."""

    deadline = threading.local()  # .end: on the clock of time.monotonic

    def __init__(self, stream: httpcore2.NetworkStream):
        self._stream = stream

    def _left(self, timeout: float | None, error: type[Exception]) -> float | None:
        left = getattr(self.deadline, "end", math.inf) - time.monotonic()
        if left <= 0:
            raise error("not whole when the time was up (--timeout)")
        return min(left, math.inf if timeout is None else timeout) if left < math.inf else timeout

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._left(timeout, httpcore2.WriteTimeout))

    def start_tls(self, ssl_context, server_hostname=None, timeout=None) -> httpcore2.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str):
        return self._stream.get_extra_info(info)

    def close(self) -> None:
        self._stream.close()


class _Backend(httpcore2.SyncBackend):
    def connect_tcp(self, *args, **kwargs) -> httpcore2.NetworkStream:
        return _Stream(super().connect_tcp(*args, **kwargs))


def client_of(url: str, timeout: float, headers: dict[str, str], concurrency: int = 1) -> httpx2.Client:
    """A client for ``url``. One of this machine is asked directly, whatever the environment's proxies are."""
    limits = httpx2.Limits(max_connections=concurrency)
    waits = httpx2.Timeout(timeout, connect=min(timeout, _CONNECT))
    client = httpx2.Client(timeout=waits, limits=limits, headers=headers, trust_env=not is_loopback(httpx2.URL(url).host))
    for transport in (client._transport, *filter(None, client._mounts.values())):  # there is no public place for a deadline
        transport._pool._network_backend = _Backend()
    return client


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: localhost, 127.0.0.0/8, ::1, and the address that stands for all of its own."""
    host = host.strip("[]").rstrip(".").lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def checked_url(url: str) -> str:
    """The URL of an API without a slash at its end; a :class:`UserError`, which shows no secret, where it is none."""
    shown = masked_url(url)
    try:
        parts = httpx2.URL(url)
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise UserError(f"--base_url {shown}: not a URL ({masked_url(str(error))})") from None
    if parts.userinfo or parts.query or parts.fragment or "@" in url or "?" in url or "#" in url:
        raise UserError("--base_url: no user, password or query in it, and nothing after #; the key goes into the environment")
    if parts.scheme not in ("http", "https") or not parts.host:
        raise UserError(f"--base_url {shown!r}: must begin with http:// or https:// and name a host")
    return url.rstrip("/")


def _parse(content: bytes) -> dict:
    try:
        reply = json.loads(content)
    except (ValueError, RecursionError):  # also bytes that are not UTF-8
        raise BadReplyError(f"not JSON, or nested too deep ({len(content)} bytes)") from None
    if not isinstance(reply, dict):
        raise BadReplyError("not a JSON object")
    return reply


def _message(content: bytes) -> str:
    """What the server says is wrong."""
    text = content[:2000].decode("utf-8", errors="replace")
    with contextlib.suppress(ValueError, AttributeError, RecursionError):
        reply = json.loads(content)
        error = reply.get("error") or reply.get("detail") or reply
        text = str(error.get("message") or error) if isinstance(error, dict) else str(error)
    return text


def _seconds(retry_after: str | None) -> float:
    """Seconds of a Retry-After header: a number or a date; 0 where it is missing or makes no sense."""
    if not retry_after:
        return 0.0
    with contextlib.suppress(ValueError):
        return max(0.0, float(retry_after))
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    return 0.0
