"""Answers of servers on disk, so that none is paid for twice: appended line by line, raw, without headers or keys."""

import hashlib
import json
import os
import re
import threading
from pathlib import Path

from diversity_tuning.errors import UserError
from diversity_tuning.public import masked


class Transcripts:
    """The answers of one model at one URL: ``FOLDER/MODEL-HASH.jsonl``, a line ``{"key", "request", "reply"}`` an answer.

    Several answers to one request stay side by side: the earlier ones were of no use (empty, refused). Threads and processes
    may append to one file; a line that a kill cut in two is passed over.
    """

    def __init__(self, folder: str | Path, url: str, model: str):
        name = re.sub(r"[^\w.-]+", "-", model).strip("-.")[-60:] or "model"
        self.path = Path(folder) / f"{name}-{_digest([url, model])[:8]}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._replies: dict[str, list[dict]] = {}
        self._lock = threading.Lock()
        self._read()

    def _read(self) -> None:
        try:
            stream = self.path.open("rb+")
        except FileNotFoundError:
            return
        with stream:
            last = b"\n"
            for last in stream:
                try:
                    line = json.loads(last)
                    self._replies.setdefault(line["key"], []).append(line["reply"])
                except (ValueError, KeyError, TypeError, RecursionError):
                    continue
            if not last.endswith(b"\n"):
                stream.write(b"\n")  # what is appended next stands on a line of its own

    def replies(self, key: str) -> list[dict]:
        """All answers to a request, oldest first."""
        with self._lock:
            return list(self._replies.get(key, []))

    def add(self, key: str, request: dict, reply: dict) -> None:
        """Put an answer on the disk before anything else happens."""
        line = json.dumps({"key": key, "request": masked(request), "reply": reply}, ensure_ascii=False) + "\n"
        with self._lock:
            self._replies.setdefault(key, []).append(reply)
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                content = line.encode("utf-8", errors="surrogatepass")
                if os.write(file, content) != len(content):
                    raise UserError(f"{self.path}: could not be written whole; is the disk full?")
                os.fsync(file)
            finally:
                os.close(file)


def request_key(body: dict, seed: int, sample: int) -> str:
    """What makes two requests the same: all that is sent but the server's seed, and the seed and number it comes from."""
    return _digest([{name: value for name, value in body.items() if name != "seed"}, seed, sample])


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
