"""Reading and writing of stage outputs: checked on reading, written atomically, the same bytes for any ``num_proc``."""

import functools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from diversity_tuning.children import signal_when_orphaned
from diversity_tuning.data.validate import TableSchema, check_dataset, features_of
from diversity_tuning.errors import UserError
from diversity_tuning.names import near_path
from diversity_tuning.runs import atomic_folder, write_provenance

_PART = 20_000  # rows of one file, at most


def require_stage(folder: str | Path, number: int) -> None:
    """Fail early, without heavy imports, when the output of stage ``number`` is not there."""
    path = Path(folder)
    if not path.exists():
        raise UserError(
            f"{folder}: no such folder; the output of stage {number} is expected: run stage {number} first{near_path(folder)}"
        )
    if not (path / "dataset_dict.json").is_file():
        raise UserError(f"{folder}: no data set in it; the output of stage {number} is expected: run stage {number} first")


def require_apart(**paths: str | Path | None) -> None:
    """Inputs and outputs must be different places, none inside another."""
    seen: dict[Path, str] = {}
    for name, path in paths.items():
        if path is None:
            continue
        place = Path(path).resolve()
        for other, other_name in seen.items():
            if place == other or place in other.parents or other in place.parents:
                raise UserError(
                    f"--{name} and --{other_name}: {path} contains the other or is inside it; give separate folders"
                )
        seen[place] = name


def load_stage(folder: str | Path, table: TableSchema, number: int) -> dict:
    """The splits of stage ``number``'s output, every one checked against ``table``."""
    from diversity_tuning.data.sources import open_saved

    require_stage(folder, number)
    splits = dict(open_saved(folder))
    if not splits:
        raise UserError(f"{folder}: no split in it; run stage {number} again")
    for name, split in splits.items():
        missing = [column for column in table.kinds if column not in split.column_names]
        if missing:
            raise UserError(f"{folder}/{name}: no column '{missing[0]}'; the output of stage {number} is expected here")
        check_dataset(split, table, f"{folder}/{name}")
    # Opened anew: the pages read for the check count as this process's memory for as long as they are mapped.
    return dict(open_saved(folder))


def map_batches(
    dataset, function: Callable, kinds: dict, work: Path, name: str, num_proc: int = 1, batch_size: int = 100, **keywords
):
    """One pass of ``function(batch, indices, **keywords) -> columns`` over ``dataset``, cached under ``work``.

    ``kinds`` (of :mod:`~diversity_tuning.data.validate`) are the columns of the result; those of ``dataset`` are dropped. Rows
    keep their order whatever ``num_proc`` is, and nothing is written beside the input.
    """
    from datasets import Dataset

    features = features_of(kinds)
    if num_proc > 1:
        _end_with_parent()
    if len(dataset) == 0:
        return Dataset.from_dict({column: [] for column in features}, features=features)
    return dataset.map(
        function, batched=True, batch_size=batch_size, with_indices=True, remove_columns=dataset.column_names,
        features=features, num_proc=min(num_proc, len(dataset)) if num_proc > 1 else None,
        cache_file_name=str(work / f"{name}.arrow"), load_from_cache_file=False, new_fingerprint=name.replace("/", "-"),
        fn_kwargs=keywords, desc=name,
    )  # fmt: skip


@functools.cache
def _end_with_parent() -> None:
    """Let forked processes be killed with this one (Linux). Without it a kill leaves them waiting for work."""
    # Ctrl-C reaches this process, which ends them; on their own they would each print a traceback.
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    os.register_at_fork(after_in_child=lambda: signal_when_orphaned(signal.SIGKILL))


def add_columns(dataset, function: Callable, kinds: dict, work: Path, name: str, num_proc: int = 1, **options):
    """``dataset`` with the columns that :func:`map_batches` makes of it, new ones last; existing columns are not copied."""
    from datasets import Dataset, Features, concatenate_datasets

    order = [*dataset.column_names, *(column for column in kinds if column not in dataset.column_names)]
    if len(dataset) == 0:
        every = {**dataset.features, **features_of(kinds)}
        return Dataset.from_dict({column: [] for column in order}, features=Features({name: every[name] for name in order}))
    if dataset._indices is not None:
        dataset = dataset.flatten_indices(cache_file_name=str(work / f"{name}-rows.arrow"))
    made = map_batches(dataset, function, kinds, work, name, num_proc, **options)
    kept = dataset.select_columns([column for column in dataset.column_names if column not in kinds])
    return concatenate_datasets([kept, made], axis=1).select_columns(order)


def save(splits: dict, folder: Path, num_proc: int = 1) -> None:
    """Write a ``DatasetDict``. Only features and rows decide the bytes, not how the rows were made.

    Large splits are written by processes of their own, which give the memory of each part back.
    """
    from datasets import Dataset, DatasetDict, DatasetInfo

    clean, parts = {}, {}
    for name, split in splits.items():
        clean[name] = Dataset(
            split.data, info=DatasetInfo(features=split.features), indices_table=split._indices, fingerprint=name
        )
        parts[name] = -(-len(split) // _PART)
    several = max(parts.values()) > 1
    DatasetDict(clean).save_to_disk(str(folder), num_shards=parts, num_proc=num_proc if several else None)


@contextmanager
def stage_output(output: str | Path) -> Iterator[tuple[Path, Path]]:
    """Yield ``(folder, work)``: the folder that becomes ``output`` when the block ends well, and scratch space in it.

    A block that fails leaves nothing behind, not even folders above ``output`` that were not there before.
    """
    created = [parent for parent in Path(output).parents if not parent.exists()]
    try:
        with atomic_folder(output) as folder:
            work = folder / ".work"
            work.mkdir()
            yield folder, work
            shutil.rmtree(work)
    except BaseException:
        for parent in created:
            with suppress(OSError):  # not empty: another output is in it by now
                parent.rmdir()
        raise


def finish(splits: dict, folder: Path, record: dict, num_proc: int = 1, **counts) -> None:
    """Save the splits and their provenance with the counts of rows out and whatever else was counted."""
    save(splits, folder, num_proc)
    rows_out = {name: len(split) for name, split in splits.items()}
    write_provenance(folder, record, rows_out=rows_out, **counts)
