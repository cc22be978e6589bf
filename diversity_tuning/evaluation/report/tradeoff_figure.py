"""The figure of quality against diversity (paper, figure 2): a row per quality, a column per measure of diversity."""

from dataclasses import dataclass, field

import numpy as np

from diversity_tuning.drawing import DARK, GREY, add_title, draw_grid, pyplot, show_as_typed, whiskers
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.diagnostics import REFERENCE
from diversity_tuning.evaluation.report.comparison import main_models
from diversity_tuning.evaluation.report.label_placement import place_labels
from diversity_tuning.evaluation.report.runs import RunGroup, shared_prompts
from diversity_tuning.evaluation.report.styles import control_markers, data_and_seeds, method_styles
from diversity_tuning.evaluation.statistics import overall_mean, seed_means
from diversity_tuning.evaluation.tradeoff import hull_band, hull_line
from diversity_tuning.objectives import OBJECTIVES

_BETTER = ((0.905, 0.925), (0.985, 0.99))  # of the axes: tail and head of the arrow
_LEAST_POINTS = 3  # of a hull that has a band
_MOST_PAIRS = 4  # of models with arrows between them: more cannot be told apart
_HULL = "hull of a method's models and SFT, 95% band"
_START = "sft"  # method of what the others start from: a point of their hulls


@dataclass
class Content:
    """What is drawn. ``pairs``: an arrow from the other to the one, per seed. ``controls``: methods drawn in grey."""

    models: list[RunGroup]
    pairs: list[tuple[RunGroup, RunGroup]] = field(default_factory=list)
    controls: list[str] = field(default_factory=list)
    note: str | None = None

    def __post_init__(self):
        coloured = {one.method for pair in self.pairs for one in pair}
        self.controls = [method for method in self.controls if method not in coloured]
        self.own = [model for model in self.models if model.method not in self.controls]
        self.grey = [model for model in self.models if model.method in self.controls]
        self.styles, self.markers = method_styles(self.own), control_markers(self.controls)
        main = [main_models([model for model in self.own if model.method == method]) for method in self.styles]
        self.main = [model for models in main for model in models]
        arrows = [pair for pair in self.pairs if all(model in self.main for model in pair)]
        self.arrows = arrows if len(arrows) <= _MOST_PAIRS else []

    def of_hull(self, method: str, *columns: str) -> list[RunGroup]:
        """SFT and the models of a method that is a baseline, or has several strengths; none of another method."""
        own = [model for model in _with(self.own, *columns) if model.method == method]
        if method in (_START, REFERENCE) or (len(own) < 2 and method not in {other.method for _, other in self.pairs}):
            return []
        return [*own, *(model for model in _with(self.own, *columns) if model.method == _START)]

    @property
    def arrow_name(self) -> str | None:
        """What the arrows are, where there are any."""
        kinds = {(one.method.split("-")[0], other.method) for one, other in self.arrows}
        weighted = {(name, one.weighted_of) for name, one in OBJECTIVES.items()}
        ends = "unweighted → weighted" if kinds <= weighted else "baseline → model"
        return f"{ends}, one seed" if kinds else None


def draw_tradeoff(content: Content, diversities: list[str]):
    """The figure, or None where no model has a quality and a diversity."""
    qualities = [column for column in registry.qualities() if any(model.has(column) for model in content.models)]
    columns = [column for column in diversities if any(model.has(column) for model in content.models)]
    if not qualities or not columns:
        return None
    size = (5 * len(columns), 3.9 * len(qualities) + 0.9)
    options = {"sharex": "row", "sharey": "col", "layout": "constrained", "squeeze": False}
    figure, axes = pyplot().subplots(len(qualities), len(columns), figsize=size, **options)
    panels = [(axes[i][j], x, y) for i, x in enumerate(qualities) for j, y in enumerate(columns)]
    for axis, x, y in panels:
        _draw_panel(axis, content, x, y)
    add_title(figure, data_and_seeds(content.models, content.note))
    _add_legend(figure, axes[0][0], content.arrow_name)
    show_as_typed(figure)
    figure.canvas.draw()  # fixes the layout, which places the labels
    figure.set_layout_engine("none")
    for axis, x, y in panels:
        labels = [(model.label, _point(model, x, y), content.styles[model.method][0]) for model in _with(content.main, x, y)]
        place_labels(axis, labels, _kept_clear(axis, content, x, y))
    return figure


def _with(models: list[RunGroup], *columns: str) -> list[RunGroup]:
    return [model for model in models if all(map(model.has, columns))]


def _point(model: RunGroup, *columns: str) -> tuple[float, ...]:
    """Where a model lies; its interval, which takes longer, is asked for where it is drawn."""
    return tuple(overall_mean(model.matrix(column), model.nested) for column in columns)


def _draw_panel(axis, content: Content, x: str, y: str) -> None:
    models = [model for model in _with(content.models, x, y) if model.method != REFERENCE]
    dotted = {"ls": ":", "lw": 1.6, "zorder": 0, "label": "concave hull of all models, 95% band"}
    _draw_hull(axis, models, x, y, GREY, **dotted)
    for method, (colour, _) in content.styles.items():
        _draw_hull(axis, content.of_hull(method, x, y), x, y, colour, lw=1.2, alpha=0.6, zorder=1, label=_HULL)
    for model in sorted(_with(content.grey, x, y), key=lambda model: content.controls.index(model.method)):
        style = {"marker": content.markers[model.method], "color": GREY, "ms": 6.5, "mew": 1.2, "zorder": 2}
        axis.plot(*_point(model, x, y), ls="none", label=f"control: {model.method}", **style)
    for one, other in content.arrows:
        _draw_arrows(axis, one, other, x, y, content.styles[one.method][0])
    for model in _with(content.own, x, y):
        colour, marker = content.styles[model.method]
        if model in content.main:
            bars = {"xerr": whiskers(model.mean(x)), "yerr": whiskers(model.mean(y)), "lw": 1}
            axis.errorbar(*_point(model, x, y), fmt=marker, color=colour, ms=7, zorder=3, **bars)
            if len(model.runs) > 1:
                dots = zip(*_seed_points(model, x, y).values(), strict=True)
                axis.plot(*dots, ".", color=colour, alpha=0.55, ms=5, mew=0, zorder=1, label="one seed")
        else:
            open_marker = {"marker": marker, "mfc": "white", "mec": colour, "ms": 4.5, "mew": 1, "zorder": 2}
            axis.plot(*_point(model, x, y), ls="none", label="other strength of a method", **open_marker)
    axis.set(xlabel=f"{registry.label(x)} →", ylabel=f"{registry.label(y)} →")
    axis.margins(x=0.15, y=0.12)
    axis.annotate(
        "better", _BETTER[1], _BETTER[0], xycoords="axes fraction", textcoords="axes fraction", color=DARK, fontsize=8,
        ha="right", va="top", arrowprops={"arrowstyle": "-|>", "color": DARK, "lw": 1.1, "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
    draw_grid(axis)


def _draw_hull(axis, models: list[RunGroup], x: str, y: str, colour: str, **line) -> None:
    """The upper concave hull of the models' means; of at least three of the same seeds and prompts with its 95% band."""
    corners = hull_line(np.array([_point(model, x, y) for model in models]).reshape(-1, 2))
    if len(corners) < 2:
        return
    axis.plot(*zip(*corners, strict=True), color=colour, **line)
    if len(models) < _LEAST_POINTS or len({tuple(run.seed for run in model.runs) for model in models}) > 1:
        return
    prompts = shared_prompts(models)
    nested = isinstance(prompts, list)
    if not any(map(len, prompts)) if nested else not len(prompts):
        return
    grid = np.linspace(corners[0][0], corners[-1][0], 60)
    points = [(model.matrix(x, prompts), model.matrix(y, prompts)) for model in models]
    axis.fill_between(grid, *hull_band(points, grid, nested=nested), color=colour, alpha=0.12, lw=0, zorder=0)


def _seed_points(model: RunGroup, x: str, y: str) -> dict[object, tuple[float, float]]:
    """The mean of every seed."""
    values = zip(*(seed_means(model.matrix(column)) for column in (x, y)), strict=True)
    return dict(zip([run.seed for run in model.runs], values, strict=True))


def _draw_arrows(axis, one: RunGroup, other: RunGroup, x: str, y: str, colour: str) -> None:
    """From the other to the one, seed by seed."""
    if not (_with([one], x, y) and _with([other], x, y)):
        return
    ends, starts = _seed_points(one, x, y), _seed_points(other, x, y)
    gap = 1 if len(ends) > 1 else 8  # in points: clear of a seed's dot, or of the mean's marker
    crowded = len(ends) > 4
    for seed in (seed for seed in ends if seed in starts):
        style = {"arrowstyle": "->", "color": colour, "lw": 0.8 if crowded else 0.9, "alpha": 0.5 if crowded else 0.6}
        style |= {"mutation_scale": 9 if crowded else 10, "shrinkA": gap, "shrinkB": gap, "zorder": 1}
        axis.annotate("", ends[seed], starts[seed], arrowprops=style)


def _kept_clear(axis, content: Content, x: str, y: str) -> np.ndarray:
    """Boxes in pixels that labels must not cover: the arrow "better", controls and other strengths."""
    small = [model for model in _with(content.models, x, y) if model not in content.main]
    pixels = axis.transData.transform(np.array([_point(model, x, y) for model in small]).reshape(-1, 2))
    corner = axis.transAxes.transform([(_BETTER[0][0] - 0.11, _BETTER[0][1] - 0.06), (1.0, 1.0)]).reshape(1, 4)
    return np.vstack([np.concatenate([pixels - 5, pixels + 5], axis=1), corner])


def _add_legend(figure, axis, arrow_name: str | None) -> None:
    """Name what is no model: lines, bands, dots, arrows, controls."""
    found = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    lines = pyplot().Line2D
    if "other strength of a method" in found:
        found["other strength of a method"] = lines([], [], ls="none", marker="o", mfc="white", mec=DARK, ms=4.5, mew=1)
    if "one seed" in found:
        found["one seed"] = lines([], [], ls="none", marker=".", color=DARK, ms=6, mew=0)
    if arrow_name:
        found[arrow_name] = lines([], [], ls="none", marker=r"$\rightarrow$", color=DARK, mew=0.2, ms=10)
    cross = axis.errorbar([np.nan], [np.nan], xerr=[0.1], yerr=[0.1], fmt="o", color=DARK, ms=5, lw=1)
    found = {"mean, 95% interval": cross} | found
    if controls := [name for name in found if name.startswith("control:")]:
        heading = {"controls, in grey (without intervals):": lines([], [], ls="none")}
        grey = {name: found.pop(name) for name in controls}
        found = found | heading | grey
    columns = 3 if figure.get_figwidth() > 8 else 2
    figure.legend(found.values(), found.keys(), loc="outside lower left", ncols=columns, frameon=False, fontsize=8)
    cross.remove()  # from the panel, where its missing values would be in the way of labels
