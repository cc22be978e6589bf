"""Every stage is killed for real, at file operations and at random times, and then run again.

``KILLS=40 python -m pytest -s tests/scripts_dataset_cleaner/test_kill.py`` kills each stage 40 times and prints how many
of the kills struck while it ran.
"""

import os
import random
import signal
import sys
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from tqdm import tqdm

from tests.scripts_dataset_cleaner.helpers import data_digest, stage

KILLS = int(os.environ.get("KILLS", "6"))
WATCHED = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.scandir", "shutil.rmtree", "shutil.move"}


def commands(pipeline, root: Path) -> dict[int, list]:
    """Arguments of every stage with its output at ``root/out``."""
    out, models = root / "out", [*pipeline.encoders[:-1], root / "embeddings"]
    return {
        0: ["--source", pipeline.source, "--data_path", out, "--test_size", 0.25],
        1: ["--source", pipeline.scored, "--data_path", out, "--model_to_use", pipeline.tokenizer, "--max_tokens", 1000],
        2: ["--source", pipeline.filtered, "--data_path_pair", out, "--data_path_filtered", root / "rows"],
        3: ["--source_pair", pipeline.pairs, "--data_path_pair_div", out, *models],
        4: ["--source", pipeline.unpaired, "--data_path_pair", out, *models],
    }


OTHERWISE = {
    0: ["--test_size", 0.5],
    1: ["--max_tokens", 60],
    2: ["--gap", 9],
    3: ["--max_cutoff", 2],
    4: ["--max_pair_num", 1],
}


def forked(root: Path, number: int, arguments: list, kill_at: int | None = None) -> int:
    """Run a stage in a fork with a session of its own; returns its id. ``kill_at``: it kills itself at that file operation."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    tqdm.set_lock(threading.RLock())  # the one inherited is shared with the tests, who would wait for it after a kill
    stage_process, count = os.getpid(), 0

    def hook(event: str, details: tuple) -> None:
        nonlocal count
        inside = details and isinstance(details[0], str | Path) and str(details[0]).startswith(str(root))
        if event in WATCHED and inside and os.getpid() == stage_process:  # its own processes inherit the hook
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    code = 1
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            stage(number, *arguments)
        code = 0
    finally:
        (root.parent / "count").write_text(str(count))
        os._exit(code)


def wait(pid: int, seconds: float = 300) -> int:
    """The wait status of a process, which is killed after ``seconds``."""
    timer = threading.Timer(seconds, os.kill, (pid, signal.SIGKILL))
    timer.start()
    status = os.waitpid(pid, 0)[1]
    timer.cancel()
    return status


def left_running(session: int, seconds: float = 30) -> list[str]:
    """The processes of a session that are still there after so long; dead ones nobody waited for do not count."""
    deadline = time.monotonic() + seconds
    while True:
        fields = [text.rpartition(")")[2].split() for text in map(read, Path("/proc").glob("[0-9]*/stat")) if text]
        found = [one for one in fields if one[3] == str(session) and one[0] != "Z"]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process ended meanwhile
        return ""


def outputs(root: Path) -> dict[str, str]:
    return {name: data_digest(root / name) for name in ("out", "rows") if (root / name).exists()}


@pytest.mark.timeout(50 * KILLS)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks")
@pytest.mark.parametrize("num_proc", [1, 2])
@pytest.mark.parametrize("number", range(5))
def test_killed_at_any_moment(pipeline, tmp_path, number, num_proc):
    """Afterwards there is the old output or none, never half of one; the next run makes the same bytes, and tidies up."""
    rng = random.Random(10 * number + num_proc)

    def arguments(name: str) -> list:
        (tmp_path / name).mkdir()
        return [*commands(pipeline, tmp_path / name)[number], "--num_proc", num_proc]

    start = time.monotonic()
    assert wait(forked(tmp_path / "whole", number, arguments("whole"))) == 0
    duration = time.monotonic() - start
    operations = int((tmp_path / "count").read_text())
    assert operations > 10
    new = outputs(tmp_path / "whole")
    struck = 0
    for kill in range(max(2, KILLS // 2)):
        root = tmp_path / str(kill)
        line = arguments(str(kill))
        old = {}
        if kill % 2:  # an output made otherwise lies there already
            assert wait(forked(root, number, [*line, *OTHERWISE[number]])) == 0
            old = outputs(root)
            assert old["out"] != new["out"]
            line.append("--overwrite")
        if kill % 3 < 2:
            pid = forked(root, number, line, kill_at=rng.randint(1, operations))
        else:
            pid = forked(root, number, line)
            time.sleep(rng.uniform(0, duration))
            os.kill(pid, signal.SIGKILL)
        struck += wait(pid) == signal.SIGKILL
        assert left_running(pid) == []
        for name, digest in outputs(root).items():
            assert digest in (old.get(name), new[name])
        stage(number, *line)
        assert outputs(root) == new
        assert not [path.name for path in root.iterdir() if path.name.startswith(".")]
    print(f"stage {number}, num_proc {num_proc}: {struck} kills survived")
    assert struck
