"""Sources of any form in parts of some hundred rows: files, saved folders, hub data sets."""

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diversity_tuning.data.schema import READ
from diversity_tuning.data.validate import SOURCE, TableSchema, check
from diversity_tuning.errors import UserError
from diversity_tuning.names import near_path

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
_ROWS = 500  # rows held as Python objects or as one Arrow batch at a time
UNREADABLE = (OSError, EOFError, zlib.error, UnicodeDecodeError, pa.ArrowException)


def check_source(source: str | Path) -> None:
    """Fail early, without heavy imports, when ``source`` can be neither a file, nor a folder, nor a hub id."""
    path = Path(source)
    if not str(source).strip():
        raise UserError("--source '': no such file or folder")
    if path.is_file() and not str(source).endswith(SUFFIXES):
        raise UserError(f"{source}: unknown kind of file; expected {', '.join(SUFFIXES)}, a folder or a hub id")
    if path.exists():
        return
    if str(source).endswith((*SUFFIXES, ".json", ".csv", ".gz")) or str(source).startswith((".", "/", "~")):
        raise UserError(f"{source}: no such file or folder{near_path(source)}")
    if str(source).count("/") > 1:
        raise UserError(f"{source!r}: no such file or folder, and not a hub id (owner/name){near_path(source)}")


def post_batches(source: str, revision: str | None) -> Callable[[set[str]], Iterator[pa.Table]]:
    """What gives a source of posts in parts, as often as it is called: a file, all splits of a saved folder or a hub data set.

    Its argument gets the names of columns beyond the schema that no batch can hold; they are not in it.
    """
    if source.endswith((".jsonl", ".jsonl.gz")) and Path(source).is_file():
        return lambda unfit: jsonl_batches(source, tuple(SOURCE.kinds), unfit)
    if source.endswith(".parquet") and Path(source).is_file():
        return lambda unfit: parquet_batches(source)
    saved = open_saved(source) if Path(source).is_dir() else open_hub(source, revision)
    splits = saved.values() if hasattr(saved, "values") else [saved]
    return lambda unfit: (batch for split in splits for batch in split.with_format("arrow").iter(_ROWS))


def open_saved(folder: str | Path):
    """``datasets.load_from_disk`` with a :class:`UserError` for a folder that holds no whole dataset."""
    from datasets import load_from_disk

    try:
        return load_from_disk(str(folder))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, pa.ArrowException) as error:
        raise UserError(f"{folder}: no readable dataset in this folder ({reason_of(error)})") from None


def open_hub(name: str, revision: str | None, split: str | None = None):
    """A hub data set, or one split of it."""
    from datasets import load_dataset

    try:
        return load_dataset(name, revision=revision, **({"split": split} if split else {}))
    except Exception as error:  # the hub client, the network and the data files each fail in their own way
        what = f"split '{split}' cannot be read from the hub" if split else "not readable as a hub data set"
        raise UserError(f"{name}: no such file or folder, and {what} ({reason_of(error)})") from None


def hub_commit(source: str, revision: str | None) -> str | None:
    """The commit that a hub id at ``revision`` resolves to now; None for a path, and where the hub cannot be asked."""
    if Path(source).exists():
        return None
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(source, revision=revision).sha
    except Exception:  # offline, gated, or no such set: reading it says which
        return None


def parquet_batches(source: str) -> Iterator[pa.Table]:
    """A Parquet file in parts."""
    return (pa.Table.from_batches([batch]) for batch in pq.ParquetFile(source).iter_batches(_ROWS))


def jsonl_batches(source: str, required: tuple[str, ...] = (), unfit: set[str] | None = None) -> Iterator[pa.Table]:
    """A JSON Lines file, gzip or plain, in parts. Every row has the ``required`` columns; other missing values are null.

    Columns whose values are of different kinds are left out and added to ``unfit``, but for those that some reader needs.
    """
    rows, first, unfit = [], 1, set() if unfit is None else unfit
    for number, row in json_rows(source):
        rows.append(row)
        if len(rows) == _ROWS:
            yield _to_table(rows, source, first, required, unfit)
            rows, first = [], number + 1
    if rows:
        yield _to_table(rows, source, first, required, unfit)


def json_batches(source: str, unfit: set[str] | None = None) -> Iterator[pa.Table]:
    """A .json file in parts: one array of objects, or JSON Lines under that name. An array is held in memory whole."""
    with open(source, "rb") as stream:
        start = stream.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start != b"[":
        yield from jsonl_batches(source, (), unfit)
        return
    try:
        rows = json.loads(Path(source).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source}: not valid JSON ({reason_of(error)})") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UserError(f"{source}: row {number}: expected a JSON object, found a {type(row).__name__}")
    for first in range(0, len(rows), _ROWS):
        yield _to_table(rows[first : first + _ROWS], source, first + 1, (), set() if unfit is None else unfit)


def json_rows(source: str) -> Iterator[tuple[int, dict]]:
    """The rows of a JSON Lines file, gzip or plain, as they are, each with its line's number from 1."""
    opener = gzip.open if source.endswith(".gz") else open
    with opener(source, "rb") as stream:
        for number, line in enumerate(io.TextIOWrapper(stream, encoding="utf-8-sig", newline="\n"), start=1):
            if line.strip():
                yield number, _parse(line, source, number)


def _parse(line: str, source: str, number: int) -> dict:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source}: row {number}: not valid JSON ({reason_of(error)})") from None
    if not isinstance(row, dict):
        raise UserError(f"{source}: row {number}: expected a JSON object with named columns, found a {type(row).__name__}")
    return row


def _to_table(rows: list[dict], source: str, first: int, required: tuple[str, ...], unfit: set[str]) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in required:
        row = next((number for number, row in enumerate(rows) if name not in row), None)
        if row is not None:
            raise UserError(f"{source}: row {first + row}: no column '{name}'; the columns are: {', '.join(names)}")
    columns = {}
    for name in names:
        try:
            columns[name] = _column([row.get(name) for row in rows], name, source, first)
        except UserError:
            if name in READ:
                raise
            unfit.add(name)
    return pa.table(columns)


def _column(values: list, name: str, source: str, first: int) -> pa.Array:
    """Arrow's own inference; where rows disagree, the error names the first row whose type does not fit those before it."""
    bad = (pa.ArrowException, TypeError, ValueError, OverflowError)
    try:
        return pa.array(values)
    except bad:
        known = next((value for value in values if value is not None), None)
        kinds = {name: SOURCE.kinds[name]} if name in SOURCE.kinds else {}
        only = TableSchema(kinds, nullable=SOURCE.nullable)
        for number, value in enumerate(values):
            try:
                pa.array([known, value])
                check(pa.table({name: pa.array([value])}), only, source, first + number)
            except bad as error:
                raise UserError(f"{source}: row {first + number}, column '{name}': {reason_of(error)}") from None
        raise UserError(f"{source}: row {first}, column '{name}': the rows from here on are of different kinds") from None


def reason_of(error: BaseException) -> str:
    """What an exception says, on one line."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8; save it as UTF-8"
    return " ".join(str(error).split())[:200] or type(error).__name__
