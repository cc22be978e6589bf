"""Two dialects of chat over HTTP: what is sent, and how an answer is read.

Both send the messages, the temperature and the limit of new tokens. OpenAI's also sends ``top_p`` and a seed; Anthropic's
knows no seed, and its newer models refuse ``top_p`` next to a temperature. Neither sends ``top_k`` and ``repetition_penalty``,
since OpenAI refuses unknown fields. A ``min_p`` above 0 is sent to servers that speak OpenAI's dialect, as vLLM and SGLang, and
refused for OpenAI and Anthropic, which have none. ``extra`` adds fields, replaces them, or takes them out (None):
``{"top_k": 50, "repetition_penalty": 1.1}`` for vLLM or SGLang, ``{"max_tokens": None, "max_completion_tokens": 4096}`` for
OpenAI's reasoning models; ``{"response_format": {"type": "json_schema"}}`` gets the schema of each request.
"""

import json

from diversity_tuning.errors import UserError
from diversity_tuning.generation.requests import ChatRequest, Failure, Sample, SamplingSettings, chat_messages
from diversity_tuning.thinking import NOT_CLOSED, cut_thinking

_FINISHED = {"stop", "eos", "eos_token", "end_turn", "stop_sequence"}
_CUT = {"length", "max_tokens"}


class BadReplyError(Exception):
    """An answer that is not what the API promises; asking again may bring a good one."""


class OpenAI:
    """`POST /chat/completions`, as OpenAI, vLLM, SGLang, `transformers serve`, Together and DeepSeek have it."""

    key_variable = "OPENAI_API_KEY"
    default_url = "https://api.openai.com/v1"
    path = "/chat/completions"

    def check(self, settings: SamplingSettings, url: str | None) -> None:
        """:class:`UserError` for a setting that the API at ``url`` (None: the provider's) does not have."""
        if settings.min_p and (url or self.default_url).startswith(self.default_url):
            raise UserError(
                f"--min_p {settings.min_p}: OpenAI's API has no min-p; leave it out, or give another server's --base_url"
            )

    def headers(self, key: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    def body(self, model: str, request: ChatRequest, settings: SamplingSettings, seed: int, extra: dict) -> dict:
        return without_none({
            "model": model, "messages": chat_messages(request, settings.system_prompt), "temperature": settings.temperature,
            "top_p": settings.top_p, "min_p": settings.min_p or None, "max_tokens": settings.max_new_tokens, "seed": seed,
            **extra, **schema_of(request, extra),
        })  # fmt: skip

    def read(self, reply: dict) -> Sample | Failure:
        """The first choice. A :class:`BadReplyError` where the fields are not there."""
        try:
            choice = reply["choices"][0]
            text, refusal = choice["message"].get("content"), choice["message"].get("refusal")
            reason, tokens = choice["finish_reason"], self.usage(reply)
        except (KeyError, IndexError, TypeError, AttributeError):
            raise BadReplyError(_complaint(reply)) from None
        return Failure(f"refused: {refusal}") if refusal and not text else _answer("" if text is None else text, reason, tokens)

    def usage(self, reply: dict) -> tuple[int | None, int | None]:
        """Tokens in and out, None where the server does not say."""
        return _counts(reply, "prompt_tokens", "completion_tokens")


class Anthropic:
    """`POST /v1/messages`."""

    key_variable = "ANTHROPIC_API_KEY"
    default_url = "https://api.anthropic.com"
    path = "/v1/messages"

    def check(self, settings: SamplingSettings, url: str | None) -> None:
        """:class:`UserError` for a setting that the API does not have."""
        if settings.min_p:
            raise UserError(f"--min_p {settings.min_p}: Anthropic's API has no min-p; leave it out")

    def headers(self, key: str | None) -> dict[str, str]:
        return {"anthropic-version": "2023-06-01", **({"x-api-key": key} if key else {})}

    def body(self, model: str, request: ChatRequest, settings: SamplingSettings, seed: int, extra: dict) -> dict:
        return without_none({
            "model": model, "system": settings.system_prompt, "messages": chat_messages(request, None),
            "temperature": settings.temperature, "max_tokens": settings.max_new_tokens, **extra,
        })  # fmt: skip

    def read(self, reply: dict) -> Sample | Failure:
        """The text blocks, joined. A :class:`BadReplyError` where the fields are not there."""
        try:
            text = "".join(block["text"] for block in reply["content"] if block["type"] == "text")
            reason, tokens = reply["stop_reason"], self.usage(reply)
        except (KeyError, TypeError):
            raise BadReplyError(_complaint(reply)) from None
        return _answer(text, reason, tokens)

    def usage(self, reply: dict) -> tuple[int | None, int | None]:
        """Tokens in and out, None where the server does not say."""
        return _counts(reply, "input_tokens", "output_tokens")


def _answer(text: str, reason: str | None, tokens: tuple[int | None, int | None]) -> Sample | Failure:
    """``tokens``: in and out."""
    if not isinstance(text, str):
        raise BadReplyError(f"the text is not a text but {type(text).__name__}")
    told = cut_thinking(text)
    if told is None:
        return Failure(NOT_CLOSED)
    if not isinstance(reason, str) or reason not in _FINISHED | _CUT:
        return Failure(f"finish reason {reason!r}")
    if not told.strip():
        return Failure(f"empty text, finish reason {reason!r}")
    whole = told.strip().encode("utf-8", errors="replace").decode()  # half an emoji cannot be written to a file
    return Sample(whole, reason in _FINISHED, tokens[1], tokens[0], len(text) - len(told))


def _counts(reply: dict, *names: str) -> tuple[int | None, ...]:
    usage = reply.get("usage") if isinstance(reply, dict) else None
    counts = [usage.get(name) if isinstance(usage, dict) else None for name in names]
    return tuple(count if type(count) is int and 0 <= count < 2**53 else None for count in counts)


def _complaint(reply: object) -> str:
    error = reply.get("error") if isinstance(reply, dict) else None
    return f"not an answer: {error}" if error else "not an answer: fields are missing"


def schema_of(request: ChatRequest, extra: dict) -> dict:
    """The ``response_format`` with the request's schema where ``extra`` asks for one; a request without schema has none."""
    if extra.get("response_format") != {"type": "json_schema"}:
        return {}
    if request.schema is None:
        return {"response_format": None}
    schema = {"name": "reply", "schema": json.loads(request.schema)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def without_none(fields: dict) -> dict:
    """The fields that are sent: those with a value."""
    return {name: value for name, value in fields.items() if value is not None}
