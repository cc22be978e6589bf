"""The figures of the --rlaif report: diversity against reward and craft, and what was logged on the way."""

from pathlib import Path

import pandas as pd

from diversity_tuning.drawing import GREY, add_title, draw_grid, pyplot, save_figure, whiskers
from diversity_tuning.evaluation.report.runs import RunGroup
from diversity_tuning.evaluation.report.styles import data_and_seeds, method_styles, number_of_seeds
from studies.miniature.recognise import DATA
from studies.miniature.rlaif.tables import DIVERSITIES, QUALITIES
from studies.miniature.rlaif.training import LOGGED

_START = "sft"


def plot_trade_offs(models: list[RunGroup], folder: Path) -> Path:
    """Rows: reward, craft; columns: the diversities. A method's checkpoints are joined from SFT on; large: its end."""
    styles = method_styles(models)
    figure, axes = pyplot().subplots(
        len(QUALITIES), len(DIVERSITIES), figsize=(3.4 * len(DIVERSITIES), 3.3 * len(QUALITIES)), layout="constrained"
    )
    for row, (quality, shown) in zip(axes, QUALITIES.items(), strict=True):
        for axis, (diversity, name) in zip(row, DIVERSITIES.items(), strict=True):
            points = [(model, model.mean(quality), model.mean(diversity)) for model in models]
            _draw(axis, points, styles)
            axis.set(xlabel=shown, ylabel=name)
            draw_grid(axis)
    add_title(figure, data_and_seeds(models, DATA))
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return save_figure(figure, folder / "reward_diversity", ("png",))[0]


def _draw(axis, points: list, styles: dict) -> None:
    start = next(((x["mean"], y["mean"]) for model, x, y in points if model.method == _START), None)
    for method, (colour, marker) in styles.items():
        own = sorted((_strength(model), x, y) for model, x, y in points if model.method == method)
        line = [start, *((x["mean"], y["mean"]) for _, x, y in own)] if start else []
        if line:
            axis.plot(*zip(*line, strict=True), color=colour, lw=1, alpha=0.5, zorder=1)
        for place, (_, x, y) in enumerate(own, start=1):
            last = place == len(own)
            axis.errorbar(
                x["mean"], y["mean"], xerr=whiskers(x), yerr=whiskers(y), fmt=marker, color=colour, lw=0.8,
                ms=7 if last else 4, alpha=1 if last else 0.6, label=method if last else None,
            )  # fmt: skip


def _strength(model: RunGroup) -> float:
    return float(model.strength) if model.strength else 1.0


def plot_training(curves: pd.DataFrame, models: list[RunGroup], folder: Path) -> Path | None:
    """One panel for each quantity that was logged: the mean over seeds of each policy, its seeds faint, against steps.

    A policy has its colour of :func:`plot_trade_offs`; grey: one that was not sampled.
    """
    shown = {name: label for name, label in LOGGED.items() if len(curves) and curves[name].notna().any()}
    if not shown:
        return None
    figure, axes = pyplot().subplots(2, -(-len(shown) // 2), figsize=(3.6 * -(-len(shown) // 2), 6), layout="constrained")
    colours = {method: colour for method, (colour, _) in method_styles(models).items()}
    for axis, (name, label) in zip(axes.flat, shown.items(), strict=False):
        for policy, rows in curves.groupby("policy", sort=False):
            colour = colours.get(policy, GREY)
            for _, own in rows.groupby("seed"):
                axis.plot(own["step"], own[name], color=colour, lw=0.6, alpha=0.3)
            mean = rows.groupby("step")[name].mean()
            axis.plot(mean.index, mean, color=colour, lw=1.5, label=policy)
        axis.set(xlabel="step", title=label)
        draw_grid(axis)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    add_title(figure, f"{DATA}, {number_of_seeds(curves['seed'].nunique())}")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return save_figure(figure, folder / "training", ("png",))[0]
