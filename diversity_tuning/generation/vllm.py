"""Sampling with vLLM: prompts, stop tokens and settings are those of the local engine; the random numbers are vLLM's.

Prompts are sent to `/v1/completions` as token ids, made here with the adapter's tokenizer and chat template, and the answer's
token ids are decoded here, so that neither depends on a template that vLLM would choose. docs/SAMPLING.md says what differs.
"""

import functools
import math
import threading
from collections.abc import Iterator
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from diversity_tuning.generation.apis import BadReplyError, OpenAI, schema_of, without_none
from diversity_tuning.generation.local import check_context, encode_conversations, read_tokens
from diversity_tuning.generation.remote import HttpEngine
from diversity_tuning.generation.requests import ChatRequest, Failure, Sample, SamplingSettings
from diversity_tuning.generation.vllm_server import VllmServer

CONCURRENCY = 64  # requests at once for every GPU
_END = 10.0  # seconds in which a server that takes no connection ends, if that is why
_TURN = 256  # tokens that a turn of a conversation may have besides its response: what is asked, and the template's


class VllmCompletions(OpenAI):
    """`POST /v1/completions` of vLLM with token ids in and out (vLLM 0.10.2 or newer)."""

    key_variable = "VLLM_API_KEY"  # which `vllm serve` reads, too
    default_url = "http://127.0.0.1:8000/v1"
    path = "/completions"

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: list[int]):
        self.tokenizer, self.stops = tokenizer, stops
        self._lock = threading.Lock()  # tokenizers are not to be used by two threads at once
        self.encode = functools.lru_cache(maxsize=None)(self._encode)

    def check(self, settings: SamplingSettings, url: str | None) -> None:
        """vLLM has all of the settings."""

    def _encode(self, messages: tuple, system_prompt: str | None) -> list[int]:
        """Token ids of a conversation up to where the response begins."""
        with self._lock:
            return encode_conversations(self.tokenizer, [ChatRequest(messages)], system_prompt)[0]

    def body(self, model: str, request: ChatRequest, settings: SamplingSettings, seed: int, extra: dict) -> dict:
        return without_none({
            "model": model,
            "prompt": self.encode(request.messages, settings.system_prompt),
            "temperature": settings.temperature,
            "top_k": settings.top_k,
            "top_p": settings.top_p,
            "repetition_penalty": settings.repetition_penalty,
            "max_tokens": settings.max_new_tokens,
            "seed": seed,
            "stop_token_ids": self.stops,
            "return_token_ids": True,
            "min_p": settings.min_p or None,
            **extra,
            **schema_of(request, extra),
        })  # fmt: skip

    def read(self, reply: dict) -> Sample | Failure:
        """The first choice, decoded from its token ids."""
        try:
            choice = reply["choices"][0]
            reason, ids = choice["finish_reason"], choice.get("token_ids")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise BadReplyError("not an answer: fields are missing") from None
        if not isinstance(reason, str) or reason not in ("stop", "length"):
            return Failure(f"finish reason {reason!r}")
        if not isinstance(ids, list):
            return Failure("the server sends no token_ids; vLLM 0.10.2 or newer is needed")
        if not all(type(token) is int and 0 <= token < 2**31 for token in ids):
            return Failure("the server sends token_ids that are none")
        with self._lock:
            sample = read_tokens(self.tokenizer, ids, set(self.stops))
        return sample if isinstance(sample, Failure) else replace(sample, finished=sample.finished or reason == "stop")

    def usage(self, reply: dict) -> tuple[int | None, int | None]:
        """Nothing is paid for."""
        return 0, 0


class VllmEngine:
    """A model behind vLLM as an :class:`Engine`: starts ``server`` when first asked; without one, ``url`` is asked.

    ``turns``: how many responses a conversation may grow to. ``own``: :meth:`close` stops the server.
    """

    def __init__(
        self, model: str, tokenizer: PreTrainedTokenizerBase, stops: list[int], context: int | None,
        server: VllmServer | None = None, url: str | None = None, extra: dict | None = None, concurrency: int | None = None,
        timeout: float = 600, turns: int = 1, own: bool = True,
    ):  # fmt: skip
        self.api = VllmCompletions(tokenizer, stops)
        self.model, self.context, self.server, self.url, self.turns, self.own = model, context, server, url, turns, own
        self._options = {"extra": extra, "timeout": timeout, "max_retries": 2, "cache": None, "paid": False}
        self._concurrency = concurrency or CONCURRENCY * (server.gpus if server else 1)

    def complete(
        self, requests: list[ChatRequest], settings: SamplingSettings, seed: int = 0
    ) -> Iterator[list[tuple[int, Sample | Failure]]]:
        """As :class:`Engine` says. A :class:`UserError` where the server does not start, or ends."""
        if not requests:
            return
        lengths = [len(self.api.encode(request.messages, settings.system_prompt)) for request in requests]
        first = [[0] * length for request, length in zip(requests, lengths, strict=True) if len(request.messages) == 1]
        check_context(self.context or math.inf, first, settings.max_new_tokens)
        if self.server:
            longest = max(lengths) + settings.max_new_tokens + (self.turns - 1) * (settings.max_new_tokens + _TURN)
            self.server.start(min(longest, self.context or longest))
        url = self.server.url if self.server else self.url
        engine = HttpEngine(self.api, self.model, url, concurrency=self._concurrency, **self._options)
        for answers in engine.complete(requests, settings, seed):
            for error in (answer.error for _, answer in answers if self.server and isinstance(answer, Failure)):
                self.server.check(_END if "no connection" in error else 0)
            yield answers

    def close(self) -> None:
        """Stop the server, so that what comes next has the GPUs."""
        if self.server and self.own:
            self.server.stop()
