"""Figures of a source or a stage's output, read batch by batch: numbers and digests are kept, texts are not."""

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from diversity_tuning.data import schema
from diversity_tuning.data.filter import worth_telling
from diversity_tuning.data.popularity import Popularity, pooled, popularity
from diversity_tuning.data.validate import INTEGERS, PAIRS, TEXT, TEXTS, WEIGHTED, TableSchema, check_dataset
from diversity_tuning.data.weigh import prompt_of, summary
from diversity_tuning.drawing import pyplot, save_figure
from diversity_tuning.embeddings import text_key
from diversity_tuning.errors import UserError
from diversity_tuning.outputs import check_place, read_json
from diversity_tuning.public import as_text, table_lines
from diversity_tuning.runs import atomic_folder, read_provenance, write_json
from diversity_tuning.words import count_words

FILES = ("page.md", "histograms.png")
_CORRELATION = "Spearman correlation of deviation and votes within a prompt; 95% bootstrap over prompts"
_ROWS = 500
_BINS = 40  # of a histogram, at most
_MOST = 10  # responses that deviate most, shown with their texts
# What a stage added last describes it best: (what it is, texts, votes) of the rows, latest first.
_RESPONSES = (
    ("used in pairs", schema.POSTTRAINING_COMMENT_TEXT, schema.POSTTRAINING_SCORE),
    ("kept by the filter", schema.FILTERED_COMMENT_TEXTS, schema.FILTERED_COMMENT_SCORES),
    ("of the source", schema.COMMENT_TEXTS, schema.COMMENT_SCORES),
)
# What stages count, beside the rows they write.
_RECORDED = ("rows_in", "votes", "prompts_in_two_splits", "responses", "mended", "texts", "truncated_texts")


@dataclass
class Description:
    """What one split holds: counts, distributions and digests of its texts."""

    rows: int = 0
    responses_at: dict[str, int] = field(default_factory=dict)  # how many responses stood in the rows at each stage
    repeated: int = 0  # responses that occur more than once in their row, or in the pairs of their prompt
    prompts: np.ndarray = field(default_factory=lambda: np.empty(0, "S16"))  # one digest a row
    responses: np.ndarray = field(default_factory=lambda: np.empty(0, "S16"))  # one digest a response
    distributions: dict[str, np.ndarray] = field(default_factory=dict)
    popularity: Popularity | None = None  # of pairs with deviations
    odd: list[tuple[float, int, str, str]] = field(default_factory=list)  # deviation, votes, response, prompt: the largest


def figures(rows, where: str) -> Description:
    """Read one split, whichever stage made it."""
    if schema.CHOSEN in rows.column_names:
        weighted = {schema.DEVIATION_CHOSEN, schema.DEVIATION_REJECTED} <= set(rows.column_names)
        check_dataset(rows, WEIGHTED if weighted else PAIRS, where)
        return _pair_figures(rows)
    there = [(name, texts, votes) for name, texts, votes in _RESPONSES if {texts, votes} <= set(rows.column_names)]
    if there:
        kinds = {schema.POST_TITLE: TEXT, schema.POST_TEXT: TEXT, there[0][1]: TEXTS, there[0][2]: INTEGERS}
        check_dataset(rows, TableSchema(kinds, tuple(there[0][1:]), (schema.POST_TEXT,)), where)
        description = _row_figures(rows, *there[0][1:])
        for name, texts, _ in reversed(there):
            parts = rows.select_columns([texts]).with_format("arrow").iter(_ROWS)
            description.responses_at[name] = sum(pc.sum(pc.list_value_length(part.column(0))).as_py() or 0 for part in parts)
        return description
    raise UserError(f"{where}: neither pairs nor rows of responses; the columns are: {', '.join(rows.column_names)}")


def _row_figures(rows, texts: str, votes: str) -> Description:
    prompts, responses, counts, scores, words, repeated = [], [], [], [], [], 0
    columns = [schema.POST_TITLE, schema.POST_TEXT, texts, votes]
    for batch in rows.select_columns(columns).iter(_ROWS):
        for title, text, row, row_votes in zip(*(batch[name] for name in columns), strict=True):
            prompts.append(text_key(schema.prompt_text(title, text)))
            counts.append(len(row))
            scores.extend(row_votes)
            words.extend(count_words(response) for response in row)
            responses.extend(text_key(response) for response in row)
            repeated += len(row) - len(set(row))
    spread = {"responses per row": counts, "votes": scores, "words per response": words}
    return _figures(len(rows), prompts, responses, spread, repeated)


def _pair_figures(rows) -> Description:
    prompts, sides, words = [], {schema.CHOSEN: [], schema.REJECTED: []}, []
    for batch in rows.select_columns(list(sides)).iter(_ROWS):
        prompts += [text_key(prompt_of(messages)) for messages in batch[schema.CHOSEN]]
        for side, keys in sides.items():
            texts = [messages[-1]["content"] for messages in batch[side]]
            keys.extend(text_key(text) for text in texts)
            words.extend(count_words(text) for text in texts)
    chosen, rejected = np.array(rows[schema.SCORE_CHOSEN]), np.array(rows[schema.SCORE_REJECTED])
    spread = {
        "pairs per prompt": np.unique(np.array(prompts, "S16"), return_counts=True)[1],
        "votes of the chosen": chosen,
        "votes of the rejected": rejected,
        "difference of votes": chosen - rejected,
        "words per response": words,
    }
    deviations = [column for column in (schema.DEVIATION_CHOSEN, schema.DEVIATION_REJECTED) if column in rows.column_names]
    spread |= {column: rows[column] for column in deviations}
    responses = [*sides[schema.CHOSEN], *sides[schema.REJECTED]]
    repeated = len(responses) - len(set(zip(prompts * 2, responses, strict=True)))
    description = _figures(len(rows), prompts, responses, spread, repeated)
    if len(deviations) == 2:
        values = np.concatenate([np.asarray(rows[column], dtype=float) for column in deviations])
        votes = np.concatenate([chosen, rejected])
        description.popularity = popularity(prompts * 2, responses, values, votes)
        description.odd = _most_deviating(rows, list(zip(prompts * 2, responses, strict=True)), values, votes)
    return description


def _most_deviating(rows, keys: list[tuple], values: np.ndarray, votes: np.ndarray) -> list[tuple[float, int, str, str]]:
    """Deviation, votes, text and prompt of the responses with the largest deviations, each once.

    ``keys`` tell responses apart; they, ``values`` and ``votes`` are ``(2n,)``: the chosen of the n rows, then the rejected.
    """
    places = {}
    for place in np.argsort(-values, kind="stable"):
        places.setdefault(keys[place], int(place))
        if len(places) == _MOST:
            break
    found = []
    for place in places.values():
        side = schema.CHOSEN if place < len(rows) else schema.REJECTED
        messages = rows[place % len(rows)][side]
        found.append((float(values[place]), int(votes[place]), messages[-1]["content"], prompt_of(messages)))
    return found


def _figures(rows: int, prompts: list, responses: list, spread: dict, repeated: int = 0) -> Description:
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in spread.items()}
    keys = np.array(prompts, "S16"), np.array(responses, "S16")
    return Description(rows, repeated=repeated, prompts=keys[0], responses=keys[1], distributions=arrays)


def page(source: str, splits: dict[str, Description]) -> str:
    """The description of one data set, in Markdown."""
    lines = [f"# {as_text(source)}", "", *_counts(splits), "", *_recorded(source)]
    for name, description in splits.items():
        lines += [f"## {as_text(name)}", "", *_table(description.distributions), ""]
        lines += [*description.popularity.sentences(), ""] if description.popularity else []
        lines += [*_odd(description.odd), ""] if description.odd else []
    return "\n".join(lines + _leakage(splits))


def _counts(splits: dict[str, Description]) -> list[str]:
    """Counts of each split, and how much of it is repeated."""
    stages = list(dict.fromkeys(name for description in splits.values() for name in description.responses_at))
    header = ["split", "rows", "distinct prompts", *(f"responses {name}" for name in stages or [""])]
    header += ["distinct responses", "repeated under their prompt"]
    rows = []
    for name, description in splits.items():
        responses = list(description.responses_at.values()) or [len(description.responses)]
        distinct = len(np.unique(description.responses))
        counts = [description.rows, len(np.unique(description.prompts)), *responses, distinct, description.repeated]
        rows.append([as_text(name).replace("|", "\\|"), *counts])
    return table_lines([name.strip() for name in header], rows)


def _recorded(source: str) -> list[str]:
    """What the stage counted when it made the set."""
    record = read_provenance(source)
    lines = [f"Made by stage `{record['stage']}`, which counted:", ""] if "stage" in record else []
    if isinstance(record.get("responses"), dict):
        record["responses"] = {split: worth_telling(counts) for split, counts in record["responses"].items()}
    lines += [f"- {name}: {json.dumps(record[name], ensure_ascii=False)}" for name in _RECORDED if name in record]
    return [*lines, ""] if lines else []


def _table(distributions: dict[str, np.ndarray]) -> list[str]:
    columns = ("n", "mean", "sd", "min", "p10", "p25", "median", "p75", "p90", "max")
    found = {name: summary(values) for name, values in distributions.items()}
    rows = [[name, *(f"{one[key]:g}" if key in one else "" for key in columns)] for name, one in found.items()]
    return table_lines(["", *columns], rows)


def _odd(responses: list[tuple[float, int, str, str]]) -> list[str]:
    rows = [
        [f"{delta:.2f}", votes, count_words(text), _cell(text, 80), _cell(prompt, 40)]
        for delta, votes, text, prompt in responses
    ]
    table = table_lines(["δ", "votes", "words", "response", "prompt"], rows)
    return ["Responses that deviate most, which weigh most. Are they stories?", "", *table]


def _cell(text: str, length: int) -> str:
    """The beginning of a text as a cell of a table, as code, with nothing that ends it or acts on a terminal."""
    words = " ".join(text.split())
    words = "".join(one if one.isprintable() else "·" for one in words).replace("`", "'").replace("|", "¦")
    return f"`{words[:length]}{'…' if len(words) > length else ''}`" if words else "(empty)"


def _leakage(splits: dict[str, Description]) -> list[str]:
    lines = []
    for (one, first), (two, second) in itertools.combinations(splits.items(), 2):
        prompts = len(np.intersect1d(first.prompts, second.prompts))
        responses = len(np.intersect1d(first.responses, second.responses))
        lines.append(f"{one} and {two} share {prompts} prompts and {responses} responses.")
    return ["## Across splits", "", *lines] if lines else []


def write(output: str | Path, text: str, splits: dict[str, Description]) -> None:
    """Write ``page.md`` and ``histograms.png``."""
    with atomic_folder(output, FILES) as folder:
        (folder / "page.md").write_text(text + "\n", encoding="utf-8")
        draw_histograms(folder / "histograms.png", {name: description.distributions for name, description in splits.items()})


def draw_histograms(path: str | Path, splits: dict[str, dict[str, np.ndarray]], title: str = "") -> None:
    """Write a PNG. ``splits`` maps a split to its distributions, name to values (n,); empty ones are left out."""
    names = list(dict.fromkeys(name for one in splits.values() for name, values in one.items() if len(values)))
    columns = min(4, max(1, len(names)))
    rows = -(-max(1, len(names)) // columns)
    figure, axes = pyplot().subplots(rows, columns, figsize=(3.4 * columns, 2.7 * rows), squeeze=False, layout="constrained")
    for axis, name in zip(axes.flat, names, strict=False):
        _panel(axis, name, {split: one[name] for split, one in splits.items() if len(one.get(name, ()))})
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    if names:
        axes.flat[0].legend(fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=9)
    save_figure(figure, Path(path).with_suffix(""), ("png",), dpi=110)


def _panel(axis, name: str, splits: dict[str, np.ndarray]) -> None:
    edges, logarithmic = bins(np.concatenate(list(splits.values())))
    for split, values in splits.items():
        share = np.histogram(values, edges)[0] / len(values)
        axis.stairs(share / np.diff(edges) if logarithmic else share, edges, label=split, linewidth=1.2)
    if logarithmic:
        axis.set_xscale("symlog", linthresh=1)
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
    axis.set_xlabel(f"{name} (log scales)" if logarithmic else name, fontsize=9)
    axis.set_ylabel("share per unit" if logarithmic else "share", fontsize=9)
    axis.tick_params(labelsize=8)


def bins(values: np.ndarray) -> tuple[np.ndarray, bool]:
    """(edges, whether their width grows) for values (n,), n >= 1: around whole numbers, and wider along a long tail."""
    low, high = values.min(), values.max()
    whole = bool((values == np.round(values)).all())
    if whole and high - low > 20 * max(1, np.median(values) - low):
        return np.unique(np.round(np.geomspace(1, high - low + 2, _BINS))) - 1.5 + low, True
    if whole:
        step = max(1, np.ceil((high - low + 1) / _BINS))
        return np.arange(low, high + step + 1, step) - 0.5, False
    return np.linspace(low, high if high > low else low + 1, _BINS + 1), False


def check_correlation(path: str | Path, output: str | Path | None = None) -> None:
    """:class:`UserError` unless ``path`` is free, or a file that :func:`write_correlation` wrote, and not in ``output``."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"--correlation {path}: a folder; give the name of a file")
    check_place(path.parent)
    if output and path.parent.resolve() == Path(output).resolve():
        raise UserError(f"--correlation {path}: lies in --output, which holds the page alone; give another folder")
    if path.exists() and read_json(path).get("what") != _CORRELATION:
        raise UserError(f"--correlation {path}: not written by this command and not replaced; give another name")


def write_correlation(path: str | Path, source: str, splits: dict[str, Description]) -> None:
    """Write the correlation of deviation and votes as JSON: of each split and of all prompts, and rho of every prompt.

    A source without deviations, or with no prompt that has a correlation, is a :class:`UserError`.
    """
    found = {name: one.popularity for name, one in splits.items() if one.popularity}
    if not found:
        raise UserError(f"--correlation: no correlation in {source}; give the output of stage 3, with several pairs a prompt")
    record = read_provenance(source)
    content = {
        "what": _CORRELATION,
        "source": source,
        "arguments": record.get("arguments", {}),
        "inputs": record.get("inputs", {}),
        "splits": {name: one.figures() for name, one in found.items()},
        "all": pooled(found.values()).figures(),
        "values": {name: [round(value, 6) for value in one.values] for name, one in found.items()},
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content, ensure_ascii=False)
