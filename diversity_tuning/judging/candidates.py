"""Responses to be judged, and the corpus of examples: rows of prompt, response and whatever else, from any source."""

import json
import math
from pathlib import Path

from diversity_tuning.data import schema
from diversity_tuning.data.read import read_split, where_of
from diversity_tuning.errors import UserError

RESPONSES = "responses.jsonl"  # in a stage's folder
SAMPLES = "samples.jsonl"  # in a run folder of scripts_eval.sample
QUERY, VOTES = "query", "votes"
_STAGE_1 = (schema.POST_TITLE, schema.POST_TEXT, schema.FILTERED_COMMENT_TEXTS, schema.FILTERED_COMMENT_SCORES)


def read_candidates(source: str, split: str = schema.TRAIN) -> list[dict]:
    """Rows with ``prompt`` and ``response`` as texts, in the order of the source; other columns stay as they are.

    ``source``: a run folder of ``scripts_eval.sample``, or whatever a training command takes, with columns ``prompt`` (or
    ``query``) and ``response`` (or ``completion``), texts or messages; the output of data stage 1 gives a row for each kept
    response, with its ``votes``. A :class:`UserError` names the row and column of a fault.
    """
    path = Path(source)
    if path.is_dir() and (path / SAMPLES).is_file():
        source = str(path / SAMPLES)
    where = where_of(source, split)
    if source.endswith(".jsonl") and Path(source).is_file():
        rows = read_jsonl(source)  # exactly as it is: a table would give every row the fields of the others
    else:
        rows = _exploded(read_split(source, split))
    found = [_candidate(row, f"{where}: row {number}") for number, row in enumerate(rows, start=1)]
    if not found:
        raise UserError(f"{where}: no rows")
    return found


def popularity(rows: list[dict], column: str, where: str) -> list[float]:
    """The numbers in a column; −∞ where there is none."""
    if not any(column in row for row in rows):
        names = sorted({name for row in rows for name in row})
        raise UserError(f"{where}: no column '{column}' (--popularity_column); it has {', '.join(names)}")
    values = []
    for number, row in enumerate(rows, start=1):
        value = row.get(column)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UserError(f"{where}: row {number}, column '{column}': expected a number, found {value!r}")
        values.append(-math.inf if value is None or math.isnan(value) else float(value))
    return values


def read_jsonl(path: str | Path) -> list[dict]:
    """The rows of a JSON Lines file as they are."""
    rows = []
    try:
        for number, line in enumerate(Path(path).read_text(encoding="utf-8-sig").split("\n"), start=1):
            if line.strip():
                rows.append(json.loads(line))
                if not isinstance(rows[-1], dict):
                    raise UserError(f"{path}: row {number}: expected a JSON object with named columns")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: row {number}: not valid JSON ({error})") from None
    return rows


def _exploded(rows) -> list[dict]:
    """Rows of a data set; of stage 1, one for each kept response."""
    if not set(_STAGE_1) <= set(rows.column_names):
        return rows.to_list()
    found = []
    for title, text, responses, votes in zip(*(rows[name][:] for name in _STAGE_1), strict=True):
        prompt = schema.prompt_text(title, text)
        pairs = zip(responses, votes, strict=True)
        found += [{schema.PROMPT: prompt, schema.RESPONSE: response, VOTES: vote} for response, vote in pairs]
    return found


def _candidate(row: dict, where: str) -> dict:
    """The row with ``prompt`` and ``response`` first, as texts."""
    texts = {}
    for name, other in ((schema.PROMPT, QUERY), (schema.RESPONSE, schema.COMPLETION)):
        column = name if name in row else other
        if column not in row:
            raise UserError(f"{where}: no column '{name}'; it has {', '.join(row)}")
        value = row[column]
        if isinstance(value, list) and value and all(isinstance(one, dict) and "content" in one for one in value):
            value = schema.text_of(value)
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{where}, column '{column}': expected a text, found {value!r:.60}")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{where}, column '{column}': no valid text ({error.reason} at character {error.start})") from None
        texts[name] = value
    return {**texts, **{name: value for name, value in row.items() if name not in texts}}
