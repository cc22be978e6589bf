"""Rows from any source that a command takes: a stage's folder, one saved split, a file, or a hub data set.

Files are .jsonl, .jsonl.gz, .json (an array of objects, or lines), .parquet, .csv (a header, then texts and numbers) and .txt
(one prompt a line). A file, or a folder that ``save_to_disk`` wrote of a single split, is the split ``train``.
"""

import contextlib
import csv
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa

from diversity_tuning.data import schema, sources
from diversity_tuning.data.schema import READ
from diversity_tuning.data.sources import open_hub, open_saved, reason_of
from diversity_tuning.data.validate import SOURCE, TableSchema, check, types_of
from diversity_tuning.errors import UserError
from diversity_tuning.names import near_path
from diversity_tuning.runs import fingerprint

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet", ".csv", ".txt")
_READER = 3  # part of the name of a converted file: count up when the same file would be read otherwise
_TEXTS = (schema.PROMPT, schema.CHOSEN, schema.REJECTED, schema.COMPLETION, schema.RESPONSE)  # never numbers in a CSV file


def check_source_name(source: str, flag: str = "--source") -> None:
    """Tell a file or folder that is not there from a hub id, without heavy imports; :class:`UserError` for what is neither."""
    path = Path(source)
    if path.is_dir() or (path.is_file() and source.endswith(SUFFIXES)):
        return
    if path.exists():
        raise UserError(f"{source}: unknown kind of file ({flag}); expected {', '.join(SUFFIXES)}, a folder or a hub id")
    if source.endswith((*SUFFIXES, ".gz")) or not may_be_hub_id(source):
        raise UserError(
            f"{source}: not there ({flag}); give the folder of a data stage (run that stage first), a file "
            f"({', '.join(SUFFIXES)}) or a hub id (owner/name){near_path(source)}"
        )


def may_be_hub_id(name: str) -> bool:
    """Whether a name may be ``owner/name`` on a hub. Where a folder ``owner`` is here, a mistyped path is meant."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and name[-1] != "/" and not Path(name).parent.is_dir()


def open_split(source: str, split: str, revision: str | None = None):
    """``split`` of ``source`` as a memory-mapped ``datasets.Dataset``, with whatever columns it has.

    ``revision`` is that of a hub data set. Raises :class:`UserError` when the source or the split is not there, or unreadable.
    """
    from datasets import DatasetDict

    check_source_name(source)
    if not Path(source).exists():
        return open_hub(source, revision, split)
    if revision is not None:
        raise UserError(f"--source_revision {revision}: {source} is here, and only a hub data set has revisions")
    data = open_saved(source) if Path(source).is_dir() else read_file(source)
    if isinstance(data, DatasetDict):
        if split not in data:
            raise UserError(f"{source}: no split '{split}'; there is {', '.join(data)}")
        return data[split]
    if split != schema.TRAIN:
        raise UserError(f"{source}: no split '{split}'; a file or single split is '{schema.TRAIN}': give a folder with both")
    return data


def read_split(source: str, split: str, columns: tuple[str, ...] = (), limit: int | None = None, revision: str | None = None):
    """``split`` of ``source`` as a memory-mapped ``datasets.Dataset``; at most its first ``limit`` rows.

    ``source`` is a folder that a data stage wrote, or whatever else :mod:`diversity_tuning.data.tables` reads; a file or a
    single split is the split ``train``. Raises :class:`UserError` naming what is missing: the source, the split, one of
    ``columns``, or any row at all.
    """
    rows = open_split(source, split, revision)
    require_columns(rows, columns, where_of(source, split))
    if len(rows) == 0:
        raise UserError(f"{where_of(source, split)}: empty")
    return rows if limit is None else rows.select(range(min(limit, len(rows))))


def require_columns(rows, columns: tuple[str, ...], where: str) -> None:
    """:class:`UserError` naming the first of ``columns`` that ``rows`` lack."""
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise UserError(f"{where}: no column '{missing[0]}'; it has {', '.join(rows.column_names)}")


def where_of(source: str, split: str) -> str:
    """A split of a source, for messages."""
    return source if Path(source).is_file() else f"{source}, split '{split}'"


def read_file(source: str):
    """A file as a ``datasets.Dataset``, memory-mapped from a copy that is kept, by content, in the cache of ``datasets``.

    Raises :class:`UserError` naming file and row.
    """
    from datasets import Dataset, config

    kind = next(suffix for suffix in SUFFIXES if source.endswith(suffix))
    folder = Path(config.HF_DATASETS_CACHE) / "diversity_tuning" / f"{fingerprint(source)}-{kind[1:]}-{_READER}"
    path = folder / "rows.arrow"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f"rows.{os.getpid()}.partial"  # several processes may read the same file at once
        try:
            _convert(source, unfinished, partial(_batches, source), TableSchema({}))
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    return Dataset.from_file(str(path))


def load_source(source: str | Path, work: str | Path, revision: str | None = None):
    """Read a source of posts into a ``datasets.Dataset`` memory-mapped from ``work``.

    ``source`` is a ``.jsonl``, ``.jsonl.gz`` or ``.parquet`` file, a folder made by ``save_to_disk``, or a hub id (at
    ``revision``). Several splits are joined in their order. Columns beyond the schema are kept, but for
    those whose values are of different kinds, which are named on one line. Raises
    :class:`UserError` naming file, row and column when something is missing, of the wrong kind, null or of unequal length.
    """
    from datasets import Dataset

    sources.check_source(source)
    path = Path(work) / "source.arrow"
    _convert(str(source), path, sources.post_batches(str(source), revision), SOURCE)
    return Dataset.from_file(str(path))


def _convert(source: str, path: Path, batches: Callable[[set[str]], Iterable[pa.Table]], table: TableSchema) -> None:
    """Write all rows, the columns of ``table`` checked and cast, any other in the one type that holds all of its values.

    ``batches`` reads the source, twice here, and adds to a set the columns that no batch can hold.
    """
    rows, unfit, types = 0, set(), {}
    try:
        for batch in batches(unfit):
            rows += len(batch)
            types |= {field.name: unified(types.get(field.name, field.type), field.type) for field in batch.schema}
        if not rows:
            raise UserError(f"{source}: no rows")
        types = {name: kind and _settled(kind) for name, kind in (types | dict.fromkeys(unfit)).items()} | types_of(table)
        left_out = [name for name, kind in types.items() if kind is None]
        if needed := [name for name in left_out if name in READ and not table.kinds]:
            raise UserError(f"{source}: column '{needed[0]}' holds values of different kinds")
        if left_out:
            print(
                f"{source}: not read, since no column can hold its values: column {', '.join(map(repr, left_out))}", flush=True
            )
        schema, rows = pa.schema([(name, kind) for name, kind in types.items() if kind is not None]), 0
        with pa.ipc.new_stream(str(path), schema) as writer:
            for batch in batches(unfit):
                batch = check(batch, table, source, rows + 1)
                batch = batch.select([name for name in batch.column_names if name in schema.names])
                writer.write_table(pa.concat_tables([schema.empty_table(), batch], promote_options="permissive"))
                rows += len(batch)
    except (*sources.UNREADABLE, csv.Error) as error:
        raise UserError(f"{source}: unreadable after row {rows} ({reason_of(error)})") from None


def unified(one: pa.DataType | None, other: pa.DataType | None) -> pa.DataType | None:
    """The type that holds values of both without loss, or None."""
    try:
        schemas = [pa.schema([("x", kind)]) for kind in (one, other)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pa.ArrowException, TypeError):
        return None


def _settled(found: pa.DataType) -> pa.DataType | None:
    """The type with null types replaced: a column without a value is read as text. None for objects without a key."""
    if pa.types.is_null(found):
        return pa.string()
    if pa.types.is_list(found):
        inner = _settled(found.value_type)
        return None if inner is None else pa.list_(inner)
    if pa.types.is_struct(found):
        fields = [(field.name, _settled(field.type)) for field in found]
        fields = [field for field in fields if field[1] is not None]
        return pa.struct(fields) if fields else None
    return found


def _batches(source: str, unfit: set[str]) -> Iterator[pa.Table]:
    if source.endswith((".jsonl", ".jsonl.gz")):
        return sources.jsonl_batches(source, (), unfit)
    if source.endswith(".json"):
        return sources.json_batches(source, unfit)
    if source.endswith(".parquet"):
        return sources.parquet_batches(source)
    if source.endswith(".csv"):
        return iter(_text_tables(_csv_rows(source)))
    with open(source, encoding="utf-8-sig") as stream:
        return iter(_text_tables({schema.PROMPT: line.strip()} for line in stream if line.strip()))


def _csv_rows(source: str) -> Iterator[dict[str, str | None]]:
    """The rows below the header; an empty cell is None. Raises where a row has more or fewer cells than the header."""
    csv.field_size_limit(2**31 - 1)  # stories are longer than the 128 KB that the module would allow
    with open(source, encoding="utf-8-sig", newline="") as stream:
        lines = (cells for cells in csv.reader(stream, strict=True) if cells)
        header = next(lines, [])
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"{source}: header: column '{twice}' is there twice")
        for number, cells in enumerate(lines, start=1):
            if len(cells) != len(header):
                raise UserError(
                    f"{source}: row {number}: {len(cells)} cells, but the header has {len(header)}; texts with commas, "
                    "quotes or line breaks must be quoted"
                )
            yield dict(zip(header, (cell or None for cell in cells), strict=True))


def _text_tables(rows: Iterator[dict[str, str | None]]) -> list[pa.Table]:
    """Tables of texts in which a column that holds nothing but numbers holds numbers, unless it is one of texts."""
    table: dict[str, list] = {}
    for row in rows:
        for name, value in row.items():
            table.setdefault(name, []).append(value)
    for name in [name for name in table if name not in _TEXTS]:
        with contextlib.suppress(ValueError):
            table[name] = [None if value is None else float(value) for value in table[name]]
    return [pa.table(table)] if table else []
