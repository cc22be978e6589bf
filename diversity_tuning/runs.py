"""Seeds, provenance and outputs that appear whole or not at all."""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from diversity_tuning.cli import read_recipe
from diversity_tuning.errors import UserError

PROVENANCE = "provenance.json"
_LIBRARIES = (
    "torch", "transformers", "trl", "peft", "accelerate", "datasets", "sentence-transformers", "scikit-learn", "numpy",
)  # fmt: skip
# What may differ between two runs that make the same output: how fast, where to, and what they say meanwhile.
NOT_SETTINGS = {"config", "overwrite", "num_proc", "device", "batch_size", "report_to"}


def provenance(stage: str, arguments: dict, inputs: dict[str, str | Path | None]) -> dict:
    """What makes an output what it is: stage, settings (paths left out) and the fingerprint of every input.

    ``inputs`` maps a name to a file, a folder or a hub id. A name in ``arguments`` that is also an input, or in
    :data:`NOT_SETTINGS`, is left out of the settings: the content of an input counts, not where it lies.
    """
    settings = {key: value for key, value in arguments.items() if key not in NOT_SETTINGS and key not in inputs}
    prints = {name: fingerprint(path) for name, path in inputs.items() if path is not None}
    record = {"stage": stage, "arguments": settings, "inputs": prints}
    return json.loads(json.dumps(record, default=str, sort_keys=True))


def fingerprint(path: str | Path) -> str:
    """SHA-256 of a file's bytes, or of every data file under a folder; a hub id stands for itself."""
    path = Path(path)
    if path.is_file():
        return _file_digest(path)
    if not path.is_dir():
        return f"hub:{path}"
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        relative = file.relative_to(path)
        # state.json holds the random id that `datasets` gives each save; cache-* are its scratch files; checkpoints
        # are not what a run hands on.
        scratch = file.name in (PROVENANCE, "state.json") or file.name.startswith(("cache-", "tmp"))
        skipped = scratch or relative.parts[0].startswith(("checkpoint-", "logs", "."))
        if file.is_file() and not skipped:
            digest.update(f"{relative}\0{_file_digest(file)}\0".encode())
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def is_finished(output: str | Path, record: dict, overwrite: bool = False, advice: str = "give --overwrite") -> bool:
    """True, with a word, when ``output`` was already made exactly so. Something else there is an error unless ``overwrite``.

    ``advice``: what the error says to do, or else to give another folder.
    """
    output = Path(output)
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return False
    if overwrite:
        return False
    made = read_provenance(output)
    if "request" in made:  # a training run records what it built from the request; what was asked for is what is compared
        made["arguments"] = made["request"]
    if made and all(made.get(key) == record[key] for key in record):
        print(f"{output}: already made with these settings, skipped", flush=True)
        return True
    difference = "it has no provenance" if not made else _difference(made, record)
    raise UserError(f"{output}: exists already and was made otherwise ({difference}); {advice} or another folder")


def _difference(made: dict, record: dict) -> str:
    for part in ("stage", "arguments", "inputs"):
        old, new = made.get(part), record[part]
        if old != new and isinstance(old, dict):
            names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
            return f"different {part}: {', '.join(names)}"
        if old != new:
            return f"{part} {old!r} instead of {new!r}"
    return "no difference"


def read_provenance(output: str | Path) -> dict:
    """The record beside an output, or an empty dict."""
    output = Path(output)
    file = output / PROVENANCE if output.is_dir() else output.with_name(f"{output.name}.{PROVENANCE}")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def write_provenance(folder: str | Path, record: dict, **results) -> None:
    """Write ``provenance.json`` into a folder: the record, library versions, the git commit and what came out."""
    full = {**record, **results, "versions": library_versions(), "git_commit": git_commit()}
    write_text(Path(folder) / PROVENANCE, json.dumps(full, indent=2, default=str, sort_keys=True) + "\n")


@contextlib.contextmanager
def atomic_folder(output: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of ``output`` and rename it into place when the block ends well.

    A killed process leaves the old output or none; the sibling it left behind is swept by the next run.
    """
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.partial")
    retired = output.with_name(f".{output.name}.retired")
    if retired.exists() and not output.exists():  # killed between the two renames below
        retired.rename(output)
    for leftover in (partial, retired):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    put_in_place(partial, output)


def put_in_place(folder: Path, output: Path) -> None:
    """Rename a whole folder to ``output``; what lay there goes only after that."""
    retired = output.with_name(f".{output.name}.retired")
    if output.exists():
        output.rename(retired)
    folder.rename(output)
    shutil.rmtree(retired, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


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


def explicit_settings(argv: list[str]) -> dict:
    """The settings that a recipe and the flags give, as text and without loading a trainer: ``{"beta": "0.3", …}``.

    Flags override the recipe. Used to know at once whether a run is finished; the trainer's parser checks the settings.
    """
    settings: dict = {}
    key = None
    for word in argv:
        if word.startswith("--"):
            key, _, value = word[2:].partition("=")
            key = key.replace("-", "_")  # transformers' parser takes --output-dir for --output_dir
            settings[key] = [value] if value else []
        elif key:
            settings[key].append(word)
    flags = {key: " ".join(words) or "True" for key, words in settings.items()}
    recipe = read_recipe(flags.pop("config")) if "config" in flags else {}
    return {**{key: str(value) for key, value in recipe.items() if value is not None}, **flags}
