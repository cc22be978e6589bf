"""The figure of the sweep: differences between DDPO, DPO and SFT against the correlation of deviation and votes."""

from pathlib import Path

import pandas as pd

from diversity_tuning.drawing import BLUE, DARK, GREEN, GREY, PINK, VERMILION, WINE, draw_grid, pyplot, save_figure, whiskers
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.report.styles import number_of_seeds
from diversity_tuning.evaluation.report.tables import ALL_SEEDS
from studies.miniature.popularity.points import Mark
from studies.miniature.popularity.tables import COLUMNS, GAIN, NARROWING, overall

_SERIES = {GAIN: (BLUE, "o", "DDPO − DPO"), NARROWING: (GREY, "s", "DPO − SFT")}  # colour, marker, name
_MARKS = ((VERMILION, "-"), (GREEN, (0, (4, 2))), (PINK, ":"), (WINE, "-."))
RAISED = "Popularity was raised from 1 to 1.5 after DDPO's outcome with 1 had been seen, in an earlier edition of the texts."


def plot(rows: pd.DataFrame, marks: list[Mark], folder: Path) -> list[Path]:
    """Write ``popularity.png`` and ``.pdf`` from the rows of :func:`~.tables.differences`; a panel per metric."""
    figure, axes = pyplot().subplots(2, 3, figsize=(10.5, 7.2), sharex=True, layout="constrained")
    for axis, column in zip(axes.flat, COLUMNS, strict=True):
        own = rows[rows["metric"] == column]
        for label in reversed(_SERIES):
            _draw_series(axis, own[own["difference"] == label], *_SERIES[label], named=label == GAIN)
        _draw_marks(axis, marks)
        axis.axhline(0, color=DARK, lw=0.8, zorder=1)
        axis.set_title(f"{registry.label(column)} ↑", fontsize=10)
        axis.margins(x=0.1, y=0.14)
        axis.locator_params(axis="x", nbins=5)
        draw_grid(axis)
    for axis in axes[:, 0]:
        axis.set_ylabel("difference")
    for axis in axes[-1]:
        axis.set_xlabel("Spearman of δ and votes within prompts\n← votes favour the common")
    _add_words(figure, axes[0][0], rows, marks)
    return save_figure(figure, folder / "popularity")


def _draw_series(axis, rows: pd.DataFrame, colour: str, marker: str, name: str, named: bool) -> None:
    """Means with both intervals, joined in the order of popularity; small: single seeds; ``named``: popularity beside them."""
    whole = overall(rows).sort_values("popularity")
    axis.plot(whole["correlation_mean"], whole["mean"], color=colour, lw=1, alpha=0.5, zorder=2)
    for place, (_, row) in enumerate(whole.iterrows()):
        x = {part: row[f"correlation_{part}"] for part in ("mean", "low", "high")}
        bars = {"xerr": whiskers(x), "yerr": whiskers(row)}
        face = colour if named else "white"
        axis.errorbar(
            x["mean"], row["mean"], **bars, fmt=marker, color=colour, mfc=face, ms=6.5, lw=1.1, zorder=3,
            label=None if place else name,
        )  # fmt: skip
        if named:
            axis.annotate(
                f"{row['popularity']:g}", (x["mean"], row["mean"]), xytext=(6, 5), textcoords="offset points",
                color=colour, fontsize=9, fontweight="bold", zorder=5,
            )  # fmt: skip
    seeds = rows[rows["seed"] != ALL_SEEDS]
    if named and rows["seed"].nunique() > 1:
        axis.plot(
            seeds["correlation_mean"], seeds["mean"], ".", color=colour, alpha=0.5, ms=5, mew=0, zorder=2, label="one seed"
        )


def _draw_marks(axis, marks: list[Mark]) -> None:
    """A vertical line at each real data set's correlation, its interval shaded."""
    for mark, (colour, line) in zip(marks, _MARKS, strict=False):
        axis.axvspan(mark.low, mark.high, color=colour, alpha=0.12, lw=0, zorder=0)
        label = f"{mark.name}: real votes, {mark.prompts} prompts"
        axis.axvline(mark.mean, color=colour, ls=line, lw=1.4, zorder=1, label=label)


def _add_words(figure, axis, rows: pd.DataFrame, marks: list[Mark]) -> None:
    """Title with the number of seeds, legend, and what is to be known about the choice of popularity."""
    counts = sorted({group["seed"][group["seed"] != ALL_SEEDS].nunique() for _, group in rows.groupby("popularity")})
    seeds = number_of_seeds(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    figure.suptitle(
        f"Synthetic data, {seeds} a point; numbers: how far votes favour common plots and voices (popularity)",
        x=0.01, ha="left", fontsize=10,
    )  # fmt: skip
    handles, labels = axis.get_legend_handles_labels()
    order = {"one seed": 1, **{name: 0 for *_, name in _SERIES.values()}}
    found = sorted(zip(handles, labels, strict=True), key=lambda pair: order.get(pair[1], 2))
    title = f"Bars: 95%, bootstrap of seeds, then prompts; shaded: 95% over prompts.\n{RAISED}"
    figure.legend(
        *zip(*found, strict=True), loc="outside lower left", ncols=3 if len(marks) > 1 else 4, frameon=False, fontsize=8.5,
        title=title, title_fontsize=8, alignment="left",
    )  # fmt: skip
