"""CSV tables of texts and numbers that read back as they were written."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from diversity_tuning.data.schema import PROMPT, RESPONSE
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.files import DIGEST
from diversity_tuning.runs import write_text

_TEXTS = (PROMPT, RESPONSE, DIGEST)


def write_csv(path: Path, rows: pd.DataFrame) -> None:
    """Write whole or not at all. Every text is quoted: a lone carriage return in a story would else end its row."""
    write_text(path, rows.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC))


def read_csv(path: Path, needed: list[str], texts: Sequence[str] = _TEXTS) -> pd.DataFrame:
    """A CSV with these columns; texts stay texts (an empty response, or the response "NA", is not a missing value)."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        missing = {name: ["", "nan", "NaN"] for name in pd.read_csv(path, nrows=0).columns if name not in texts}
        rows = pd.read_csv(path, keep_default_na=False, na_values=missing, dtype=dict.fromkeys(texts, str))
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; save it as UTF-8") from None
    except ValueError as error:
        raise UserError(f"{path}: not a CSV table ({error})") from None
    absent = [name for name in needed if name not in rows.columns]
    if absent:
        raise UserError(f"{path}: no column '{absent[0]}'; there is {', '.join(rows.columns)}")
    return rows
