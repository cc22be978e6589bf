"""What the stages of Path A did: what reflect overturned, how far judge and reflect agree with labels, calls, tokens, cost."""

from collections import Counter
from pathlib import Path

import numpy as np

from diversity_tuning.drawing import BLUE, GREEN, GREY, VERMILION, pyplot, save_figure
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.statistics import bounded, cluster_weights
from diversity_tuning.judging import agreement
from diversity_tuning.judging.read import LABEL
from diversity_tuning.judging.replies import label_of
from diversity_tuning.public import table_lines
from diversity_tuning.runs import write_json, write_text
from studies.judges.stages import FAILED, JUDGE, REFLECT, STAGES, USAGE

DRAWS = 1000
_FIGURES = {"accuracy": agreement.accuracy, "f1": agreement.f1, "kappa": agreement.kappa}
_VERDICTS = (JUDGE.role, REFLECT.role)


def write_report(
    rows: list[dict], folder: str | Path, label: str | None = None, prices: tuple[float, float] | None = None,
    draws: int = DRAWS, model: str | None = None,
) -> dict:  # fmt: skip
    """Write ``summary.json``, ``summary.md`` and ``verdicts.png`` into ``folder`` and return what the JSON holds.

    ``rows``: those of the last stage. ``label``: the column with what people (or rules) say, 0 or 1; None: ``label``, if it is
    there. ``prices``: per million tokens in and out. ``model``: who judged.
    """
    folder = Path(folder)
    summary = {"model": model, **summarise(rows, label, prices, draws)}
    write_json(folder / "summary.json", summary, ensure_ascii=False)
    write_text(folder / "summary.md", table(summary) + "\n")
    plot_verdicts(summary, folder / "verdicts.png")
    return summary


def summarise(
    rows: list[dict], label: str | None = None, prices: tuple[float, float] | None = None, draws: int = DRAWS, seed: int = 0
) -> dict:
    """All figures. A response that came twice to the same prompt counts once."""
    unique = {(row["prompt"], row["response"]): row for row in rows}
    rows = [unique[key] for key in sorted(unique)]
    judged = [row for row in rows if FAILED not in row]
    failed = [row[FAILED] for row in rows if FAILED in row]
    return {
        "responses": len(rows),
        "prompts": len({row["prompt"] for row in rows}),
        "judged": len(judged),
        "failed": {stage.role: Counter(one["reason"] for one in failed if one["stage"] == stage.role) for stage in STAGES},
        "verdicts": {name: {"good": sum(_verdicts(judged, name).tolist()), "of": len(judged)} for name in _VERDICTS},
        "overturned": _overturned(judged),
        "usage": {stage.role: _usage(rows, stage.role, prices) for stage in STAGES},
        "agreement": _agreement(judged, label, draws, seed),
    }


def check_labels(rows: list[dict], label: str | None) -> None:
    """:class:`UserError` where the named column is not there or holds anything but 0 and 1; before anything is paid for."""
    if label is None:
        return
    if not any(label in row for row in rows):
        names = sorted({name for row in rows for name in row})
        raise UserError(f"no column '{label}' (--label_column); the responses have {', '.join(names)}")
    labels_of(rows, label)


def labels_of(rows: list[dict], column: str) -> list[int | None]:
    """The labels in a column, None where there is none; :class:`UserError` for anything else."""
    return [None if row.get(column) is None else label_of(row[column], f"column '{column}'") for row in rows]


def table(summary: dict) -> str:
    """The figures in Markdown, short."""
    turned = summary["overturned"]
    model = summary.get("model")
    kind = " (a simulated LLM)" if model == "simulated" else ""
    lines = [
        *([f"Judge: {model}{kind}.", ""] if model else []),
        f"{summary['responses']} responses to {summary['prompts']} prompts, {summary['judged']} with a final verdict."
        f" Reflect overturned {turned['0_to_1'] + turned['1_to_0']}: {turned['0_to_1']} to good, {turned['1_to_0']} to bad.",
        "",
    ]
    digits = {"calls": 2, "tokens_in": 0, "tokens_out": 0, "cost": 6}
    rows = [
        [name, *(_number(used[key], places) for key, places in digits.items()), sum(summary["failed"][name].values())]
        for name, used in summary["usage"].items()
    ]
    lines += table_lines(["stage", "calls", "tokens in", "tokens out", "cost", "failed"], rows)
    lines += ["", "Calls, tokens and cost are means over the responses that the stage was asked about."]
    if summary["agreement"]:
        lines += ["", *_agreement_lines(summary["agreement"])]
    return "\n".join(lines)


def _agreement_lines(found: dict) -> list[str]:
    header, rows = [f"on {found['n']} labelled", "accuracy", "F1", "κ", "good", "longer is good (AUC)"], []
    for name in ("judge", "reflect", "reflect_minus_judge"):
        one = found[name]
        cells = [agreement.shown(one[key]) for key in _FIGURES]
        rest = [_number(one["good"], 3), agreement.shown(one["length_auc"])] if "good" in one else ["", ""]
        rows.append([name.replace("_", " "), *cells, *rest])
    rows.append(["labels", "", "", "", f"{found['labels']['good']:.3f}", agreement.shown(found["labels"]["length_auc"])])
    turned = found["overturned"]
    told = f"Of the overturned verdicts {turned['right']} became right and {turned['wrong']} wrong. 95% over prompts."
    return [*table_lines(header, rows), "", told]


def _overturned(rows: list[dict]) -> dict:
    judge, reflect = (_verdicts(rows, name) for name in _VERDICTS)
    return {
        "0_to_1": int((~judge & reflect).sum()),
        "1_to_0": int((judge & ~reflect).sum()),
        "kept_0": int((~judge & ~reflect).sum()),
        "kept_1": int((judge & reflect).sum()),
    }


def _usage(rows: list[dict], stage: str, prices: tuple[float, float] | None) -> dict:
    """Means over the responses that the stage was asked about; None where the engine does not say."""
    used = [row[USAGE][stage] for row in rows if stage in row.get(USAGE, {})]
    total = {name: sum(one[name] for one in used) for name in ("calls", "tokens_in", "tokens_out")}
    known = total["tokens_out"] > 0
    cost = (total["tokens_in"] * prices[0] + total["tokens_out"] * prices[1]) / 1e6 if prices and known else None
    n = max(len(used), 1)
    means = {name: total[name] / n if known or name == "calls" else None for name in total}
    return {"responses": len(used), **means, "cost": None if cost is None else cost / n}


def _agreement(rows: list[dict], label: str | None, draws: int, seed: int) -> dict | None:
    """Accuracy, F1 and κ of both verdicts, their difference, how verdicts and labels go with length; None without labels."""
    column = label or LABEL
    try:
        found = labels_of(rows, column)
    except UserError:
        if label:
            raise
        found = []  # a column of that name that means something else
    rows = [row for row, value in zip(rows, found, strict=False) if value is not None]
    if not rows:
        return None
    labels = np.array([value for value in found if value is not None], dtype=bool)
    lengths = np.array([len(row["response"]) for row in rows], dtype=float)
    weights = cluster_weights([row["prompt"] for row in rows], draws, seed)
    judge, reflect = (_verdicts(rows, name) for name in _VERDICTS)
    found = {"n": len(rows), "prompts": len({row["prompt"] for row in rows}), "column": column}
    for name, one in (("judge", judge), ("reflect", reflect)):
        found[name] = {key: bounded(figure(one, labels), figure(one, labels, weights)) for key, figure in _FIGURES.items()}
        found[name] |= _with_length(one, lengths, weights)
    found["reflect_minus_judge"] = {
        key: bounded(
            figure(reflect, labels) - figure(judge, labels), figure(reflect, labels, weights) - figure(judge, labels, weights)
        )
        for key, figure in _FIGURES.items()
    }
    turned = judge != reflect
    found["overturned"] = {"right": int((turned & (reflect == labels)).sum()), "wrong": int((turned & (judge == labels)).sum())}
    found["labels"] = _with_length(labels, lengths, weights)
    return found


def _with_length(verdicts: np.ndarray, lengths: np.ndarray, weights: np.ndarray) -> dict:
    """Share of good, and P(a good response is longer than a bad one), .5 where length plays no part."""
    drawn = agreement.auc(lengths, verdicts, weights)
    return {"good": float(verdicts.mean()), "length_auc": bounded(agreement.auc(lengths, verdicts), drawn)}


def _verdicts(rows: list[dict], name: str) -> np.ndarray:
    return np.array([row[name]["verdict"] for row in rows], dtype=bool)


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


_SHOWN = {"accuracy": "accuracy", "f1": "F1", "kappa": "Cohen's κ"}


def plot_verdicts(summary: dict, path: Path) -> None:
    """``summary`` as in summary.json; the right half is there only with labels."""
    found = summary["agreement"]
    figure, axes = pyplot().subplots(
        1, 2 if found else 1, figsize=(8 if found else 4.2, 3.4), layout="constrained", squeeze=False
    )
    _flows(axes[0, 0], summary["overturned"], summary["judged"])
    if found:
        _plot_agreement(axes[0, 1], found)
    save_figure(figure, path.with_suffix(""), ("png",), dpi=150)


def _flows(axis, turned: dict, judged: int) -> None:
    """For each verdict of the judge, what reflect made of it."""
    bars = (("bad", turned["kept_0"], turned["0_to_1"]), ("good", turned["1_to_0"], turned["kept_1"]))
    for place, (_, bad, good) in enumerate(bars):
        axis.bar(place, bad, color=VERMILION, width=0.6, label="bad" if place == 0 else None)
        axis.bar(place, good, bottom=bad, color=GREEN, width=0.6, label="good" if place == 0 else None)
        overturned = good if place == 0 else bad
        axis.text(place, bad + good, f"{overturned} overturned", ha="center", va="bottom", fontsize=8)
    axis.set_xticks((0, 1), [f"judge: {name}" for name, *_ in bars])
    axis.set(ylabel="responses", title=f"{judged} responses")
    axis.margins(y=0.12)
    axis.legend(title="reflect", frameon=False, fontsize=8, title_fontsize=8)


def _plot_agreement(axis, found: dict) -> None:
    for place, (name, color) in enumerate((("judge", GREY), ("reflect", BLUE))):
        spots = [x + 0.2 * place - 0.1 for x in range(len(_SHOWN))]
        agreement.draw_figures(axis, spots, [found[name][key] for key in _SHOWN], color, name)
    axis.set_xticks(range(len(_SHOWN)), _SHOWN.values())
    axis.axhline(0, color="grey", lw=0.6, ls=":")
    axis.set_ylim(min(0, axis.get_ylim()[0]), 1.03)
    axis.set_title(f"against {found['n']} labels; 95% over {found['prompts']} prompts", fontsize=9)
    axis.legend(frameon=False, fontsize=8)
