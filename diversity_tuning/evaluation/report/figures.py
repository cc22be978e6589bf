"""The figures of a report, each as PNG and PDF: Okabe and Ito's colours, a marker of its own per method, 95% intervals."""

import itertools
from pathlib import Path

import numpy as np

from diversity_tuning.data.schema import REDDIT_REWARD
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.report.label_placement import place_labels
from diversity_tuning.evaluation.report.runs import REFERENCE, RunGroup
from diversity_tuning.evaluation.tradeoff import pareto_front

# Okabe and Ito's colours and a dark red, told apart with any colour vision; markers differ as well, for print without colour.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A1F3D"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
_GREYS = {"gold": ("#000000", "*"), "sft": ("#666666", "h")}
_PAPER = ("dpo", "ddpo-both", "orpo", "dorpo-both", "ddpo-sem", "ddpo-sty", "divpo")  # look the same in every figure
_COLUMNS = 4  # panels beside each other in a figure of means


def method_styles(models: list[RunGroup]) -> dict[str, tuple[str, str]]:
    """Colour and marker of every method, in the order of their first model.

    The paper's methods have their own, others what those that are there leave free; from the eighth on they repeat.
    """
    every = list(zip(_COLOURS, _MARKERS, strict=True))
    known = _GREYS | dict(zip(_PAPER, every, strict=True))
    methods = list(dict.fromkeys(model.method for model in models))
    taken = [known[method] for method in methods if method in known]
    free = itertools.cycle([style for style in every if style not in taken] or every)
    return {method: known[method] if method in known else next(free) for method in methods}


def plot_reward_diversity(models: list[RunGroup], folder: Path) -> list[Path]:
    """Paper, figure 2, as ``reward_diversity``: means over prompts and seeds, a method's strengths joined, Pareto front."""
    styles = method_styles(models)
    shown = {column: [model for model in models if _has(model, REDDIT_REWARD, column)] for column in registry.DIVERSITIES}
    shown = {column: known for column, known in shown.items() if known}
    if not shown:
        return []
    plt = _pyplot()
    figure, axes = plt.subplots(1, len(shown), figsize=(5 * len(shown), 4.6), layout="constrained", squeeze=False)
    axes = axes[0]
    for axis, (column, known) in zip(axes, shown.items(), strict=True):
        points = [(model, model.mean(REDDIT_REWARD), model.mean(column)) for model in known]
        _draw_pareto(axis, points)
        _draw_strengths(axis, points, styles)
        for model, x, y in points:
            colour, marker = styles[model.method]
            axis.errorbar(x["mean"], y["mean"], xerr=_whiskers(x), yerr=_whiskers(y), fmt=marker, color=colour, ms=7, lw=1)
            _draw_seeds(axis, model, column, colour)
        axis.set(xlabel=registry.label(REDDIT_REWARD), ylabel=registry.label(column))
        axis.margins(x=0.2, y=0.12)
        _grid(axis)
    _add_legend(figure, axes[0])
    figure.canvas.draw()  # fixes the layout, which places the labels
    figure.set_layout_engine("none")
    for axis, (column, known) in zip(axes, shown.items(), strict=True):
        place_labels(axis, [_label_of(model, column, styles) for model in known])
    return _save(figure, folder, "reward_diversity")


def _add_legend(figure, axis) -> None:
    """Name the lines of a panel, and say what the crosses are."""
    handles, labels = axis.get_legend_handles_labels()
    cross = axis.errorbar([np.nan], [np.nan], xerr=[0.1], yerr=[0.1], fmt="o", color="#555555", ms=5, lw=1)
    labels.append("mean with 95% intervals over prompts")
    figure.legend([*handles, cross], labels, loc="outside lower right", ncols=2, frameon=False)
    cross.remove()  # from the panel, where its missing values would be in the way of labels


def plot_means(models: list[RunGroup], selected: list[registry.Metric], folder: Path, name: str) -> list[Path]:
    """One panel per metric, one row per model: mean and interval (paper, figures 4 and 5). Without values: no figure."""
    known = [metric for metric in selected if any(_has(model, metric.column) for model in models)]
    if not known:
        return []
    plt = _pyplot()
    across = min(len(known), _COLUMNS)
    down = -(-len(known) // across)
    size = (1.6 + 2.6 * across, down * (1.1 + 0.28 * len(models)))
    figure, axes = plt.subplots(down, across, figsize=size, sharey=True, layout="constrained", squeeze=False)
    styles, rows = method_styles(models), range(len(models))
    for axis, metric in zip(axes.flat, known, strict=False):
        for row, model in zip(rows, models, strict=True):
            (colour, marker), x = styles[model.method], model.mean(metric.column)
            axis.errorbar(x["mean"], row, xerr=_whiskers(x), fmt=marker, color=colour, ms=6, lw=1.2)
        axis.set_title(metric.label, fontsize=10)
        axis.set_xlabel(f"← {metric.gain}" if metric.better == "lower" else f"{metric.gain} →", color="#555555")
        axis.margins(x=0.12)
        axis.locator_params(axis="x", nbins=5)
        _grid(axis)
    for axis in axes.flat[len(known) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_yticks(list(rows), [model.label for model in models])
    axes[0][0].invert_yaxis()
    return _save(figure, folder, name)


def plot_ablation(models: list[RunGroup], folder: Path) -> list[Path]:
    """Paper, figure 3, as ``ablation``: reward and diversities over the most responses a prompt, which are the strengths.

    A line per method; a method with one strength (DivPO, people) is a level, dashed.
    """
    plt = _pyplot()
    columns = (REDDIT_REWARD, *registry.DIVERSITIES)
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 4.1), layout="constrained")
    styles = method_styles(models)
    groups = {method: [model for model in models if model.method == method] for method in styles}
    levels = [method for method, group in groups.items() if len(group) == 1]
    lines = [method for method in groups if method not in levels]
    ticks = sorted({model.strength for method in lines for model in groups[method]}, key=by_number)
    for axis, column in zip(axes, columns, strict=True):
        for i, method in enumerate(lines):
            shift = (i - (len(lines) - 1) / 2) * 0.09  # side by side, so that intervals do not hide each other
            _draw_line(axis, groups[method], column, ticks, shift, styles[method])
        for method in levels:
            level = groups[method][0].mean(column)
            axis.axhline(level["mean"], color=styles[method][0], ls=(0, (5, 2)), lw=1.2, label=method)
            axis.axhspan(level["low"], level["high"], color=styles[method][0], alpha=0.08, lw=0)
        axis.set(xlabel="most responses a prompt", ylabel=registry.label(column))
        axis.set_xticks(range(len(ticks)), ticks)
        _grid(axis)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(groups), frameon=False)
    return _save(figure, folder, "ablation")


def _draw_line(axis, group: list[RunGroup], column: str, ticks: list, shift: float, style: tuple[str, str]) -> None:
    group = sorted(group, key=lambda model: ticks.index(model.strength))
    values = [model.mean(column) for model in group]
    whiskers = np.concatenate([_whiskers(value) for value in values], axis=1)
    x, y = [ticks.index(model.strength) + shift for model in group], [value["mean"] for value in values]
    axis.errorbar(x, y, yerr=whiskers, fmt=style[1] + "-", color=style[0], ms=6, lw=1.2, label=group[0].method)


def by_number(strength: str | None) -> tuple[float, str]:
    """Numbers by size, then words ("all")."""
    try:
        return float(strength), ""
    except (TypeError, ValueError):
        return float("inf"), str(strength)


def _has(model: RunGroup, *columns: str) -> bool:
    """Whether there is a value of each: diversity has none where every prompt has one response, reward none without a model."""
    return all(np.isfinite(model.matrix(column)).any() for column in columns)


def _pyplot():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42})
    return plt


def _save(figure, folder: Path, name: str) -> list[Path]:
    paths = [folder / f"{name}.{kind}" for kind in ("png", "pdf")]
    for path in paths:
        metadata = {"CreationDate": None} if path.suffix == ".pdf" else {}  # the same numbers, the same bytes
        figure.savefig(path, dpi=160, metadata=metadata)
    _pyplot().close(figure)
    return paths


def _grid(axis) -> None:
    axis.grid(color="#e5e5e5", lw=0.6)
    axis.set_axisbelow(True)


def _whiskers(interval: dict[str, float]) -> list[list[float]]:
    """Lengths below and above the mean. Equal values leave rounding of the bootstrap, which may lie on the wrong side."""
    below, above = interval["mean"] - interval["low"], interval["high"] - interval["mean"]
    return [[max(below, 0.0)], [max(above, 0.0)]]


def _draw_strengths(axis, points: list, styles: dict) -> None:
    """Join the strengths of a method, in the order of reward."""
    for method, (colour, _) in styles.items():
        line = sorted((x["mean"], y["mean"]) for model, x, y in points if model.method == method)
        if len(line) > 1:
            axis.plot(*zip(*line, strict=True), color=colour, lw=1.2, alpha=0.5, zorder=1)


def _draw_pareto(axis, points: list) -> None:
    """Dotted, through the models that no other model beats in both."""
    means = np.array([(x["mean"], y["mean"]) for model, x, y in points if model.method != REFERENCE]).reshape(-1, 2)
    best = means[pareto_front(means)]
    best = best[np.argsort(best[:, 0])]
    axis.plot(best[:, 0], best[:, 1], color="#888888", ls=":", lw=1.6, zorder=0, label="Pareto front of the models")


def _draw_seeds(axis, model: RunGroup, column: str, colour: str) -> None:
    """Each seed as a faint dot."""
    if len(model.runs) > 1:
        x, y = (np.nanmean(model.matrix(name), axis=1) for name in (REDDIT_REWARD, column))
        axis.plot(x, y, ".", color=colour, alpha=0.45, ms=5, mew=0, zorder=1)


def _label_of(model: RunGroup, column: str, styles: dict) -> tuple[str, tuple[float, float], str]:
    point = tuple(model.mean(name)["mean"] for name in (REDDIT_REWARD, column))
    return model.label, point, styles[model.method][0]
