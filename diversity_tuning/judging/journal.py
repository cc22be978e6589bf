"""Answers of a stage on disk, appended as they come, so that a killed run asks only for what is missing."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from diversity_tuning.errors import UserError
from diversity_tuning.judging.roles import Answer, Failed, Usage

ANSWERS = "answers.jsonl"


class Journal:
    """``answers.jsonl``: a line for every answer, by the prompt that was sent; of several to one prompt the last counts.

    So an answer belongs to what was asked, not to a row's place: rows may come in another order, go, or be added.
    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / ANSWERS
        self._answers: dict[str, Answer | Failed] = {}
        self.path.touch()
        with self.path.open("rb+") as stream:
            content = stream.read()
            stream.truncate(content.rfind(b"\n") + 1)  # a line that a kill cut in two
        for number, line in enumerate(content.split(b"\n")[:-1], start=1):
            try:
                self._read(json.loads(line))
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{self.path}, line {number}: not an answer; delete the line, or give --overwrite") from None
        self._stream = self.path.open("a", encoding="utf-8")

    def _read(self, line: dict) -> None:
        usage = Usage(**line["usage"])
        failed = line.get("failed")
        self._answers[line["key"]] = (
            Answer(line["value"], usage) if failed is None else Failed(failed["reason"], failed["reply"], usage, line["tried"])
        )

    def get(self, key: str) -> Answer | Failed | None:
        """What is known of a prompt."""
        return self._answers.get(key)

    def add(self, key: str, answer: Answer | Failed) -> None:
        """Put an answer on the disk before anything else happens; its usage is added to that of the ones before."""
        before = self._answers[key].usage if key in self._answers else Usage()
        for name, value in asdict(before).items():
            setattr(answer.usage, name, getattr(answer.usage, name) + value)
        line = {"key": key, "usage": asdict(answer.usage)}
        if isinstance(answer, Failed):
            line |= {"failed": {"reason": answer.reason, "reply": answer.raw}, "tried": answer.tried}
        else:
            line |= {"value": answer.value}
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._answers[key] = answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stream.close()


def has_answers(folder: str | Path) -> bool:
    """Whether a stage's folder holds any answer."""
    path = Path(folder) / ANSWERS
    return path.is_file() and path.stat().st_size > 0


def prompt_key(prompt: str) -> str:
    """A digest of a filled prompt."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:32]
