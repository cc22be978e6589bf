"""What people said of responses, from files: a label for each, or pairs of a better and a worse one."""

from dataclasses import dataclass

import numpy as np

from diversity_tuning.data import schema
from diversity_tuning.data.examples import preference_pairs
from diversity_tuning.data.tables import open_split
from diversity_tuning.errors import UserError
from diversity_tuning.reward import text_of

QUERY, LABEL = "query", "label"


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


def read_pairs(source: str) -> Judged:
    """Rows of prompt, chosen, rejected (texts or messages), from any source that a training command takes."""
    return _pairs(open_split(source, schema.TRAIN), source)


def read_labels(source: str) -> Judged:
    """Rows of prompt (or query), response, label (0 or 1), from any source that a training command takes."""
    return _labels(open_split(source, schema.TRAIN), source)


def read_labels_or_pairs(source: str) -> Judged:
    """Pairs where there is a column ``chosen``, else labels."""
    rows = open_split(source, schema.TRAIN)
    return (_pairs if schema.CHOSEN in rows.column_names else _labels)(rows, source)


def read_queries(source: str) -> list[str]:
    """The different prompts of rows with a column prompt or query, or of posts (title and text), in their order."""
    rows = open_split(source, schema.TRAIN)
    columns = rows.column_names
    if schema.POST_TITLE in columns and schema.POST_TEXT in columns:
        posts = zip(rows[schema.POST_TITLE][:], rows[schema.POST_TEXT][:], strict=True)
        found = [schema.prompt_text(title, text) for title, text in posts]
    else:
        name = next((name for name in (schema.PROMPT, QUERY) if name in columns), None)
        if name is None:
            raise UserError(f"{source}: no column '{schema.PROMPT}' or '{QUERY}'; it has {', '.join(columns)}")
        found = _texts(rows[name][:], name, source)
    found = [query for query in dict.fromkeys(found) if query.strip()]
    if not found:
        raise UserError(f"{source}: no queries")
    return found


def _pairs(rows, source: str) -> Judged:
    found = preference_pairs(rows, source)
    _not_empty(found, source)
    sides = [[text_of(value) for value in found[name][:]] for name in (schema.PROMPT, schema.CHOSEN, schema.REJECTED)]
    n = len(found)
    pairs = np.stack([np.arange(n), np.arange(n) + n], axis=1)
    return Judged(sides[0] * 2, sides[1] + sides[2], np.arange(2 * n) < n, pairs, from_pairs=True)


def _labels(rows, source: str) -> Judged:
    prompt = QUERY if QUERY in rows.column_names and schema.PROMPT not in rows.column_names else schema.PROMPT
    missing = [name for name in (prompt, schema.RESPONSE, LABEL) if name not in rows.column_names]
    if missing:
        raise UserError(f"{source}: no column '{missing[0]}'; it has {', '.join(rows.column_names)}")
    _not_empty(rows, source)
    texts = {name: _texts(rows[name][:], name, source) for name in (prompt, schema.RESPONSE)}
    labels = np.array([_label(value, f"{source}: row {row}") for row, value in enumerate(rows[LABEL][:], start=1)])
    pairs = pairs_of_labels(texts[prompt], labels)
    return Judged(texts[prompt], texts[schema.RESPONSE], labels, pairs, from_pairs=False)


def pairs_of_labels(prompts: list[str], labels: np.ndarray) -> np.ndarray:
    """Every good with every bad response of the same prompt: int ``(m, 2)``; ``labels`` is bool ``(n,)``."""
    rows: dict[str, tuple[list[int], list[int]]] = {}
    for row, (prompt, good) in enumerate(zip(prompts, labels, strict=True)):
        rows.setdefault(prompt, ([], []))[0 if good else 1].append(row)
    pairs = [(one, other) for good, bad in rows.values() for one in good for other in bad]
    return np.array(pairs, dtype=int).reshape(-1, 2)


def _not_empty(rows, source: str) -> None:
    if len(rows) == 0:
        raise UserError(f"{source}: no rows")


def _texts(values: list, column: str, source: str) -> list[str]:
    texts = [text_of(value) if isinstance(value, list) and value else value for value in values]
    wrong = next((row for row, text in enumerate(texts, start=1) if not isinstance(text, str)), None)
    if wrong is not None:
        raise UserError(f"{source}: row {wrong}, column '{column}': expected a text, found {values[wrong - 1]!r}")
    return texts


def _label(value: object, where: str) -> bool:
    if isinstance(value, str):
        value = {"0": 0, "1": 1}.get(value.strip(), value)
    if value not in (0, 1):
        raise UserError(f"{where}, column '{LABEL}': expected 0 (bad) or 1 (good), found {value!r}")
    return bool(value)
