"""One process for one output: a lock beside it, ``.NAME.lock``, that says who holds it.

The system frees the lock when its process ends, however it ends; one that workers of a dead process still hold is taken over.
"""

import atexit
import contextlib
import fcntl
import os
import shlex
import socket
import sys
from pathlib import Path

import psutil

from diversity_tuning.errors import UserError
from diversity_tuning.public import masked_words

_held: dict[Path, tuple[int, int, list[Path]]] = {}  # lock file: process, descriptor, folders made for it


def real(output: str | Path) -> Path:
    """Where an output lies that may be a symbolic link: the link stays, and what it leads to is replaced."""
    output = Path(output)
    return Path(os.path.realpath(output)) if output.is_symlink() else output


def hold(output: str | Path) -> None:
    """Take the output's lock until :func:`release` or the end of the process; again in one process is nothing.

    Of several processes of one command, as `accelerate launch` starts them, the first takes it. A :class:`UserError` says who
    holds it.
    """
    output = real(output)
    path = Path(os.path.abspath(output)).with_name(f".{output.name}.lock")
    if os.environ.get("RANK", "0") != "0" or _held.get(path, (0,))[0] == os.getpid():
        return
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 4096, 0).decode(errors="replace").split("\n")
            os.close(file)
            here = len(holder) > 1 and holder[1] == socket.gethostname() and holder[0].isdigit()
            if here and not psutil.pid_exists(int(holder[0])):  # its workers may have the file open still
                path.unlink(missing_ok=True)
                continue
            who = f"process {holder[0]} on {holder[1]} ({holder[2]})" if len(holder) > 2 else "another process"
            raise UserError(f"{output}: {who} is writing to it; wait for that, or choose another folder") from None
        except OSError as error:  # a file system without locks
            print(f"{output}: cannot be locked ({error.strerror}); let no other command write to it", file=sys.stderr)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(path)):
                break
        os.close(file)  # its last holder has deleted it meanwhile
    os.ftruncate(file, 0)
    words = shlex.join(masked_words(["python", *sys.orig_argv[1:]]))[:300]
    os.pwrite(file, f"{os.getpid()}\n{socket.gethostname()}\n{words}\n".encode(errors="replace"), 0)
    _held[path] = (os.getpid(), file, made)


def release(output: str | Path | None = None) -> None:
    """Give one output's lock back, or all of this process."""
    output = None if output is None else real(output)
    paths = list(_held) if output is None else [Path(os.path.abspath(output)).with_name(f".{output.name}.lock")]
    for path in paths:
        process, file, made = _held.pop(path, (0, 0, []))
        if process != os.getpid():  # not held, or by the process that this one was forked from
            continue
        path.unlink(missing_ok=True)
        os.close(file)
        for folder in made:
            with contextlib.suppress(OSError):  # the output is in it
                folder.rmdir()
        left = [folder for folder in made if folder.is_dir()]
        for other, (holder, its_file, own) in _held.items():  # the last lock in a folder takes the folder away
            if within := [folder for folder in left if folder in other.parents]:
                _held[other] = (holder, its_file, [*own, *within])


atexit.register(release)
