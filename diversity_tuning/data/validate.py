"""Column checks of sources and stage outputs; an error names the file, row and column."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from diversity_tuning.data import schema
from diversity_tuning.errors import UserError

TEXT, INTEGER, NUMBER = "text", "whole number", "number"
TEXTS, INTEGERS, NUMBERS = "list of texts", "list of whole numbers", "list of numbers"
MESSAGES = "list of messages (role, content)"
DIGEST = "digest"
_ARROW = {
    TEXT: pa.string(),
    INTEGER: pa.int64(),
    NUMBER: pa.float64(),
    TEXTS: pa.list_(pa.string()),
    INTEGERS: pa.list_(pa.int64()),
    NUMBERS: pa.list_(pa.float64()),
    MESSAGES: pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
    DIGEST: pa.binary(),
}


@dataclass(frozen=True)
class TableSchema:
    """The columns that a step reads: their kinds, which lists have equal lengths, and which may be null."""

    kinds: dict[str, str]
    parallel: tuple[str, ...] = ()
    nullable: tuple[str, ...] = ()


_POST = {schema.POST_TITLE: TEXT, schema.POST_TEXT: TEXT}
SOURCE = TableSchema(
    {**_POST, schema.COMMENT_TEXTS: TEXTS, schema.COMMENT_SCORES: INTEGERS},
    parallel=(schema.COMMENT_TEXTS, schema.COMMENT_SCORES, schema.COMMENT_TIMES),
    nullable=(schema.POST_TEXT,),
)
SCORED = TableSchema(
    {**SOURCE.kinds, schema.TRANSFORMED_SCORE: NUMBERS},
    parallel=(schema.COMMENT_TEXTS, schema.COMMENT_SCORES, schema.TRANSFORMED_SCORE),
    nullable=(schema.POST_TEXT,),
)
_FILTERED = {
    schema.FILTERED_COMMENT_TEXTS: TEXTS,
    schema.FILTERED_COMMENT_SCORES: INTEGERS,
    schema.FILTERED_TRANSFORMED_SCORES: NUMBERS,
}
FILTERED = TableSchema({**_POST, **_FILTERED}, parallel=tuple(_FILTERED), nullable=(schema.POST_TEXT,))
PAIRS = TableSchema(
    {schema.CHOSEN: MESSAGES, schema.REJECTED: MESSAGES, schema.SCORE_CHOSEN: INTEGER, schema.SCORE_REJECTED: INTEGER}
)
WEIGHTED = TableSchema({**PAIRS.kinds, schema.DEVIATION_CHOSEN: NUMBER, schema.DEVIATION_REJECTED: NUMBER})
USED = {
    schema.POSTTRAINING_COMMENT_TEXT: TEXTS,
    schema.POSTTRAINING_SCORE: INTEGERS,
    schema.POSTTRAINING_TRANSFORMED_SCORE: NUMBERS,
}
UNPAIRED = TableSchema({**_POST, **USED}, parallel=tuple(USED), nullable=(schema.POST_TEXT,))


def types_of(table: TableSchema) -> dict[str, pa.DataType]:
    """The Arrow types of its columns."""
    return {name: _ARROW[kind] for name, kind in table.kinds.items()}


def features_of(kinds: dict[str, str]):
    """Columns of these kinds as ``datasets.Features``."""
    from datasets import Features

    return Features.from_arrow_schema(pa.schema(types_of(TableSchema(kinds))))


def check(batch: pa.Table, table: TableSchema, where: str | Path, first_row: int) -> pa.Table:
    """``batch`` with the columns of ``table`` cast to their kinds; other columns stay as they are.

    ``first_row`` counts from 1. Raises :class:`UserError` naming file, row and column at the first fault.
    """
    check_names(batch.column_names, table, where)
    for name, kind in table.kinds.items():
        column = _cast(batch.column(name), kind, f"{where}: ", name, first_row)
        row, fault = _first_fault(column, kind, name in table.nullable)
        if fault:
            raise UserError(f"{where}: row {first_row + row}, column '{name}': {fault}")
        batch = batch.set_column(batch.column_names.index(name), name, column)
    _check_parallel(batch, table, where, first_row)
    return batch


def check_names(names: list[str], table: TableSchema, where: str | Path) -> None:
    """Every column of ``table`` is there."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{where}: row 1: column '{twice}' is there twice")
    missing = [name for name in table.kinds if name not in names]
    if missing:
        listed = ", ".join(names) or "none"
        raise UserError(f"{where}: row 1: no column {', '.join(repr(name) for name in missing)}; the columns are: {listed}")


def check_dataset(dataset, table: TableSchema, where: str | Path) -> None:
    """Run :func:`check` over a ``datasets.Dataset`` in bounded memory. An empty one is an error too."""
    check_names(dataset.column_names, table, where)
    if len(dataset) == 0:
        raise UserError(f"{where}: this split is empty")
    columns = [name for name in dataset.column_names if name in {*table.kinds, *table.parallel}]
    for first, batch in _batches(dataset.select_columns(columns).with_format("arrow"), where):
        check(batch, table, where, first)


def _batches(dataset, where: str | Path, size: int = 500) -> Iterator[tuple[int, pa.Table]]:
    for start in range(0, len(dataset), size):
        try:
            batch = dataset[start : start + size]
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{where}: row {start + 1}: unreadable data ({error}); make this folder again") from None
        yield start + 1, batch


def _cast(column: pa.ChunkedArray, kind: str, where: str, name: str, first_row: int) -> pa.ChunkedArray:
    """Cast without loss. Text never becomes a number, nor the other way round."""
    target = _ARROW[kind]
    if column.type == target:
        return column
    if not _compatible(column.type, target):
        row = next((i for i, value in enumerate(column) if value.is_valid), 0)
        raise UserError(f"{where}row {first_row + row}, column '{name}': expected a {kind}, found {column.type}")
    try:
        return column.cast(target, safe=True)
    except pa.ArrowException as error:
        for row, value in enumerate(column.to_pylist()):
            try:
                pa.array([value], column.type).cast(target, safe=True)
            except pa.ArrowException:
                value = str(value)[:60]
                raise UserError(f"{where}row {first_row + row}, column '{name}': expected a {kind}, found {value}") from None
        raise UserError(f"{where}row {first_row}, column '{name}': {error}") from None


def _compatible(actual: pa.DataType, target: pa.DataType) -> bool:
    if pa.types.is_null(actual):
        return True
    if pa.types.is_dictionary(actual):
        return _compatible(actual.value_type, target)
    if pa.types.is_list(target):
        return (_is_list(actual) or pa.types.is_fixed_size_list(actual)) and _compatible(actual.value_type, target.value_type)
    if pa.types.is_struct(target):
        return pa.types.is_struct(actual) and {field.name for field in target} <= {field.name for field in actual}
    if pa.types.is_string(target):
        return pa.types.is_string(actual) or pa.types.is_large_string(actual) or pa.types.is_string_view(actual)
    return pa.types.is_integer(actual) or pa.types.is_floating(actual)


def _first_fault(column: pa.ChunkedArray, kind: str, nullable: bool) -> tuple[int, str]:
    """(row, what is wrong) of the first fault, or (0, "")."""
    if column.null_count and not nullable:
        return pc.index(pc.is_null(column), True).as_py(), f"null where a {kind} is expected"
    if kind == MESSAGES:
        return _message_fault(column.combine_chunks())
    if kind in (TEXT, INTEGER):
        return 0, ""
    column, numbers = column.combine_chunks(), kind in (NUMBER, NUMBERS)
    values = column if kind == NUMBER else pc.list_flatten(column)
    bad = pc.fill_null(pc.invert(pc.is_finite(values)), True) if numbers else pc.is_null(values)
    if not pc.any(bad).as_py():
        return 0, ""
    if kind == NUMBER:
        return pc.index(bad, True).as_py(), "NaN or infinity"
    return _row_of(column, bad), f"null{', NaN or infinity' if numbers else ''} inside the list"


def _row_of(column: pa.Array, bad: pa.Array) -> int:
    return pc.list_parent_indices(column)[pc.index(bad, True).as_py()].as_py()


def _message_fault(column: pa.Array) -> tuple[int, str]:
    few = pc.less(pc.list_value_length(column), 2)
    if pc.any(few).as_py():
        return pc.index(few, True).as_py(), "expected a user message and an assistant message"
    bad = pc.is_null(pc.struct_field(pc.list_flatten(column), "content"))
    return (_row_of(column, bad), "a message without content") if pc.any(bad).as_py() else (0, "")


def _check_parallel(batch: pa.Table, table: TableSchema, where: str | Path, first_row: int) -> None:
    there = {field.name: field.type for field in batch.schema}
    names = [one for one in table.parallel if one in there and _is_list(there[one])]
    for name in names[1:]:
        left = pc.list_value_length(batch.column(names[0]))
        right = pc.list_value_length(batch.column(name))
        unequal = pc.fill_null(pc.not_equal(left, right), False)
        if pc.any(unequal).as_py():
            row = pc.index(unequal, True).as_py()
            raise UserError(
                f"{where}: row {first_row + row}, column '{name}': {right[row]} entries, "
                f"but column '{names[0]}' has {left[row]}; the lists must be of equal length"
            )


def _is_list(actual: pa.DataType) -> bool:
    return pa.types.is_list(actual) or pa.types.is_large_list(actual)
