"""The simulated LLM behind a real OpenAI-compatible server on this machine: chat completions, models, counts of tokens."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from studies.miniature.simulated_llm.answers import Settings, answer

MODEL = "simulated"
_LARGEST = 1 << 22  # bytes of a request
_CHARACTERS = 4  # of a token, roughly: it has no tokenizer


class SimulatedServer(ThreadingHTTPServer):
    """Answers on the loopback interface; ``port`` 0 takes a free one. :attr:`base_url` is for ``--base_url``."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, settings: Settings, port: int = 0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.settings = settings

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address) -> None:
        """A client that hung up is no event."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open
    wbufsize = -1  # headers and body leave together
    disable_nagle_algorithm = True
    server: SimulatedServer

    def do_GET(self) -> None:
        if self.path.rstrip("/") in ("/v1/models", "/models"):
            self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "simulated"}]})
        else:
            self._complain(404, f"no such path: {self.path}")

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        if size > _LARGEST:
            self.close_connection = True
            return self._complain(413, "the request is too large")
        content = self.rfile.read(size)
        if self.path.rstrip("/") not in ("/v1/chat/completions", "/chat/completions"):
            return self._complain(404, f"no such path: {self.path}")
        try:
            body = json.loads(content)
            text = "\n\n".join(message["content"] for message in body["messages"])
            seed, model, longest = int(body.get("seed") or 0), body["model"], int(body.get("max_tokens") or 1 << 30)
        except (ValueError, KeyError, TypeError) as error:
            return self._complain(400, f"not a chat request: {type(error).__name__} {error}")
        if model != MODEL:
            return self._complain(404, f"The model '{model}' does not exist; the only one is '{MODEL}'")
        return self._send(200, reply(text, seed, longest, self.server.settings))

    def _complain(self, status: int, message: str) -> None:
        self._send(status, {"error": {"message": message, "type": "invalid_request_error"}})

    def _send(self, status: int, content: dict) -> None:
        data = json.dumps(content, ensure_ascii=False).encode(errors="replace")
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_) -> None:
        """Nothing: a verdict is asked for thousands of times."""


def reply(text: str, seed: int, longest: int, settings: Settings) -> dict:
    """The answer to a prompt as the API has it, cut at ``longest`` tokens."""
    told = answer(text, seed, settings)
    tokens_in, tokens_out = (-(-len(one) // _CHARACTERS) for one in (text, told))
    cut = tokens_out > longest
    if cut:
        told, tokens_out = told[: longest * _CHARACTERS], longest
    return {
        "id": "simulated", "object": "chat.completion", "model": MODEL,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": told}, "finish_reason": "length" if cut else "stop"}
        ],
        "usage": {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out},
    }  # fmt: skip


@contextlib.contextmanager
def simulated_server(settings: Settings = Settings(), port: int = 0) -> Iterator[str]:  # noqa: B008 (frozen)
    """The base URL of a server that runs in a thread of this process while the block does."""
    server = SimulatedServer(settings, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.base_url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
