"""The figures of a report, each as PNG and PDF, with 95% intervals."""

from pathlib import Path

import numpy as np

from diversity_tuning.data.schema import REDDIT_REWARD
from diversity_tuning.drawing import DARK, FAINT, GREY, add_title, draw_grid, pyplot, save_figure, whiskers
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.report.runs import RunGroup
from diversity_tuning.evaluation.report.styles import control_markers, data_and_seeds, method_styles
from diversity_tuning.evaluation.report.tradeoff_figure import Content, draw_tradeoff
from diversity_tuning.partition import number_or_none

_COLUMNS = 4  # panels beside each other in a figure of means
_MANY = 12  # models from which on all panels stand in one line, with rows closer together and every other one shaded


def plot_tradeoffs(
    models: list[RunGroup], folder: Path, pairs: list = (), controls: list[str] = (), note: str | None = None
) -> dict[str, list[Path]]:
    """Quality against each group of diversities (:func:`~.registry.tradeoffs`), as the registry names it -> its files.

    ``reward_diversity`` is the paper's figure 2: against the distance between the samples of a prompt.
    """
    content = Content(models, list(pairs), list(controls), note)
    drawn = {name: draw_tradeoff(content, columns) for name, columns in registry.tradeoffs().items()}
    return {name: save_figure(figure, folder / name) for name, figure in drawn.items() if figure}


def plot_means(
    models: list[RunGroup],
    selected: list[registry.Metric],
    folder: Path,
    name: str,
    controls: list[str] = (),
    note: str | None = None,
) -> list[Path]:
    """One panel per metric, one row per model: mean and interval (paper, figures 4 and 5). Without values: no figure.

    ``controls``: methods drawn in grey, below the others. ``note``: what the title says of the data, before the seeds.
    """
    models = sorted(models, key=lambda model: model.method in controls)
    known = [metric for metric in selected if any(model.has(metric.column) for model in models)]
    if not known:
        return []
    many = len(models) >= _MANY
    across = len(known) if many else min(len(known), _COLUMNS)
    down = -(-len(known) // across)
    width, height = (2.1, 0.2) if many else (2.6, 0.28)  # inches of a panel and of a row
    size = (1.6 + width * across, down * (1.1 + height * len(models)))
    figure, axes = pyplot().subplots(down, across, figsize=size, sharey=True, layout="constrained", squeeze=False)
    styles = method_styles([model for model in models if model.method not in controls])
    styles |= {method: (GREY, marker) for method, marker in control_markers(controls).items()}
    rows = range(len(models))
    for axis, metric in zip(axes.flat, known, strict=False):
        for row, model in zip(rows, models, strict=True):
            (colour, marker), x = styles[model.method], model.mean(metric.column)
            axis.errorbar(x["mean"], row, xerr=whiskers(x), marker=marker, ls="none", color=colour, ms=6, lw=1.2)
        axis.set_title(metric.label, fontsize=10)
        axis.set_xlabel(f"← {metric.gain}" if metric.better == "lower" else f"{metric.gain} →", color=DARK)
        axis.margins(x=0.12)
        axis.locator_params(axis="x", nbins=5)
        draw_grid(axis)
        for row in rows[1::2] if many else ():
            axis.axhspan(row - 0.5, row + 0.5, color=FAINT, lw=0, zorder=-1)
    for axis in axes.flat[len(known) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_yticks(list(rows), [model.label for model in models])
    axes[0][0].set_ylim(len(models) - 0.4, -0.6)
    add_title(figure, data_and_seeds(models, note))
    return save_figure(figure, folder / name)


def plot_ablation(models: list[RunGroup], folder: Path) -> list[Path]:
    """Paper, figure 3, as ``ablation``: reward and diversities over the most responses a prompt, which are the strengths.

    A line per method; a method with one strength (DivPO, the data's own responses) is a level, dashed.
    """
    plt = pyplot()
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
            group = sorted(groups[method], key=lambda model: ticks.index(model.strength))
            values = [model.mean(column) for model in group]
            places, means = [ticks.index(model.strength) + shift for model in group], [value["mean"] for value in values]
            bars, style = np.concatenate([whiskers(value) for value in values], axis=1), {"ms": 6, "lw": 1.2, "label": method}
            axis.errorbar(places, means, yerr=bars, fmt=f"{styles[method][1]}-", color=styles[method][0], **style)
        for method in levels:
            level = groups[method][0].mean(column)
            axis.axhline(level["mean"], color=styles[method][0], ls=(0, (5, 2)), lw=1.2, label=method)
            axis.axhspan(level["low"], level["high"], color=styles[method][0], alpha=0.08, lw=0)
        axis.set(xlabel="most responses a prompt", ylabel=registry.label(column))
        axis.set_xticks(range(len(ticks)), ticks)
        draw_grid(axis)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(groups), frameon=False)
    return save_figure(figure, folder / "ablation")


def by_number(strength: str | None) -> tuple[float, str]:
    """Numbers by size, then words ("all")."""
    number = number_or_none(strength)
    return (float("inf"), str(strength)) if number is None else (number, "")
