"""One split of a source, with the columns that the caller needs."""

from pathlib import Path

from diversity_tuning.data.tables import open_split
from diversity_tuning.errors import UserError


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
