"""One process for one output, and processes that end with the one that started them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diversity_tuning.errors import UserError
from diversity_tuning.locks import hold, release
from diversity_tuning.outputs import check_ours, files_in, is_resumed
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance, written_in_place
from diversity_tuning.training.life_cycle import TrainingRun
from studies.reproduce.__main__ import main as reproduce
from tests.test_outputs import COMMANDS, call, inputs, place  # noqa: F401 (a fixture)

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def free():
    yield
    release()


def python(code, *words, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)], cwd=ROOT, stdout=subprocess.PIPE, text=True, **options
    )


HOLD = "import sys, time; from diversity_tuning.locks import hold; hold(sys.argv[1]); print('held', flush=True); time.sleep(60)"


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of ``tmp_path / 'out'``."""
    process = python(HOLD, tmp_path / "out", "--api_key", "sk-0123456789abcdef")
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_is_told_who_holds_the_output(tmp_path, holder):
    record = provenance("stage", {}, {})
    for write in (
        lambda: is_finished(tmp_path / "out", record),
        lambda: atomic_folder(tmp_path / "out").__enter__(),
        lambda: written_in_place(tmp_path / "out", "report", ("a",)).__enter__(),
        lambda: is_resumed(tmp_path / "out", {}, False, False, "ours"),
    ):
        with pytest.raises(UserError, match=rf"out: process {holder.pid} on .* is writing to it") as refused:
            write()
        assert "sk-0123456789abcdef" not in str(refused.value)
    assert files_in(tmp_path) == [".out.lock"]


def test_a_lock_is_free_when_its_holder_is_killed(tmp_path, holder):
    holder.kill()
    holder.wait()
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "new").write_text("new")
    assert files_in(tmp_path) == ["out/new"]


def test_a_lock_that_workers_of_a_dead_process_hold_is_taken_over(tmp_path):
    code = (
        "import os, sys, time; from diversity_tuning.locks import hold; hold(sys.argv[1])\n"
        "if os.fork() == 0: print(os.getpid(), flush=True); time.sleep(60)\n"
        "os._exit(0)"
    )
    process = python(code, tmp_path / "out")
    worker = int(process.stdout.readline())
    process.wait()
    try:
        hold(tmp_path / "out")
        assert (tmp_path / ".out.lock").read_text().startswith(f"{os.getpid()}\n")
    finally:
        os.kill(worker, signal.SIGKILL)


def test_locks_are_given_back_with_what_was_made_for_them(tmp_path):
    hold(tmp_path / "deep" / "er" / "out")
    hold(tmp_path / "deep" / "er" / "out")
    release(tmp_path / "deep" / "er" / "out")
    assert list(tmp_path.iterdir()) == []


# Every command but those that only read, or write below a folder of the user's.
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("leaderboard", "score", "merge")])
def test_every_command_that_writes_an_output_takes_its_lock(name, inputs, tmp_path, capsys):  # noqa: F811
    output = place(name, tmp_path)
    process = python(HOLD, output)
    assert process.stdout.readline() == "held\n"
    try:
        with pytest.raises(SystemExit) as stopped:
            call(name, inputs, output)
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert (stopped.value.code, f"process {process.pid} on" in said) == (2, True), said
        assert not output.exists()
    finally:
        process.kill()
        process.wait()


def test_two_reproductions_of_one_folder(tmp_path, capsys):
    process = python(HOLD, tmp_path / "study")
    assert process.stdout.readline() == "held\n"
    try:
        assert reproduce(["--out", str(tmp_path / "study")]) == 2
        assert f"process {process.pid} on" in capsys.readouterr().err
    finally:
        process.kill()
        process.wait()


# Children.

CHAIN = """
import subprocess, sys, time
from diversity_tuning.children import start
from diversity_tuning.cli import command
kind, pids = sys.argv[1], sys.argv[2]
@command
def main(argv=None):
    if kind == "top":
        words = [sys.executable, "-c", open(sys.argv[3]).read(), "bottom", pids, sys.argv[3]]
        start(["bash", "-c", 'echo $$ >> "$0"; "$@"; true', pids, *words]).wait()
    with open(pids, "a") as file:
        print(__import__("os").getpid(), file=file, flush=True)
    time.sleep(60)
main()
"""


def is_running(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_what_a_killed_process_started_ends_also_below_a_shell(tmp_path, number):
    """As stages do: the runner, bash, and a command below it, which bash does not stop."""
    (tmp_path / "code.py").write_text(CHAIN)
    top = python(CHAIN, "top", tmp_path / "pids", tmp_path / "code.py")
    end = time.monotonic() + 30
    while time.monotonic() < end and not ((tmp_path / "pids").exists() and (tmp_path / "pids").read_text().count("\n") == 2):
        time.sleep(0.05)
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    assert all(map(is_running, pids))
    top.send_signal(number)
    top.wait()
    while time.monotonic() < end and any(map(is_running, pids)):
        time.sleep(0.05)
    assert not any(map(is_running, pids))


# The user's files.


@pytest.fixture
def made(tmp_path):
    with atomic_folder(tmp_path / "elsewhere" / "model") as folder:
        (folder / "metrics.json").write_text("old")
        write_provenance(folder, provenance("stage", {}, {}))
    return tmp_path / "elsewhere" / "model"


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path, made):
    (tmp_path / "out").symlink_to(made)
    with atomic_folder(tmp_path / "out") as folder:
        assert folder.parent == made.parent, "on the disk that the output is on"
        (folder / "metrics.json").write_text("new")
        write_provenance(folder, provenance("stage", {"n": 1}, {}))
    assert (tmp_path / "out").is_symlink()
    assert (made / "metrics.json").read_text() == "new"
    assert is_finished(tmp_path / "out", provenance("stage", {"n": 1}, {}))
    assert is_resumed(tmp_path / "out", {"finished": True}, True, False, "ours")
    assert not is_resumed(tmp_path / "out", {"finished": True}, True, True, "ours")
    assert (tmp_path / "out").is_symlink()
    assert (made.parent / ".model.retired" / "metrics.json").read_text() == "new"


def test_a_training_run_works_beside_what_a_link_leads_to(tmp_path, made):
    (tmp_path / "out").symlink_to(made)
    run = TrainingRun("generation", ["--source", str(made), "--model_name_or_path", "m", "--output_dir", str(tmp_path / "out")])
    assert run.folder == made.parent / ".model.training"


@pytest.mark.parametrize(
    "name",
    ["tmp_notes.txt", "cache-x.arrow", "tmp", "tmp12345678", "train/cache-mine.arrow", ".notes.partial", "cache-plans/a.txt"],
)
def test_a_file_of_the_users_is_never_taken_for_scratch(made, name):
    (made / name).parent.mkdir(exist_ok=True)
    (made / name).write_text("mine")
    with pytest.raises(UserError, match="none of our commands wrote"):
        check_ours(made)
    with pytest.raises(UserError, match="choose another folder"):
        is_finished(made, provenance("stage", {"n": 1}, {}), overwrite=True)
    assert (made / name).read_text() == "mine"


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"author": "somebody"},
        {"stage": 3, "versions": {}},
        {"stage": "extraction", "author": "somebody"},
        {"stage": "report", "tool": "x", "files": ["metrics.json"]},
        {"stage": "report", "versions": {}, "files": "metrics.json"},
        [{"stage": "x"}],
    ],
)
def test_a_provenance_of_somebody_else_is_not_ours(tmp_path, record):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "metrics.json").write_text("theirs")
    (tmp_path / "out" / "provenance.json").write_text(json.dumps(record))
    for overwrite in (False, True):
        with pytest.raises(UserError, match="not made by this project"):
            is_finished(tmp_path / "out", provenance("stage", {}, {}), overwrite)
    with pytest.raises(UserError, match="choose another folder"):
        written_in_place(tmp_path / "out", "report", ("metrics.json",)).__enter__()
    assert (tmp_path / "out" / "metrics.json").read_text() == "theirs"


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_the_last_lock_in_a_folder_takes_the_folder_away(tmp_path, order):
    """The first lock made the folder, whichever is given back first."""
    for name in "ab":
        hold(tmp_path / "new" / "er" / name)
    release(tmp_path / "new" / "er" / order[0])
    assert (tmp_path / "new" / "er").is_dir()
    release(tmp_path / "new" / "er" / order[1])
    assert not (tmp_path / "new").exists()
