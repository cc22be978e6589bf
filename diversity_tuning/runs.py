"""Provenance of outputs, and writing them atomically."""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from diversity_tuning.errors import UserError
from diversity_tuning.locks import hold, real, release
from diversity_tuning.outputs import (
    PROVENANCE,
    check_ours,
    check_place,
    foreign_file,
    forget_retired,
    is_resumed,
    put_in_place,
    read_provenance,
    recover,
)
from diversity_tuning.public import masked

_LIBRARIES = (
    "torch", "transformers", "trl", "peft", "accelerate", "datasets", "sentence-transformers", "scikit-learn", "numpy",
)  # fmt: skip
# Flags that do not change an output: speed, location and logging.
NOT_SETTINGS = {"config", "overwrite", "num_proc", "device", "batch_size", "report_to"}


def provenance(stage: str, arguments: dict, inputs: dict[str, str | Path | None]) -> dict:
    """What makes an output what it is: stage, settings (paths left out) and the fingerprint of every input.

    ``inputs`` maps a name to a file, a folder or a hub id. A name in ``arguments`` that is also an input, or in
    :data:`NOT_SETTINGS`, is left out of the settings: the content of an input counts, not where it lies. Settings that hold a
    secret by their name, as ``hub_token``, are masked.
    """
    settings = {key: value for key, value in arguments.items() if key not in NOT_SETTINGS and key not in inputs}
    prints = {name: fingerprint(path) for name, path in inputs.items() if path is not None}
    record = {"stage": stage, "arguments": masked(settings), "inputs": prints}
    return json.loads(json.dumps(record, default=str, sort_keys=True))


def fingerprint(path: str | Path) -> str:
    """SHA-256 of a file's bytes, or of every data file under a folder; a hub id is its own fingerprint.

    ``FOLDER:WORD`` is the folder's, with how it is read after it (an encoder's ``:windows``).
    """
    path = Path(path)
    if path.is_file():
        return file_digest(path)
    if not path.is_dir():
        whole, colon, reading = str(path).rpartition(":")
        return f"{fingerprint(whole)}:{reading}" if colon and Path(whole).is_dir() else f"hub:{path}"
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        relative = file.relative_to(path)
        # state.json holds the random id that `datasets` gives each save; cache-* are its scratch files; checkpoints
        # are not what a run hands on.
        scratch = file.name in (PROVENANCE, "state.json") or file.name.startswith(("cache-", "tmp"))
        skipped = scratch or relative.parts[0].startswith(("checkpoint-", "logs", "."))
        if file.is_file() and not skipped:
            digest.update(f"{relative}\0{file_digest(file)}\0".encode())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_finished(
    output: str | Path, record: dict, overwrite: bool = False, advice: str = "give --overwrite",
    as_asked: Callable[[dict], dict] = dict,
) -> bool:  # fmt: skip
    """True, with a word, when ``output`` was already made exactly so. Something else there is an error unless ``overwrite``.

    Also with ``overwrite``, a folder that holds anything that we did not write is an error. ``advice``: what the error says to
    do, or else to give another folder. ``as_asked`` writes the settings that were recorded as those of now, where they mean
    the same.
    """
    output = Path(output)
    check_place(output)
    hold(output)
    recover(output)
    if not output.exists() or not any(output.iterdir()):
        return False
    made = read_provenance(output)
    if overwrite or not made:
        check_ours(output)
        return False
    if "request" in made:  # a training run records what it built from the request; what was asked for is what is compared
        made["arguments"] = made["request"]
    made["arguments"] = as_asked(made.get("arguments") or {})
    if all(made.get(key) == record[key] for key in record):
        print(f"{output}: already made with these settings, skipped", flush=True)
        release(output)
        return True
    advice = "choose another folder" if foreign_file(output) else f"{advice} or another folder"
    raise UserError(f"{output}: exists already and was made otherwise ({difference(made, record, 'parts')}); {advice}")


def difference(made: dict, record: dict, form: str = "values", ignored: tuple[str, ...] = ()) -> str:
    """How two records differ, in words; empty where they do not. ``ignored``: names of inputs that may differ.

    ``form``: "values" tells both values of a setting, "names" the names alone, "parts" those of the first part that differs.
    """
    if made.get("stage") != record["stage"]:
        return f"stage {made.get('stage')!r} instead of {record['stage']!r}" if form == "parts" else f"by {made.get('stage')}"
    changed: list[tuple[str, str, object, object]] = []
    for part in ("arguments", "inputs"):
        old, new = made.get(part) or {}, record[part]
        names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name) and name not in ignored)
        changed += [(part, name, old.get(name), new.get(name)) for name in names]
    if form == "names":
        return f"another {', '.join(name for _, name, *_ in changed)}" if changed else ""
    if form == "parts":
        first = changed[0][0] if changed else ""
        return f"different {first}: {', '.join(name for part, name, *_ in changed if part == first)}" if changed else ""
    words = {"prompt_hash": "the prompts or the rubric"}
    return ", ".join(
        words.get(name, f"{name} {old!r} there, {new!r} now" if part == "arguments" else f"another {name}")
        for part, name, old, new in changed
    )


def open_output(
    output: str | Path, record: dict, overwrite: bool, what: str, *, made: Callable[[Path], dict] = read_provenance,
    files: Iterable[str] = (), ignored: tuple[str, ...] = (), holds: str = "was", form: str = "values",
) -> dict:  # fmt: skip
    """The record of an output that grows while it is made, and is added to; empty where a new one begins.

    A :class:`UserError` where the folder holds files that are not ``what``, or was made otherwise (:func:`difference`).
    ``made`` reads the record; ``files``: see :func:`~diversity_tuning.outputs.check_ours`; ``holds`` begins the complaint.
    """
    output = Path(output)
    check_place(output)
    hold(output)
    recover(output)
    there = made(output)
    differs = difference(there, record, form, ignored)
    if not is_resumed(output, there, not differs, overwrite, what, files):
        return {}
    if differs:
        raise UserError(f"{output}: {holds} made otherwise ({differs}); --overwrite or another folder")
    return there


def write_provenance(folder: str | Path, record: dict, **results) -> None:
    """Write ``provenance.json`` into a folder: the record, library versions, the git commit and what came out."""
    full = {**masked({**record, **results}), "versions": library_versions(), "git_commit": git_commit()}
    write_json(Path(folder) / PROVENANCE, full, default=str, sort_keys=True)


@contextlib.contextmanager
def atomic_folder(output: str | Path, names: Iterable[str] = ()) -> Iterator[Path]:
    """Yield a temporary sibling of ``output`` and rename it into place when the block ends well.

    A killed process leaves the old output or none; the sibling it left behind is swept by the next run. An output that holds
    what we did not write is a :class:`UserError` (``names``: see :func:`~diversity_tuning.outputs.check_ours`).
    """
    output = real(output)
    hold(output)
    recover(output)
    check_ours(output, names)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    forget_retired(output)
    partial.mkdir()
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        release(output)
        raise
    put_in_place(partial, output, names)


@contextlib.contextmanager
def written_in_place(output: str | Path, stage: str, names: Iterable[str], record: dict | None = None) -> Iterator[list[str]]:
    """Let the block write files of these ``names`` (patterns) into ``output``; yields those of an earlier result there.

    Other files beside them stay. A :class:`UserError` where a file of such a name is not ours, and where the folder holds
    files but no earlier result, known by its provenance. ``record``: what the provenance says besides.
    """
    output, names = Path(output), tuple(names)
    check_place(output)
    hold(output)
    there = _matching(output, names)
    made = read_provenance(output)
    if made.get("stage") == stage:
        ours = made.get("files", there)
    elif output.is_dir() and any(path.is_file() for path in output.iterdir()):
        raise UserError(f"{output}: not empty, and its files are not those of a {stage}; choose another folder")
    else:
        ours = []
    foreign = [name for name in there if not any(fnmatch(name, one) for one in ours)]
    if foreign:
        raise UserError(f"{output}: {foreign[0]} was not written by this command and is not replaced; choose another folder")
    output.mkdir(parents=True, exist_ok=True)
    # Listed before it is written, so that a killed run knows its own files again, and what it was asked for.
    write_provenance(output, {"stage": stage, "files": sorted({*ours, *names}), **(record or {})})
    yield ours
    write_provenance(output, {"stage": stage, "files": _matching(output, names), **(record or {})})
    release(output)


def _matching(folder: Path, names: tuple[str, ...]) -> list[str]:
    files = [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    return sorted(file for file in files if any(fnmatch(file, name) for name in names))


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def write_json(path: str | Path, content: object, **options) -> None:
    """Write a JSON file whole or not at all; ``options`` of :func:`json.dumps`."""
    write_text(path, json.dumps(content, indent=2, **options) + "\n")


def write_json_lines(path: str | Path, rows: Iterable) -> None:
    """Write a file of JSON lines whole or not at all."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def library_versions() -> dict[str, str]:
    """The installed versions of the libraries that decide the numbers."""
    versions = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


@functools.cache
def git_commit() -> str | None:
    """The commit of this code, with ``-dirty`` when files differ from it; None outside a repository."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
