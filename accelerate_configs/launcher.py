"""Run `accelerate launch` such that the error of the first process that failed is the last thing printed.

python -m accelerate_configs.launcher --config_file accelerate_configs/multi_gpu.yaml -m scripts_dpo.generation_ddpo_model_train

The arguments are those of `accelerate launch`. Its own traceback, and those of the processes that were stopped because another
one failed, stay above. Exit code: 2 where a process ended with a line ``error: …``, else the launcher's; 130 after Ctrl-C.
"""

if not __package__:
    raise SystemExit("error: run it as python -m accelerate_configs.launcher")

import re
import shutil
import signal
import subprocess
import sys
import threading
import time

from diversity_tuning.children import start
from diversity_tuning.public import MASK, masked_words, secrets

STOPPED = "stopped; the same command goes on"
_RANK = rb"^(?:\[rank\d+\]: ?)?"  # torch puts it before what an unhandled exception prints
_OURS = re.compile(_RANK + rb"(error: .*)")
_OTHER = re.compile(_RANK + rb"((?:\w+\.)*\w*(?:Error|Exception)\b.*)")
_DELAY = 0.05  # seconds before output is passed on: after Ctrl-C a process may speak before this one has heard of it
_LAUNCHER = (b"ChildFailedError", b"CalledProcessError", b"SignalException")


class FirstError:
    """Reads what processes print to stderr and keeps the first error line: one of ours, else the name of an exception."""

    def __init__(self):
        self.ours: str | None = None
        self.other: str | None = None
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes; progress bars end their lines with a carriage return."""
        *lines, self._rest = re.split(rb"[\r\n]", self._rest + data)
        for line in lines:
            self._look_at(line)

    def end(self) -> None:
        """Look at a last line without an end."""
        self._look_at(self._rest)
        self._rest = b""

    def _look_at(self, line: bytes) -> None:
        if self.ours is None and (found := _OURS.match(line)):
            text = found[1].decode(errors="replace").strip()
            again = text.find("error: ", 1)  # two processes that print the same at the same time may share a line
            self.ours = text[:again] if again > 0 and text[again:].startswith(text[:again]) else text
        elif self.other is None and (found := _OTHER.match(line)) and not any(word in line for word in _LAUNCHER):
            self.other = found[1].decode(errors="replace").strip()

    @property
    def line(self) -> str | None:
        """The line to end with; None where no process said what was wrong."""
        return self.ours or (self.other and f"error: a process failed: {self.other} (its traceback is above)")


def run(command: list[str]) -> int:
    """Run the command, pass its output on, print the first error line at the end; return the exit code."""
    stopped: list[int] = []
    started: list[subprocess.Popen] = []

    def stop(number, _frame):
        stopped.append(number)
        if number == signal.SIGTERM:  # Ctrl-C reaches the processes by itself
            for one in started:
                one.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):  # before there is anything to stop
        signal.signal(number, stop)
    process = start(command, stderr=subprocess.PIPE, bufsize=0)
    started.append(process)
    found = FirstError()
    masked_words(command)
    known = secrets()

    def pass_on():
        while data := process.stderr.read(1 << 16):
            found.feed(data)
            time.sleep(_DELAY)
            if not stopped:
                for secret in known:  # the launcher's own traceback quotes the whole command
                    data = data.replace(secret.encode(), MASK.encode())
                sys.stderr.buffer.write(data)
                sys.stderr.buffer.flush()
        found.end()

    reader = threading.Thread(target=pass_on, daemon=True)
    reader.start()
    code = wait_for(process)
    reader.join(timeout=2)  # a process that outlives the launcher may hold the other end
    if stopped:
        print(STOPPED, file=sys.stderr)
        return 128 + stopped[0]
    if code and found.line:
        print(found.line, file=sys.stderr)
    return 2 if code and found.ours else code if code >= 0 else 128 - code


def wait_for(process: subprocess.Popen) -> int:
    """The process's exit code; signal handlers run within a second.

    In a wait without end they would not where another thread takes the signal, or where it comes just before the wait.
    """
    while True:
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            continue


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if words[:1] in (["-h"], ["--help"]):
        print(f"usage: python -m accelerate_configs.launcher [flags of accelerate launch] -m MODULE [its flags]\n\n{__doc__}")
        raise SystemExit(0)
    accelerate = shutil.which("accelerate")
    if accelerate is None:
        print("error: package accelerate is missing: pip install -r requirements.txt, or activate .venv", file=sys.stderr)
        return 2
    return run([accelerate, "launch", *words])


if __name__ == "__main__":
    sys.exit(main())
