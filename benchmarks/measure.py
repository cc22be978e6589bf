"""Run a command and say what it cost: wall and CPU seconds, peak memory of its whole process tree (Linux)."""

import os
import resource
import subprocess
import threading
import time
from pathlib import Path

_INTERVAL = 0.05  # seconds between two looks at the memory


def run(command: list[str], log: Path, **environment: str) -> dict:
    """Run ``command`` in a session of its own, output to ``log``; :class:`RuntimeError` with its last line if it fails.

    Returns ``seconds``, ``cpu_seconds``, and in MiB ``rss`` and ``anonymous``: the largest sums over all processes alive at
    one moment. ``rss`` holds the pages of memory-mapped files that the kernel may drop at any time, and counts pages shared
    by two processes twice; ``anonymous`` leaves mapped files out and is what the machine cannot do without.
    """
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, **environment}
        )
        peak = {"rss": 0.0, "anonymous": 0.0}
        watcher = threading.Thread(target=_watch, args=(process, peak))
        watcher.start()
        process.wait()
        watcher.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}: {' '.join(last)}")
    return {
        "seconds": time.monotonic() - start,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        **peak,
    }


def _watch(process: subprocess.Popen, peak: dict) -> None:
    while process.poll() is None:
        found = [_memory(pid) for pid in _members(process.pid)]
        for place, name in enumerate(("rss", "anonymous")):
            peak[name] = max(peak[name], sum(one[place] for one in found) / 1024)
        time.sleep(_INTERVAL)


def _members(session: int) -> list[int]:
    """The processes of a session."""
    members = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:  # the process has ended
                continue
            if int(stat.rpartition(")")[2].split()[3]) == session:
                members.append(int(entry))
    return members


def _memory(pid: int) -> tuple[int, int]:
    """(resident, anonymous) KiB of a process."""
    try:
        lines = Path("/proc", str(pid), "status").read_text().splitlines()
    except OSError:
        return 0, 0
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "RssAnon", "RssShmem"))}
    return int(values.get("VmRSS", 0)), int(values.get("RssAnon", 0)) + int(values.get("RssShmem", 0))
