"""Responses from any source: to be judged, as a corpus of examples, or with what people said of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diversity_tuning.data import schema
from diversity_tuning.data.sources import json_rows, reason_of
from diversity_tuning.data.tables import open_split, read_split, where_of
from diversity_tuning.errors import UserError
from diversity_tuning.judging.replies import label_of

SAMPLES = "samples.jsonl"  # in a run folder of scripts_eval.sample
QUERY, LABEL, VOTES = "query", schema.LABEL, "votes"
_STAGE_1 = (schema.POST_TITLE, schema.POST_TEXT, schema.FILTERED_COMMENT_TEXTS, schema.FILTERED_COMMENT_SCORES)


@dataclass(frozen=True)
class Judged:
    """Responses that people judged: n rows, and m pairs of rows of the same prompt.

    ``labels``: bool ``(n,)``, True for good. ``pairs``: int ``(m, 2)``, the better and the worse row. ``from_pairs``: whether
    people compared two responses; else they labelled each, and the pairs are all good with all bad ones of a prompt.
    """

    prompts: list[str]
    responses: list[str]
    labels: np.ndarray
    pairs: np.ndarray
    from_pairs: bool

    def without(self, other: "Judged") -> "Judged":
        """The rows that share neither prompt nor response with ``other``; of pairs, both sides go where one does."""
        prompts, responses = set(other.prompts), set(other.responses)
        clean = [p not in prompts and r not in responses for p, r in zip(self.prompts, self.responses, strict=True)]
        return self.select(np.array(clean, dtype=bool))

    def select(self, keep: np.ndarray) -> "Judged":
        """The rows where ``keep``, bool ``(n,)``; of people's comparisons, both sides go where one does."""
        pairs = self.pairs[keep[self.pairs].all(axis=1)]
        if self.from_pairs:
            keep = np.zeros(len(keep), dtype=bool)
            keep[pairs.ravel()] = True
        place, rows = np.cumsum(keep) - 1, np.flatnonzero(keep)
        texts = ([values[row] for row in rows] for values in (self.prompts, self.responses))
        return Judged(*texts, self.labels[rows], place[pairs].reshape(-1, 2), self.from_pairs)


def read_candidates(source: str, split: str = schema.TRAIN, empty: bool = False) -> list[dict]:
    """Rows with ``prompt`` and ``response`` as texts, in the order of the source; other columns stay as they are.

    ``source``: a run folder of ``scripts_eval.sample``, or whatever a training command takes, with columns ``prompt`` (or
    ``query``) and ``response`` (or ``completion``), texts or messages; the output of data stage 1 gives a row for each kept
    response, with its ``votes``. A :class:`UserError` names the row and column of a fault, as
    of a response without text unless ``empty``.
    """
    path = Path(source)
    if path.is_dir() and (path / SAMPLES).is_file():
        source = str(path / SAMPLES)
    where = where_of(source, split)
    if source.endswith(".jsonl") and Path(source).is_file():
        rows = read_jsonl(source)  # exactly as it is: a table would give every row the fields of the others
    else:
        rows = _exploded(read_split(source, split))
    found = [_candidate(row, f"{where}: row {number}", empty) for number, row in enumerate(rows, start=1)]
    if not found:
        raise UserError(f"{where}: no rows")
    return found


def read_pairs(source: str) -> Judged:
    """Rows of prompt, chosen, rejected (texts or messages), from any source that a training command takes."""
    from diversity_tuning.data.examples import preference_pairs

    found = preference_pairs(open_split(source, schema.TRAIN), source)
    n = len(found)
    if not n:
        raise UserError(f"{source}: no rows")
    sides = [[schema.text_of(value) for value in found[name][:]] for name in (schema.PROMPT, schema.CHOSEN, schema.REJECTED)]
    pairs = np.stack([np.arange(n), np.arange(n) + n], axis=1)
    return Judged(sides[0] * 2, sides[1] + sides[2], np.arange(2 * n) < n, pairs, from_pairs=True)


def read_labels(source: str) -> Judged:
    """Rows of :func:`read_candidates` with a label (0 or 1)."""
    rows = read_candidates(source, empty=True)
    if not any(LABEL in row for row in rows):
        raise UserError(f"{source}: no column '{LABEL}'; it has {', '.join(rows[0])}")
    labels = [label_of(row.get(LABEL), f"{source}: row {n}, column '{LABEL}'") for n, row in enumerate(rows, start=1)]
    prompts, responses = ([row[name] for row in rows] for name in (schema.PROMPT, schema.RESPONSE))
    labels = np.array(labels, dtype=bool)
    return Judged(prompts, responses, labels, pairs_of_labels(prompts, labels), from_pairs=False)


def read_labels_or_pairs(source: str) -> Judged:
    """Pairs where there is a column ``chosen``, else labels."""
    paired = schema.CHOSEN in open_split(source, schema.TRAIN).column_names
    return (read_pairs if paired else read_labels)(source)


def pairs_of_labels(prompts: list[str], labels: np.ndarray) -> np.ndarray:
    """Every good with every bad response of the same prompt: int ``(m, 2)``; ``labels`` is bool ``(n,)``."""
    rows: dict[str, tuple[list[int], list[int]]] = {}
    for row, (prompt, good) in enumerate(zip(prompts, labels, strict=True)):
        rows.setdefault(prompt, ([], []))[0 if good else 1].append(row)
    pairs = [(one, other) for good, bad in rows.values() for one in good for other in bad]
    return np.array(pairs, dtype=int).reshape(-1, 2)


def read_jsonl(path: str | Path) -> list[dict]:
    """The rows of a JSON Lines file as they are."""
    try:
        return [row for _, row in json_rows(str(path))]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: {reason_of(error)}") from None


def _exploded(rows) -> list[dict]:
    """Rows of a data set; of stage 1, one for each kept response."""
    if not set(_STAGE_1) <= set(rows.column_names):
        return rows.to_list()
    kept = schema.kept_responses({name: rows[name][:] for name in _STAGE_1}, schema.FILTERED_COMMENT_SCORES)
    return [{schema.PROMPT: prompt, schema.RESPONSE: response, VOTES: votes} for _, prompt, response, votes in kept]


def _candidate(row: dict, where: str, empty: bool) -> dict:
    """The row with ``prompt`` and ``response`` first, as texts."""
    texts = {}
    for name, other in ((schema.PROMPT, QUERY), (schema.RESPONSE, schema.COMPLETION)):
        column = name if name in row else other
        if column not in row:
            raise UserError(f"{where}: no column '{name}'; it has {', '.join(row)}")
        texts[name] = text_in(row[column], f"{where}, column '{column}'", empty)
    return {**texts, **{name: value for name, value in row.items() if name not in texts}}


def text_in(value: object, where: str, empty: bool) -> str:
    """A text, or that of messages."""
    if isinstance(value, list) and value and all(isinstance(one, dict) and "content" in one for one in value):
        value = schema.text_of(value)
    if not isinstance(value, str) or not (value.strip() or empty):
        raise UserError(f"{where}: expected a text, found {value!r:.60}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: no valid text ({error.reason} at character {error.start})") from None
    return value
