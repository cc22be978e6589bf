"""How stages read each other's output and write their own: checked, whole or not at all, the same bytes for any num_proc."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from diversity_tuning.data.validate import Table, check_dataset
from diversity_tuning.errors import UserError
from diversity_tuning.runs import atomic_folder, write_provenance


def require_stage(folder: str | Path, number: int) -> None:
    """Fail early, without heavy imports, when the output of stage ``number`` is not there."""
    path = Path(folder)
    if not path.exists():
        raise UserError(f"{folder}: no such folder; the output of stage {number} is expected: run stage {number} first")
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
                raise UserError(f"--{name} and --{other_name}: {path} lies in or over the other; give separate folders")
        seen[place] = name


def load_stage(folder: str | Path, table: Table, number: int) -> dict:
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
    return splits


def map_batches(
    dataset, function: Callable, features: dict, work: Path, name: str, num_proc: int = 1, batch_size: int = 100, **keywords
):
    """One pass of ``function(batch, indices, **keywords) -> columns`` over ``dataset``, cached under ``work``.

    ``features`` are the columns of the result; those of ``dataset`` not among them are dropped. Rows keep their order
    whatever ``num_proc`` is, and nothing is written beside the input.
    """
    from datasets import Dataset, Features

    features = Features(features)
    if len(dataset) == 0:
        return Dataset.from_dict({column: [] for column in features}, features=features)
    return dataset.map(
        function,
        batched=True,
        batch_size=batch_size,
        with_indices=True,
        remove_columns=[column for column in dataset.column_names if column not in features],
        features=features,
        num_proc=min(num_proc, len(dataset)) if num_proc > 1 else None,
        cache_file_name=str(work / f"{name}.arrow"),
        load_from_cache_file=False,
        new_fingerprint=name.replace("/", "-"),
        fn_kwargs=keywords,
        desc=name,
    )


def save(splits: dict, folder: Path) -> None:
    """Write a ``DatasetDict``. Only features and rows decide the bytes, not how the rows were made."""
    from datasets import Dataset, DatasetDict, DatasetInfo

    clean = {}
    for name, split in splits.items():
        clean[name] = Dataset(
            split.data, info=DatasetInfo(features=split.features), indices_table=split._indices, fingerprint=name
        )
    DatasetDict(clean).save_to_disk(str(folder))


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
            with suppress(OSError):  # another output lies in it by now
                parent.rmdir()
        raise


def finish(splits: dict, folder: Path, record: dict, **counts) -> None:
    """Save the splits and their provenance with the counts of rows out and whatever else was counted."""
    save(splits, folder)
    rows_out = {name: len(split) for name, split in splits.items()}
    write_provenance(folder, record, rows_out=rows_out, **counts)
