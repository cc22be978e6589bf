"""Responses that somebody else sampled, from a table of texts: scored like a model's own samples."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.data.schema import PROMPT, PROMPT_ID, RESPONSE
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.csvfiles import read_csv
from diversity_tuning.evaluation.scoring import run as scoring
from diversity_tuning.evaluation.scoring import summary
from diversity_tuning.flags import flag
from diversity_tuning.ranges import Flags
from diversity_tuning.runs import is_finished

COLUMNS = "columns prompt and response, prompt_id where prompts that are alike are to be told apart, and any others"


@dataclass(frozen=True)
class TextsConfig(Flags):
    """A table of texts, and the column whose values are scored into run folders of their own; None: one folder."""

    texts: str = flag(f".csv, .jsonl or .jsonl.gz; {COLUMNS}")
    scoring: scoring.ScoringConfig  # its ``output`` is the run folder, or the folder of them
    split_by: str | None = flag("one run folder per value of this column", default=None, metavar="COLUMN")


def read_texts(path: str | Path) -> pd.DataFrame:
    """A .csv, .jsonl or .jsonl.gz with prompt, response, perhaps prompt_id and more; adds ``sample``, 0, 1, … in each prompt.

    Without prompt_id, each distinct prompt gets a number, from 1 in the order of the rows.
    """
    path = Path(path)
    if path.name.endswith(".csv"):
        rows = read_csv(path, [PROMPT, RESPONSE])
    elif path.name.endswith((".jsonl", ".jsonl.gz")):
        rows = _read_jsonl(path)
    else:
        raise UserError(f"{path}: expected a .csv, .jsonl or .jsonl.gz file")
    if rows.empty:
        raise UserError(f"{path}: no row")
    if PROMPT_ID not in rows:
        rows[PROMPT_ID] = pd.factorize(rows[PROMPT])[0] + 1
    _refuse_missing(rows, PROMPT_ID, path)
    rows["sample"] = rows.groupby(PROMPT_ID).cumcount()
    return rows


def _read_jsonl(path: Path) -> pd.DataFrame:
    opened = gzip.open if path.name.endswith(".gz") else open
    rows = []
    try:
        with opened(path, "rt", encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                row = json.loads(line)
                wrong = [name for name in (PROMPT, RESPONSE) if not isinstance(row.get(name), str)]
                if wrong:
                    raise UserError(f"{path}, row {number}: '{wrong[0]}' is missing or not a text")
                if PROMPT_ID not in row and rows and PROMPT_ID in rows[0]:
                    raise UserError(f"{path}, row {number}: '{PROMPT_ID}' is missing, which the rows before have")
                rows.append(row)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}, row {len(rows) + 1} or later: not UTF-8; save it as UTF-8") from None
    except (OSError, EOFError, json.JSONDecodeError, AttributeError) as error:
        raise UserError(f"{path}, row {len(rows) + 1}: not a JSON object ({' '.join(str(error).split())[:120]})") from None
    return pd.DataFrame(rows)


def score_texts(config: TextsConfig) -> None:
    """Score the texts as one pool; write one run folder, or one per value of the column ``config.split_by``.

    Split runs keep the diversities of the pool: how far a system's responses are from all others to the same prompt.
    """
    rows = read_texts(config.texts)
    output = Path(config.scoring.output)
    parts = {output: rows.index}
    if config.split_by:
        if config.split_by not in rows:
            raise UserError(f"{config.texts}: no column '{config.split_by}' to split by; there is {', '.join(rows.columns)}")
        _refuse_missing(rows, config.split_by, config.texts)
        parts = {output / folder_name(value): group.index for value, group in rows.groupby(config.split_by, sort=False)}
        if len(parts) < rows[config.split_by].nunique():
            raise UserError(f"{config.texts}: two values of '{config.split_by}' would have the same folder; rename one")
    record = scoring.scoring_record(config.scoring, "texts", {"texts": config.texts}, None)
    record["arguments"] |= {"split_by": config.split_by, "name": config.scoring.name}
    finished = [not summary.was_killed(folder) and is_finished(folder, record, config.scoring.overwrite) for folder in parts]
    if all(finished):
        return
    scores = scoring.score_responses(rows, config.scoring)
    for folder, index in parts.items():
        name = config.scoring.name or (folder.name if not config.split_by else str(rows[config.split_by][index[0]]))
        own = scoring.registered_by(config.scoring.diagnostics).metrics
        prompts, results = summary.summarise(scores.loc[index], config.scoring.diagnostics, own=own)
        header = {
            **scoring.header_of(config.scoring),
            "name": name,
            "method": config.scoring.method or name,
            "samples_per_prompt": None,
        }
        summary.write_results(folder, record, header, scores.loc[index], prompts, results)


def _refuse_missing(rows: pd.DataFrame, column: str, path: str | Path) -> None:
    """Rows without a value would fall out of every group."""
    missing = rows[column].isna() | (rows[column].astype(str).str.strip() == "")
    if missing.any():
        raise UserError(f"{path}, row {int(np.flatnonzero(missing)[0]) + 1}: no value in column '{column}'")


def folder_name(value: object) -> str:
    """A value as the name of a folder: letters, digits, dot, dash and underscore stay."""
    name = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in str(value)).strip(".")
    return name or "-"
