"""CSV tables of texts and numbers that read back as they were written."""

import csv
from pathlib import Path

import pandas as pd

from diversity_tuning.data.schema import PROMPT, RESPONSE
from diversity_tuning.errors import UserError
from diversity_tuning.runs import write_text


def write_csv(path: Path, rows: pd.DataFrame) -> None:
    """Write whole or not at all. Every text is quoted: a lone carriage return in a story would else end its row."""
    write_text(path, rows.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC))


def read_csv(path: Path, needed: list[str]) -> pd.DataFrame:
    """A CSV with these columns; texts stay texts (an empty response, or the response "NA", is not a missing value)."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        rows = pd.read_csv(path, converters={PROMPT: str, RESPONSE: str})
    except ValueError as error:
        raise UserError(f"{path}: not a CSV table ({error})") from None
    missing = [name for name in needed if name not in rows.columns]
    if missing:
        raise UserError(f"{path}: no column '{missing[0]}'; there is {', '.join(rows.columns)}")
    return rows
