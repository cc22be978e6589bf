"""Waits for worker processes that end: one that is killed, for memory say, holds nothing that this process waits for."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_INTERVAL, _GRACE = 0.5, 30.0  # seconds between looks, and for a pool to end by itself after a worker was killed
DIED = "a worker process was killed"


@contextmanager
def bounded(grace: float = _GRACE) -> Iterator[None]:
    """Inside, progress bars lock threads alone, and a pool of ``datasets`` that a killed worker blocks is given up.

    An idle worker holds the lock of its pool's queue while it waits for work. Killed then, it keeps it, and to end the pool
    ``multiprocess`` waits for that lock for ever. Raises :class:`RuntimeError` in the main thread ``grace`` seconds after.
    """
    lock_bars_of_threads()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over = threading.Event()
    before = signal.signal(signal.SIGUSR2, _give_up)
    threading.Thread(target=_watch, args=(over, os.getpid(), grace), name="workers", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        signal.signal(signal.SIGUSR2, before or signal.SIG_DFL)


def lock_bars_of_threads() -> None:
    """Give the progress bars of ``tqdm`` a lock of threads, for the one it makes is a semaphore shared with its forks."""
    from tqdm.std import tqdm

    tqdm.set_lock(threading.RLock())
    for kind in _below(tqdm):
        if "_lock" in vars(kind):
            del kind._lock
    if not _forks:
        _forks.append(True)
        os.register_at_fork(after_in_child=lock_bars_of_threads)  # another thread may hold it at the fork


_forks: list[bool] = []


def _below(kind: type) -> Iterator[type]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


def _give_up(*_) -> None:
    raise RuntimeError(DIED)


def _watch(over: threading.Event, process: int, grace: float) -> None:
    known, killed_at = set(), None
    while not over.wait(_INTERVAL):
        children = getattr(sys.modules.get("multiprocess.process"), "_children", ())
        known |= set(children)
        # A pool ends its own workers by SIGTERM.
        if killed_at is None and any((one.exitcode or 0) < 0 and one.exitcode != -signal.SIGTERM for one in known):
            killed_at = time.monotonic()
            beside = {one for one in known if one.exitcode is None}
        if killed_at is None:
            known = {one for one in known if one.exitcode is None}
        elif not any(one.exitcode is None for one in beside):  # the pool has ended
            known, killed_at = set(), None
        elif time.monotonic() - killed_at > grace:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR2)
            return
