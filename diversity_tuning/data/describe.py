"""Figures about a stage's output, read batch by batch: numbers and digests are kept, texts are not."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diversity_tuning.data import schema
from diversity_tuning.data.weigh import prompt_of, summary
from diversity_tuning.embeddings import text_key
from diversity_tuning.errors import UserError
from diversity_tuning.runs import atomic_folder

_ROWS = 500
# What a stage added last describes it best: (texts, votes) of the rows, latest first.
_RESPONSES = (
    (schema.POSTTRAINING_COMMENT_TEXT, schema.POSTTRAINING_SCORE),
    (schema.FILTERED_COMMENT_TEXTS, schema.FILTERED_COMMENT_SCORES),
    (schema.COMMENT_TEXTS, schema.COMMENT_SCORES),
)


@dataclass
class Figures:
    """What was read of one split."""

    rows: int = 0
    prompts: np.ndarray = field(default_factory=lambda: np.empty(0, "S16"))  # one digest a row
    responses: np.ndarray = field(default_factory=lambda: np.empty(0, "S16"))  # one digest a response
    distributions: dict[str, np.ndarray] = field(default_factory=dict)


def figures(rows, where: str) -> Figures:
    """Read one split, whichever stage made it."""
    if schema.CHOSEN in rows.column_names:
        return _pair_figures(rows)
    for texts, votes in _RESPONSES:
        if texts in rows.column_names and votes in rows.column_names:
            return _row_figures(rows, texts, votes)
    raise UserError(f"{where}: neither pairs nor rows of responses; the columns are: {', '.join(rows.column_names)}")


def _collect(rows, columns: list[str], read: Callable[[dict], None]) -> None:
    chosen = rows.select_columns(columns)
    for start in range(0, len(rows), _ROWS):
        read(chosen[start : start + _ROWS])


def _row_figures(rows, texts: str, votes: str) -> Figures:
    prompts, responses, counts, scores, words = [], [], [], [], []

    def read(batch: dict) -> None:
        for title, text, row, row_votes in zip(
            batch[schema.POST_TITLE], batch[schema.POST_TEXT], batch[texts], batch[votes], strict=True
        ):
            prompts.append(text_key(schema.prompt_text(title, text)))
            counts.append(len(row))
            scores.extend(row_votes)
            words.extend(len(response.split()) for response in row)
            responses.extend(text_key(response) for response in row)

    _collect(rows, [schema.POST_TITLE, schema.POST_TEXT, texts, votes], read)
    spread = {"responses per row": counts, "votes": scores, "words per response": words}
    return _figures(len(rows), prompts, responses, spread)


def _pair_figures(rows) -> Figures:
    prompts, responses, words = [], [], []

    def read(batch: dict) -> None:
        for side in (schema.CHOSEN, schema.REJECTED):
            texts = [messages[-1]["content"] for messages in batch[side]]
            responses.extend(text_key(text) for text in texts)
            words.extend(len(text.split()) for text in texts)
        prompts.extend(text_key(prompt_of(messages)) for messages in batch[schema.CHOSEN])

    _collect(rows, [schema.CHOSEN, schema.REJECTED], read)
    chosen, rejected = np.array(rows[schema.SCORE_CHOSEN]), np.array(rows[schema.SCORE_REJECTED])
    spread = {
        "pairs per prompt": np.unique(np.array(prompts, "S16"), return_counts=True)[1],
        "votes of the chosen": chosen,
        "votes of the rejected": rejected,
        "difference of votes": chosen - rejected,
        "words per response": words,
    }
    for column in (schema.DEVIATION_CHOSEN, schema.DEVIATION_REJECTED):
        if column in rows.column_names:
            spread[column] = rows[column]
    return _figures(len(rows), prompts, responses, spread)


def _figures(rows: int, prompts: list, responses: list, spread: dict) -> Figures:
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in spread.items()}
    return Figures(rows, np.array(prompts, "S16"), np.array(responses, "S16"), arrays)


def page(source: str, splits: dict[str, Figures]) -> str:
    """The page, in Markdown."""
    lines = [f"# {source}", ""]
    for name, found in splits.items():
        distinct = len(np.unique(found.responses))
        lines += [
            f"## {name}",
            "",
            f"{found.rows} rows, {len(np.unique(found.prompts))} distinct prompts; "
            f"{len(found.responses)} responses, {distinct} distinct.",
            "",
            *_table(found.distributions),
            "",
        ]
    return "\n".join(lines + _leakage(splits))


def _table(distributions: dict[str, np.ndarray]) -> list[str]:
    columns = ("n", "mean", "sd", "min", "p10", "p25", "median", "p75", "p90", "max")
    lines = ["| | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 1) + "|"]
    for name, values in distributions.items():
        found = summary(values)
        lines.append(f"| {name} | " + " | ".join(f"{found[key]:g}" if key in found else "" for key in columns) + " |")
    return lines


def _leakage(splits: dict[str, Figures]) -> list[str]:
    names, lines = list(splits), ["## Across splits", ""]
    for number, one in enumerate(names):
        for two in names[number + 1 :]:
            prompts = len(np.intersect1d(splits[one].prompts, splits[two].prompts))
            responses = len(np.intersect1d(splits[one].responses, splits[two].responses))
            lines.append(f"{one} and {two} share {prompts} prompts and {responses} responses.")
    return lines if len(names) > 1 else []


def write(output: str | Path, text: str, splits: dict[str, Figures]) -> None:
    """Write ``page.md`` and one PNG with a histogram of every distribution per split."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with atomic_folder(output) as folder:
        (folder / "page.md").write_text(text + "\n", encoding="utf-8")
        for name, found in splits.items():
            figure, axes = pyplot.subplots(1, len(found.distributions), figsize=(3.2 * len(found.distributions), 2.8))
            for axis, (title, values) in zip(np.atleast_1d(axes), found.distributions.items(), strict=True):
                axis.hist(values, bins=40, log="votes" in title, color="0.4")
                axis.set_title(f"{name}: {title}", fontsize=8)
            figure.tight_layout()
            figure.savefig(folder / f"{name}.png", dpi=110)
            pyplot.close(figure)
