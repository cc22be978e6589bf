"""Names that people type: the known one that is nearest, and paths that are not there."""

import difflib
from collections.abc import Iterable
from pathlib import Path


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean …?`` with the known word that is most like ``word``, or nothing."""
    words = {str(one).lower(): str(one) for one in known}
    near = difflib.get_close_matches(word.lower(), words, n=1)
    near = near or [one for one in words if word and one.startswith(word.lower())][:1]
    return f"; did you mean {words[near[0]]}?" if near else ""


def missing_path(name: str | Path) -> str | None:
    """``no such folder; did you mean …?`` for a name that can only be a path and is not there; None where it may be a hub id.

    A path begins with ``.``, ``/`` or ``~``, has two slashes or more, or begins with a folder that is there.
    """
    text, path = str(name), Path(name)
    if path.exists():
        return None
    begins = path.parts[0] if path.parts else ""
    if not text.startswith((".", "/", "~")) and text.count("/") < 2 and not (len(path.parts) > 1 and Path(begins).is_dir()):
        return None
    return f"no such file or folder{near_path(path)}"


def near_path(path: str | Path) -> str:
    """``; did you mean …?`` with what lies beside the first part of ``path`` that is not there, or nothing."""
    path = Path(path)
    if path.exists():
        return ""
    parent = next((one for one in path.parents if one.is_dir()), Path("."))
    missing = path.relative_to(parent).parts if path != parent else ()
    there = [one.name for one in parent.iterdir() if not one.name.startswith(".")] if missing else []
    found = nearest(missing[0], there) if missing else ""
    if not found:
        return ""
    name = found.removeprefix("; did you mean ").removesuffix("?")
    whole = parent.joinpath(name, *missing[1:])
    return f"; did you mean {whole if whole.exists() else parent / name}?"
