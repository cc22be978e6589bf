"""The file of --source, looked at before anything is installed or run, with nothing but Python."""

import codecs
import gzip
import json
import zlib
from pathlib import Path

from diversity_tuning.data import schema
from diversity_tuning.errors import UserError

_COLUMNS = (schema.POST_TITLE, schema.POST_TEXT, schema.COMMENT_TEXTS, schema.COMMENT_SCORES)

_KINDS = (".jsonl", ".jsonl.gz", ".parquet")


def check_source(source: str, wanted: bool, recipe: str) -> None:
    """:class:`UserError` for a --source that is missing, not ``wanted`` by the recipe, not there or without the columns.

    Of a JSON Lines file the first row is read; a Parquet file is looked at by the stage that reads it.
    """
    if not wanted and source:
        raise UserError(f"--source: the recipe {recipe} has its own data; leave the flag out")
    if not wanted:
        return
    if not source:
        raise UserError(
            f"--recipe {recipe}: --source is needed, the file of texts with votes; docs/OWN_DATA.md says which columns"
        )
    path = Path(source)
    if not path.is_file():
        raise UserError(f"--source {source}: no such file (paths count from the root of the repository)")
    if not source.endswith(_KINDS):
        raise UserError(f"--source {source}: unknown kind of file; expected {', '.join(_KINDS)}")
    if not source.endswith(".parquet"):
        missing = [name for name in _COLUMNS if name not in _first_row(path)]
        if missing:
            raise UserError(f"--source {source}: row 1 has no column '{missing[0]}'; it needs {', '.join(_COLUMNS)}")


def _first_row(path: Path) -> dict:
    """The first row that is not blank, as the stage that reads the file finds it."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as stream:  # bytes: of a text file more than a line would be decoded
            first = next((line for line in stream if line.removeprefix(codecs.BOM_UTF8).strip()), b"null")
        row = json.loads(first.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UserError(f"--source {path}: not UTF-8; save it as UTF-8") from None
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise UserError(f"--source {path}: row 1 is not readable as JSON ({error}); expected one object a line") from None
    if not isinstance(row, dict):
        raise UserError(f"--source {path}: row 1 is no JSON object, or the file is empty; expected one object a line")
    return row
