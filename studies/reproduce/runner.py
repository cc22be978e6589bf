"""Runs stages: each with its output in a log, side by side where the table says so, all stopped together."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from diversity_tuning.children import start
from diversity_tuning.errors import UserError
from diversity_tuning.public import masked_words
from studies.reproduce.commands import as_shell, command, environment, resolve
from studies.reproduce.plans import Part
from studies.reproduce.stages import Lanes, Stage

# glibc would give a step's memory back to the kernel and fetch it again for the next, a tenth to a fifth of the time.
_MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_TOP_PAD_": "67108864"}
_LOOK = 0.5  # seconds between looks whether it is told to stop
_PATIENCE = 60.0  # seconds that a stopped stage may take to end: a sampler stops its server


class StageFailed(Exception):
    """A stage ended with an error, which has been printed."""


def print_parts(parts: list[Part], root: Path) -> None:
    """Every command as a line that runs as printed in a fresh shell, a comment with its name before it."""
    print(f"cd {shlex.quote(str(root))}")
    available = cores()
    for part in parts:
        for row in part.rows:
            together = isinstance(row, Lanes) and _side_by_side(part, row, available)
            for lane in row.lanes if isinstance(row, Lanes) else [(row,)]:
                for stage in lane:
                    words = command(stage, part.run, part.report)
                    extra = {"OMP_NUM_THREADS": str(_threads(row, available))} if together else {}
                    print(f"# ── {stage.name}")
                    print(as_shell(masked_words(words), extra | environment(words, part.run)))


class Runner:
    """Runs the parts of a plan in the repository's root."""

    def __init__(self, root: Path):
        self.root = root
        self.cores = cores()
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen] = set()
        self._stopping = False
        self._told: int | None = None  # a signal to stop

    def run(self, parts: list[Part]) -> None:
        """All of them. :class:`StageFailed` after the first that fails; its lane's neighbour is let finish what it does."""
        heard = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) != signal.SIG_IGN]  # as in `… &`
        before = {number: signal.signal(number, self._note) for number in heard}
        try:
            for part in parts:
                for row in part.rows:
                    if isinstance(row, Lanes):
                        self._lanes(part, row)
                    else:
                        self._stage(part, row, {})
        except (KeyboardInterrupt, SystemExit):
            self._stop()
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _lanes(self, part: Part, row: Lanes) -> None:
        """Side by side on a CPU with two cores or more, each with its share of them; else one after the other.

        Small models gain little from a second thread: two processes of one thread each do more than one of two.
        """
        if not _side_by_side(part, row, self.cores):
            for lane in row.lanes:
                for stage in lane:
                    self._stage(part, stage, {})
            return
        variables = {"OMP_NUM_THREADS": str(_threads(row, self.cores)), **_MALLOC}
        failures: list[BaseException] = []

        def run_lane(lane):
            try:
                for stage in lane:
                    self._stage(part, stage, variables)
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=run_lane, args=(lane,), daemon=True) for lane in row.lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(_LOOK)
                self._heed()
        self._heed()
        if failures:
            raise failures[0]

    def _stage(self, part: Part, stage: Stage, variables: dict[str, str]) -> None:
        words = command(stage, part.run, part.report)
        needed = environment(words, part.run)
        log = self.root / part.run.folder / "logs" / f"{stage.name}.log"
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{_shown(log.parent, self.root)}: cannot be made ({error.strerror}); give another --out") from None
        print(f"── {stage.name}\n   {as_shell(masked_words(words), needed)}", flush=True)
        words = resolve([sys.executable if word == "python" and i == 0 else word for i, word in enumerate(words)], self.root)
        started = time.monotonic()
        with log.open("wb") as stream:
            code = self._wait(words, {**os.environ, **variables, **needed}, stream)
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()
        if self._stopping:
            raise StageFailed(stage.name)
        if code:
            with self._lock:
                print("\n".join(last[-15:]), file=sys.stderr)
                ended = f"stage {stage.name} {_how_it_ended(code)}; all of its output: {_shown(log, self.root)}"
                print(f"error: {ended}", file=sys.stderr, flush=True)
            raise StageFailed(stage.name)
        skipped = any("skipped" in line for line in last[-3:])
        took = "finished before, skipped" if skipped else f"{time.monotonic() - started:.0f} s"
        print(f"   {stage.name}: {took}", flush=True)

    def _wait(self, words: list[str], variables: dict[str, str], stream) -> int:
        with self._lock:
            if self._stopping:
                return 1
            try:
                process = start(
                    words, cwd=self.root, env=variables, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
                )
            except OSError as error:
                raise UserError(f"{words[0]}: {error.strerror}") from None
            self._processes.add(process)
        try:
            code = None
            while code is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(_LOOK)
                self._heed()
            if code in (-signal.SIGINT, 128 + signal.SIGINT):
                raise KeyboardInterrupt  # a terminal's Ctrl-C goes to the stage as well, which may end before it is noted here
            return code
        finally:
            if process.poll() is not None:
                with self._lock:
                    self._processes.discard(process)

    def _note(self, number: int, _) -> None:
        """Keep a signal for :meth:`_heed`: an exception from here is lost where Python ignores one, as while it forks."""
        self._told = self._told or number

    def _heed(self) -> None:
        """End here if Ctrl-C or SIGTERM came."""
        if self._told == signal.SIGINT:
            raise KeyboardInterrupt
        if self._told:
            raise SystemExit(128 + self._told)

    def _stop(self) -> None:
        """End what runs. Ctrl-C has reached it already; what does not end by itself is told, then killed."""
        if signal.getsignal(signal.SIGINT) == self._note:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # the second time nothing is waited for
        with self._lock:
            self._stopping = True
            processes = list(self._processes)
        for process in processes:
            process.terminate()
        end = time.monotonic() + _PATIENCE
        for process in processes:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
            except KeyboardInterrupt:
                process.kill()
                end = 0.0


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has instructions for products of bfloat16 (AMX or AVX-512), which halve the time of a step."""
    try:
        return bool({"amx_bf16", "avx512_bf16"} & set(cpuinfo.read_text(encoding="utf-8").split()))
    except OSError:
        return False


def _side_by_side(part: Part, row: Lanes, cores: int) -> bool:
    return part.run.launch == "cpu" and cores >= 2 and sum(map(bool, row.lanes)) > 1


def _threads(row: Lanes, cores: int) -> int:
    return max(1, cores // len(row.lanes))


def _how_it_ended(code: int) -> str:
    """In words, from a process's return code, or from that of a shell around it (128 + signal)."""
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "was killed (signal 9), most often since memory ran out; the same command goes on"
    return "failed"


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
