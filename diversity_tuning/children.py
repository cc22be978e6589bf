"""Processes that end with the one that started them, also where that is killed (kill -9) or its terminal closed."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import psutil

_VARIABLE = "DIVERSITY_TUNING_ENDS_WITH"  # the processes above, each of which the commands below end with
_INTERVAL, _GRACE = 1.0, 30.0  # seconds between looks, and from SIGTERM to SIGKILL
_SET_PDEATHSIG = 1  # of prctl(2)
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: after a fork it is too late


def signal_when_orphaned(number: int) -> None:
    """Let the system send this process a signal when the one that started it has ended (Linux)."""
    if _libc is not None:
        _libc.prctl(_SET_PDEATHSIG, number)


def start(words: list[str], **options) -> subprocess.Popen:
    """:class:`subprocess.Popen` of a command that gets SIGTERM when this process, or the thread that calls, has ended.

    That reaches the child; the commands of this project below it, whatever stands between, look for themselves
    (:func:`end_with_parents`).
    """
    parent = os.getpid()

    def before_exec():
        signal_when_orphaned(signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)

    variables = dict(options.pop("env", None) or os.environ)
    above = [number for number in variables.get(_VARIABLE, "").split(",") if number and number != str(parent)]
    variables[_VARIABLE] = ",".join([*above, str(parent)])
    return subprocess.Popen(words, env=variables, preexec_fn=before_exec, **options)


def end_with_parents() -> None:
    """Let this process end when one of those that :func:`start` named has: SIGTERM, then SIGKILL."""
    global _watched
    above = [int(number) for number in os.environ.get(_VARIABLE, "").split(",") if number.isdigit()]
    above = [number for number in above if number != os.getpid()]
    if above and _watched != os.getpid():
        _watched = os.getpid()
        threading.Thread(target=_watch, args=(above,), name="parents", daemon=True).start()


_watched = 0  # the process that watches; a fork of it does not


def _watch(above: list[int]) -> None:
    while all(map(psutil.pid_exists, above)):
        time.sleep(_INTERVAL)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os.kill(os.getpid(), signal.SIGKILL)
