"""Output folders: which of their files our commands wrote, and how one folder takes the place of another.

A folder is removed or renamed only when every file in it is ours: listed in its ``provenance.json`` (``files``) or, in a folder
from before that list was kept, of a name that our commands give.
"""

import contextlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from diversity_tuning.errors import UserError
from diversity_tuning.locks import hold, real, release
from diversity_tuning.public import clean_folder

PROVENANCE = "provenance.json"
RUN_FILES = (
    *("samples.jsonl", "samples-[0-9]*.jsonl", "sampling.json"),
    *("scores.csv", "prompts.csv", "metrics.json", "gold.csv", PROVENANCE),
)
# Names that our commands give: data, models, checkpoints, style vectors, runs, studies.
_NAMES = (
    *(*RUN_FILES, "dataset_dict.json", "*/state.json", "*/dataset_info.json", "*/data-*.arrow"),
    *("config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json", "adapter_config.json"),
    *("adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "README.md", "metrics.jsonl", "curves.png"),
    *("resolved_config.json", "trainer_state.json", "*events.out.tfevents*", "source.jsonl.gz", "latent_authors.jsonl.gz"),
    *("vocabulary.json", "arrays.npz", "threshold.json", "page.md", "histograms.png", "reward_check.json", "scatter.png"),
    *("histogram.png", "calibration.png", "items.jsonl", "key.csv", "report.json"),
)
# What libraries and systems leave in any folder: caches of `datasets`, folder views.
_SCRATCH = re.compile(r"cache-[0-9a-f]+(_\d+_of_\d+)?\.arrow|\.DS_Store|Thumbs\.db")
_TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")  # of `datasets`, beside the rows that it was reading
_CHOOSE = "choose another folder"
_LONGEST = 240  # bytes of a name, of 255: beside an output NAME lies .NAME.training


def files_in(folder: str | Path) -> list[str]:
    """Every file and link under a folder as a relative path with slashes, sorted; links are not followed."""
    found = []
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        found += [(Path(place) / name).relative_to(folder).as_posix() for name in (*files, *links)]
    return sorted(found)


def foreign_file(folder: Path, names: Iterable[str] = ()) -> str | None:
    """The first file that is neither listed in the folder's provenance nor one of our names; ``names`` replaces both."""
    listed = read_provenance(folder).get("files")
    patterns = tuple(names) or (_NAMES if listed is None else (*listed, PROVENANCE))
    for file in files_in(folder):
        place, _, name = file.rpartition("/")
        if _SCRATCH.fullmatch(name) or (_TEMPORARY.fullmatch(name) and (folder / place / "state.json").is_file()):
            continue
        if name.startswith(".") and name.endswith(".partial"):  # of a file that was being written
            file = f"{place}/{name[1:-8]}".lstrip("/")
        known = [file, file.split("/", 1)[1]] if listed is None and file.startswith("checkpoint-") and place else [file]
        if not any(one in patterns or any(fnmatch(one, two) for two in patterns if "*" in two) for one in known):
            return file
    return None


def check_place(output: str | Path) -> None:
    """A :class:`UserError` when no folder can be made there: a file is there, a link leads nowhere, a name is too long."""
    output = Path(output)
    if len(os.fsencode(output.name)) > _LONGEST:
        raise UserError(f"{str(output)[:80]}…: no folder can be made there (File name too long); {_CHOOSE}")
    for place in (output, *output.parents):
        where = "" if place == output else f", so {output} cannot be made below it"
        try:
            if stat.S_ISDIR(os.stat(place).st_mode):
                return
        except FileNotFoundError:
            if place.is_symlink():
                told = f"is a link to {os.readlink(place)}, which is not there{where}"
                raise UserError(f"{place}: {told}; make it, or {_CHOOSE}") from None
            continue
        except NotADirectoryError:  # the file above is told
            continue
        except OSError as error:  # a name that is too long, a loop of links
            shown = str(output) if len(str(output)) <= 80 else f"{str(output)[:80]}…"
            raise UserError(f"{shown}: no folder can be made there ({error.strerror}); {_CHOOSE}") from None
        raise UserError(f"{place}: is a file, not a folder{where}; {_CHOOSE}")


def check_ours(output: str | Path, names: Iterable[str] = ()) -> None:
    """A :class:`UserError` unless ``output`` is missing, empty, or a folder in which every file is ours.

    ``names``: patterns of the files that may be there, for folders that have no provenance; else the provenance decides.
    """
    check_place(output)
    output = Path(output)
    if not output.is_dir() or not any(output.iterdir()):
        return
    if not names and not read_provenance(output):
        raise UserError(f"{output}: not empty, and not made by this project (no {PROVENANCE}); {_CHOOSE}")
    foreign = foreign_file(output, names)
    if foreign:
        raise UserError(f"{output}: holds {foreign}, which none of our commands wrote, so it is not replaced; {_CHOOSE}")


def read_json(path: str | Path) -> dict:
    """The JSON object in a file, or an empty dict where there is no file or it holds anything else."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


class LineFile:
    """A file of JSON lines that is added to, made where it is not there; a last line that a kill cut in two is removed."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.path.touch()
        with self.path.open("rb+") as stream:
            content = stream.read()
            stream.truncate(content.rfind(b"\n") + 1)
        # Half a surrogate pair, which a server's JSON may hold, becomes its escape, which is JSON as well.
        self._stream = self.path.open("a", encoding="utf-8", errors="backslashreplace")

    def lines(self) -> list[bytes]:
        """Its lines, which are whole."""
        return self.path.read_bytes().split(b"\n")[:-1]

    def append(self, rows: Iterable[dict]) -> None:
        """Put rows on the disk before anything else happens."""
        self._stream.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stream.close()


def read_provenance(output: str | Path) -> dict:
    """The record in an output folder, or an empty dict, also where the file is not one of ours."""
    made = read_json(Path(output) / PROVENANCE)
    ours = isinstance(made.get("stage"), str)
    whole = ours and (isinstance(made.get("versions"), dict) or made.keys() <= {"stage", "files", "unfinished"})
    return made if whole and isinstance(made.get("files", []), list) else {}


def retired(output: Path) -> Path:
    """Where the old output waits until the new one is whole."""
    output = real(output)
    return output.with_name(f".{output.name}.retired")


def recover(output: Path) -> None:
    """Bring the old output back where a process was killed between the two renames of :func:`put_in_place`."""
    if retired(output).is_dir() and not output.exists():
        retired(output).rename(output)


def is_resumed(output: Path, made: dict, same: bool, overwrite: bool, what: str, names: Iterable[str] = ()) -> bool:
    """Whether the output there, which grows while it is made, is added to; False where a new one begins.

    ``made``: its record, empty if it has none; ``same``: whether that is what is asked for now. With ``overwrite`` it is moved
    aside, unless it is itself unfinished and another was moved aside in its favour before. A :class:`UserError` where files lie
    there that are not ``what``; it is the caller's to refuse an output that is not the same.
    """
    hold(output)
    if not made and output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output}: not empty and not {what}; {_CHOOSE}")
    if made and overwrite and not (same and not made.get("finished") and retired(output).is_dir()):
        check_ours(output, names)
        place = real(output)
        if retired(place).is_dir():  # of an unfinished one in whose favour another was moved aside before, nothing is kept
            shutil.rmtree(place)
        else:
            place.rename(retired(place))
        return False
    return bool(made)


def forget_retired(output: Path) -> None:
    """Delete what was moved aside: the new output is whole."""
    if retired(output).is_symlink():
        retired(output).unlink()
    shutil.rmtree(retired(output), ignore_errors=True)


def put_in_place(folder: Path, output: Path, names: Iterable[str] = ()) -> None:
    """Rename a whole folder to ``output``; what lay there is moved aside before and deleted after.

    The files of ``folder`` are listed in its provenance, if it has one. What is not ours is never moved (:func:`check_ours`).
    """
    output = real(output)
    try:
        check_ours(output, names)
    except UserError as error:
        raise UserError(f"{error}. The new result is whole and lies in {folder}") from None
    if cleaned := clean_folder(folder):
        print(f"{output}: secrets of this run or of the environment were masked in {', '.join(cleaned)}", flush=True)
    made = read_provenance(folder)
    if made and not names:
        made["files"] = files_in(folder)
        (folder / PROVENANCE).write_text(json.dumps(made, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if output.exists():
        with contextlib.suppress(OSError):
            output.rmdir()  # empty
    if output.exists():
        output.rename(retired(output))
    folder.rename(output)
    forget_retired(output)
    release(output)
