"""A small chat server that answers as told, well or badly, and remembers what it was asked."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def openai_reply(text: str | None, reason: str = "stop", usage: bool = True) -> dict:
    reply = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason}]}
    return reply | ({"usage": {"prompt_tokens": 10, "completion_tokens": 20}} if usage else {})


def anthropic_reply(text: str, reason: str = "end_turn") -> dict:
    blocks = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": text}]
    return {"content": blocks, "stop_reason": reason, "usage": {"input_tokens": 10, "output_tokens": 20}}


class ChatServer(ThreadingHTTPServer):
    """``answer(body, times)`` gives what to do with a request seen ``times`` times before with the same messages and number.

    It returns a dict (sent as JSON), ``(status, headers, bytes)``, or calls back on the handler itself: ``callable(handler)``.
    """

    daemon_threads = True

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.models: list[str] = []  # what GET /models says; 404 where there is none
        self.bodies: list[dict] = []
        self.headers: list[dict] = []
        self.times: list[float] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address):
        pass  # connections are dropped on purpose


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            times = sum(body["messages"] == seen["messages"] for seen in server.bodies)
            server.bodies.append(body)
            server.headers.append({name.lower(): value for name, value in self.headers.items()} | {"path": self.path})
            server.times.append(time.monotonic())
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            told = server.answer(body, times)
            if callable(told):
                told(self)
                return
            status, headers, content = (200, {}, json.dumps(told).encode()) if isinstance(told, dict) else told
        finally:
            with server.lock:
                server.at_once -= 1  # before the reply, after which the client may send its next request
        self.send(status, headers, content)

    def do_GET(self):
        content = json.dumps({"data": [{"id": name} for name in self.server.models]}).encode()
        self.send(200 if self.server.models else 404, {}, content)

    def send(self, status, headers, content, length=None):
        self.send_response(status)
        for name, value in {"content-length": len(content) if length is None else length, **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def chat_server(answer):
    """A running :class:`ChatServer`."""
    server = ChatServer(answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
