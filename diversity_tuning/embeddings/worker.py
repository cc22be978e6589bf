"""The sentence-transformers model of an encoder; a module of its own because it must be importable by name in a new process."""

import os
import signal
import threading
import time

from sentence_transformers import SentenceTransformer


class Model(SentenceTransformer):
    """A SentenceTransformer whose pool processes end when the process that started them is gone.

    Otherwise a kill would leave it waiting for work for ever, with its memory and that of its device.
    """

    @classmethod
    def _multi_process_worker(cls, *arguments) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the process that started this one, which ends it
        threading.Thread(target=_end_without, args=(os.getppid(),), daemon=True).start()
        super()._multi_process_worker(*arguments)


def _end_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
