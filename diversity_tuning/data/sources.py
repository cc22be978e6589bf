"""Read a source of any form into one checked, memory-mapped table, in bounded memory."""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diversity_tuning.data.validate import SOURCE, check
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


def load_source(source: str | Path, work: str | Path, revision: str | None = None):
    """Read ``source`` into a ``datasets.Dataset`` memory-mapped from ``work``.

    ``source`` is a ``.jsonl``, ``.jsonl.gz`` or ``.parquet`` file, a folder made by ``save_to_disk``, or a hub id (at
    ``revision``). Several splits are joined in their order. Columns beyond the schema are kept. Raises
    :class:`UserError` naming file, row and column when something is missing, of the wrong kind, null or of unequal length.
    """
    from datasets import Dataset

    check_source(source)
    path, rows, writer = Path(work) / "source.arrow", 0, None
    try:
        for batch in _batches(str(source), revision):
            batch = check(batch, SOURCE, source, rows + 1)
            if writer is None:
                writer = pa.ipc.new_stream(str(path), _settled_schema(batch.schema))
                table_schema = _settled_schema(batch.schema)
            writer.write_table(_aligned(batch, table_schema, source, rows + 1))
            rows += len(batch)
    except UNREADABLE as error:
        raise UserError(f"{source}: unreadable after row {rows} ({reason_of(error)})") from None
    finally:
        if writer is not None:
            writer.close()
    if rows == 0:
        raise UserError(f"{source}: no rows")
    return Dataset.from_file(str(path))


def _batches(source: str, revision: str | None) -> Iterator[pa.Table]:
    if source.endswith((".jsonl", ".jsonl.gz")) and Path(source).is_file():
        return jsonl_batches(source, tuple(SOURCE.kinds))
    if source.endswith(".parquet") and Path(source).is_file():
        return parquet_batches(source)
    return _dataset_batches(_saved(source) if Path(source).is_dir() else _hub(source, revision))


def _dataset_batches(splits: list) -> Iterator[pa.Table]:
    for split in splits:
        for start in range(0, len(split), _ROWS):
            yield split.with_format("arrow")[start : start + _ROWS]


def _saved(folder: str) -> list:
    """The splits of a folder written by ``save_to_disk``."""
    from datasets import DatasetDict

    data = open_saved(folder)
    return list(data.values()) if isinstance(data, DatasetDict) else [data]


def open_saved(folder: str | Path):
    """``datasets.load_from_disk`` with a :class:`UserError` for a folder that holds no whole dataset."""
    from datasets import load_from_disk

    try:
        return load_from_disk(str(folder))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, pa.ArrowException) as error:
        raise UserError(f"{folder}: no readable dataset in this folder ({reason_of(error)})") from None


def _hub(name: str, revision: str | None) -> list:
    from datasets import load_dataset

    try:
        return list(load_dataset(name, revision=revision).values())
    except Exception as error:  # the hub client, the network and the data files each fail in their own way
        raise UserError(f"{name}: no such file or folder, and not readable as a hub data set ({reason_of(error)})") from None


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


def jsonl_batches(source: str, required: tuple[str, ...] = ()) -> Iterator[pa.Table]:
    """A JSON Lines file, gzip or plain, in parts. Every row has the ``required`` columns; other missing values are null."""
    rows, first = [], 1
    for number, line in enumerate(_lines(source), start=1):
        if line.strip():
            rows.append(_parse(line, source, number))
        if len(rows) == _ROWS:
            yield _to_table(rows, source, first, required)
            rows, first = [], number + 1
    if rows:
        yield _to_table(rows, source, first, required)


def json_batches(source: str) -> Iterator[pa.Table]:
    """A .json file in parts: one array of objects, or JSON Lines under that name. An array is held in memory whole."""
    with open(source, "rb") as stream:
        start = stream.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start != b"[":
        yield from jsonl_batches(source)
        return
    try:
        rows = json.loads(Path(source).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source}: not valid JSON ({reason_of(error)})") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UserError(f"{source}: row {number}: expected a JSON object, found a {type(row).__name__}")
    for first in range(0, len(rows), _ROWS):
        yield _to_table(rows[first : first + _ROWS], source, first + 1, ())


def _lines(source: str) -> Iterator[str]:
    opener = gzip.open if source.endswith(".gz") else open
    with opener(source, "rb") as stream:
        yield from io.TextIOWrapper(stream, encoding="utf-8-sig", newline="\n")


def _parse(line: str, source: str, number: int) -> dict:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source}: row {number}: not valid JSON ({reason_of(error)})") from None
    if not isinstance(row, dict):
        raise UserError(f"{source}: row {number}: expected a JSON object with named columns, found a {type(row).__name__}")
    return row


def _to_table(rows: list[dict], source: str, first: int, required: tuple[str, ...]) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    _check_keys(rows, names, source, first, required)
    return pa.table({name: _column([row.get(name) for row in rows], name, source, first) for name in names})


def _check_keys(rows: list[dict], names: list[str], source: str, first: int, required: tuple[str, ...]) -> None:
    for name in required:
        row = next((number for number, row in enumerate(rows) if name not in row), None)
        if row is not None:
            raise UserError(f"{source}: row {first + row}: no column '{name}'; the columns are: {', '.join(names)}")


def _column(values: list, name: str, source: str, first: int) -> pa.Array:
    """Arrow's own inference; where rows disagree, the error names the first row whose type does not fit those before it."""
    bad = (pa.ArrowException, TypeError, ValueError, OverflowError)
    try:
        return pa.array(values)
    except bad:
        known = next((value for value in values if value is not None), None)
        for number, value in enumerate(values):
            try:
                pa.array([known, value])
                check(pa.table({name: pa.array([value])}), _only(name), source, first + number)
            except bad as error:
                raise UserError(f"{source}: row {first + number}, column '{name}': {reason_of(error)}") from None
        raise UserError(f"{source}: row {first}, column '{name}': the rows from here on are of different kinds") from None


def _only(name: str):
    kinds = {name: SOURCE.kinds[name]} if name in SOURCE.kinds else {}
    return type(SOURCE)(kinds, nullable=SOURCE.nullable)


def _settled_schema(found: pa.Schema) -> pa.Schema:
    return pa.schema([(field.name, _settled(field.type)) for field in found])


def _settled(found: pa.DataType) -> pa.DataType:
    """The type with null types replaced: a column without a value so far is read as text."""
    if pa.types.is_null(found):
        return pa.string()
    return pa.list_(_settled(found.value_type)) if pa.types.is_list(found) else found


def _aligned(batch: pa.Table, wanted: pa.Schema, source: str | Path, first: int) -> pa.Table:
    """``batch`` in the columns and types of the first batch."""
    new = [name for name in batch.column_names if name not in wanted.names]
    if new:
        raise UserError(
            f"{source}: column '{new[0]}' appears first after row {first}; give it in the first rows or leave it out"
        )
    columns = []
    for field in wanted:
        column = batch.column(field.name) if field.name in batch.column_names else pa.nulls(len(batch), field.type)
        try:
            columns.append(column.cast(field.type))
        except pa.ArrowException:
            message = f"{column.type} here, {field.type} before"
            raise UserError(f"{source}: row {first} or later, column '{field.name}': {message}") from None
    return pa.table(columns, schema=wanted)


def reason_of(error: BaseException) -> str:
    """What an exception says, on one line."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8; save it as UTF-8"
    return " ".join(str(error).split())[:200] or type(error).__name__
