"""What threads the processes of a launched command still have when Python ends them."""

import os
import sys

_HOOK = """
import atexit, os, pathlib

def write():
    tasks = pathlib.Path("/proc/self/task")
    names = [(task / "comm").read_text() for task in tasks.iterdir()]
    pathlib.Path({folder!r}, "threads-" + os.environ["RANK"]).write_text("".join(names))

if "RANK" in os.environ and os.path.isdir("/proc/self/task"):
    atexit.register(write)
"""


def with_record(folder) -> dict[str, str]:
    """Variables for processes that leave their threads' names in ``folder``."""
    (folder / "sitecustomize.py").write_text(_HOOK.format(folder=str(folder)))
    return {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def of_groups(folder) -> dict[str, list[str]]:
    """By process the threads of its group: none where it left the group before it ended (Linux)."""
    records = sorted(folder.glob("threads-*"))
    return {record.name: [name for name in record.read_text().split() if "gloo" in name] for record in records}


def both_left(folder) -> bool:
    """Whether each of two processes left its group before it ended (told on Linux alone)."""
    return sys.platform != "linux" or of_groups(folder) == {"threads-0": [], "threads-1": []}
