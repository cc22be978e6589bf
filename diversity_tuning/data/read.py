"""One split of a data set that a stage wrote, with the columns that the caller needs."""

from pathlib import Path

from diversity_tuning.data.sources import open_saved
from diversity_tuning.errors import UserError


def read_split(source: str, split: str, columns: tuple[str, ...] = (), limit: int | None = None):
    """``split`` of ``source`` as a memory-mapped ``datasets.Dataset``; at most its first ``limit`` rows.

    ``source`` is a folder that a data stage wrote (splits by name). Raises :class:`UserError` naming what is missing: the
    folder, the split, one of ``columns``, or any row at all.
    """
    from datasets import DatasetDict

    if not Path(source).is_dir():
        raise UserError(f"{source}: no such folder; --source is the output of a data stage: run that stage first")
    data = open_saved(source)
    if not isinstance(data, DatasetDict):
        raise UserError(f"{source}: one split; give the folder of the stage, which holds all splits")
    if split not in data:
        raise UserError(f"{source}: no split '{split}'; there is {', '.join(data)}")
    rows = data[split]
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise UserError(f"{source}, split '{split}': no column '{missing[0]}'; it has {', '.join(rows.column_names)}")
    if len(rows) == 0:
        raise UserError(f"{source}, split '{split}': empty")
    return rows if limit is None else rows.select(range(min(limit, len(rows))))
