"""What an engine is asked and what it answers: the types that all engines share."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag
from diversity_tuning.ranges import Flags


@dataclass(frozen=True)
class SamplingSettings(Flags):
    """Sampling. The defaults are the paper's. Which of them an API takes is said in :mod:`generation.apis`."""

    system_prompt: str | None = flag("system line, for instruct models; stands before every conversation", default=None)
    temperature: float = flag("temperature", default=1.0, above=0)
    top_k: int = flag("local, vllm: most likely tokens; 0 keeps all", default=50, least=0)
    top_p: float = flag("probability that is kept; not sent to Anthropic", default=0.95, above=0, most=1)
    min_p: float = flag(
        "leave out tokens less probable than MIN_P times the most probable one; 0: off; OpenAI and Anthropic have none",
        default=0.0, least=0, most=1,
    )  # fmt: skip
    repetition_penalty: float = flag("local, vllm: applies to the prompt's tokens too", default=1.1, above=0)
    max_new_tokens: int = flag("where a response is cut", default=2048, least=1)

    def __post_init__(self):
        try:
            super().__post_init__()
        except UserError as error:
            needed = "temperature > 0, top_k >= 0, 0 < top_p <= 1 and repetition_penalty > 0, all finite"
            raise UserError(f"{error}; sampling needs {needed}") from None


@dataclass(frozen=True)
class ChatRequest:
    """One response to ask for: the conversation so far, and the number that tells it from others to the same conversation.

    ``schema``: the JSON schema of the reply, as JSON. It is sent where ``response_format`` is ``{"type": "json_schema"}``.
    """

    messages: tuple[tuple[str, str], ...]  # (role, content); the last role is "user"
    sample: int = 0
    schema: str | None = None

    @property
    def key(self) -> str:
        """The conversation as one text: the prompt itself where it is all there is."""
        return self.messages[0][1] if len(self.messages) == 1 else json.dumps(self.messages, ensure_ascii=False)


def user_request(prompt: str, sample: int = 0, schema: str | None = None) -> ChatRequest:
    """A conversation of one line."""
    return ChatRequest((("user", prompt),), sample, schema)


def chat_messages(request: ChatRequest, system_prompt: str | None) -> list[dict[str, str]]:
    """The conversation as chat templates and servers take it, the system prompt first."""
    system = (("system", system_prompt),) if system_prompt else ()
    return [{"role": role, "content": content} for role, content in (*system, *request.messages)]


def row_key(seed: int, prompt: str, sample: int) -> int:
    """A 64-bit key of one sample of one prompt under one seed."""
    digest = hashlib.sha256(f"{seed}\0{sample}\0{prompt}".encode())
    return int.from_bytes(digest.digest()[:8], "little")


@dataclass(frozen=True)
class Sample:
    """A response. ``tokens`` counts what was generated, EOS not counted; not ``finished`` means cut at ``max_new_tokens``."""

    text: str
    finished: bool
    tokens: int | None  # None where a server does not say
    tokens_in: int | None = field(default=None, compare=False)  # of the prompt; None where it is not known
    thinking: int = field(default=0, compare=False)  # characters of reasoning that were cut off before the text
    unread: int = field(default=0, compare=False)  # answers before it that did not have the form that was asked for


@dataclass(frozen=True)
class Failure:
    """No response, and why, in one line without secrets. Asking again may help.

    ``stopped``: the run was stopped, or a cap reached, before the server had its chance. ``unread``: answers that came and did
    not have the form that was asked for.
    """

    error: str
    stopped: bool = field(default=False, compare=False)
    unread: int = field(default=0, compare=False)


class Engine(Protocol):
    """What answers. Every request gets one answer, in any order; a prompt's answer does not depend on the other requests."""

    def complete(
        self, requests: list[ChatRequest], settings: SamplingSettings, seed: int = 0
    ) -> Iterator[list[tuple[int, Sample | Failure]]]:
        """Yield ``(position in requests, answer)`` as they come. :class:`UserError` when none can come, as without a key."""
        ...
