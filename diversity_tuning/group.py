"""The group of processes that ``accelerate launch`` starts: each process leaves it before it ends.

A group that is still there when Python ends has threads that run into Python's end, which now and then aborts a process whose
work was done (``terminate called without an active exception``, SIGABRT), and the launcher then calls the whole run failed.
"""

import gc
import os
import sys


def is_launched() -> bool:
    """Whether this process is one of several."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1


def prepare() -> None:
    """Call before the group is made, for :func:`leave` to end its threads.

    The functions of ``torch.distributed.nn`` have the group that is there at their first import as a default, and so keep it
    for good.
    """
    if is_launched():
        import torch.distributed.nn.functional  # noqa: F401


def leave() -> None:
    """End this process's part in the group, if it is in one. It waits for no other process on a CPU; on GPUs all call it."""
    distributed = sys.modules.get("torch.distributed")
    if is_launched() and distributed and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
        gc.collect()  # models in DistributedDataParallel refer to it in circles
