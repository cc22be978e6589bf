"""Reward against diversity, one marker per model (paper, figure 2)."""

import itertools
from pathlib import Path

import numpy as np

from diversity_tuning.data.schema import REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.evaluation.runsets import Model
from diversity_tuning.evaluation.statistics import mean_interval

# Okabe and Ito's colours, told apart with any colour vision; markers differ as well, for print without colour.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
_GREYS = {"gold": ("#000000", "*"), "sft": ("#666666", "h")}
_PANELS = {SEMANTIC_DIVERSITY: "semantic diversity", STYLE_DIVERSITY: "style diversity"}
_FAR = 24  # pixels between a point and its label that ask for a line
_DIRECTIONS = [(1, 0.5), (1, -0.5), (-1, 0.5), (-1, -0.5), (0, 1), (0, -1), (1, 0), (-1, 0)]


def draw_reward_diversity(models: list[Model], folder: Path) -> list[Path]:
    """Write ``reward_diversity.png`` and ``.pdf``: means over prompts and seeds with 95% intervals, fronts joined by lines."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42})
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    styles = method_styles(models)
    for axis, (column, name) in zip(axes, _PANELS.items(), strict=True):
        points = [(model, mean_interval(model.matrix(REDDIT_REWARD)), mean_interval(model.matrix(column))) for model in models]
        _draw_fronts(axis, points, styles)
        for model, x, y in points:
            colour, marker = styles[model.method]
            axis.errorbar(x["mean"], y["mean"], xerr=_whiskers(x), yerr=_whiskers(y), fmt=marker, color=colour, ms=7, lw=1)
            _draw_seeds(axis, model, column, colour)
        axis.set(xlabel="reward", ylabel=name)
        axis.margins(x=0.2, y=0.12)
        axis.grid(color="#e5e5e5", lw=0.6)
        axis.set_axisbelow(True)
    figure.canvas.draw()  # fixes the layout, which places the labels
    figure.set_layout_engine("none")
    for axis, column in zip(axes, _PANELS, strict=True):
        place_labels(axis, [_label_of(model, column, styles) for model in models])
    paths = [folder / f"reward_diversity.{kind}" for kind in ("png", "pdf")]
    for path in paths:
        metadata = {"CreationDate": None} if path.suffix == ".pdf" else {}  # the same numbers, the same bytes
        figure.savefig(path, dpi=160, metadata=metadata)
    plt.close(figure)
    return paths


def method_styles(models: list[Model]) -> dict[str, tuple[str, str]]:
    """Colour and marker of every method, in the order of their first model."""
    styles, others = {}, 0
    for method in dict.fromkeys(model.method for model in models):
        if method in _GREYS:
            styles[method] = _GREYS[method]
        else:
            styles[method] = (_COLOURS[others % len(_COLOURS)], _MARKERS[others % len(_MARKERS)])
            others += 1
    return styles


def _whiskers(interval: dict[str, float]) -> list[list[float]]:
    return [[interval["mean"] - interval["low"]], [interval["high"] - interval["mean"]]]


def _draw_fronts(axis, points: list, styles: dict) -> None:
    """Join the strengths of a method, in the order of reward."""
    for method, (colour, _) in styles.items():
        line = sorted((x["mean"], y["mean"]) for model, x, y in points if model.method == method)
        if len(line) > 1:
            axis.plot(*zip(*line, strict=True), color=colour, lw=1.2, alpha=0.5, zorder=1)


def _draw_seeds(axis, model: Model, column: str, colour: str) -> None:
    """Each seed as a faint dot."""
    if len(model.runs) > 1:
        x, y = (np.nanmean(model.matrix(name), axis=1) for name in (REDDIT_REWARD, column))
        axis.plot(x, y, ".", color=colour, alpha=0.45, ms=5, mew=0, zorder=1)


def _label_of(model: Model, column: str, styles: dict) -> tuple[str, tuple[float, float], str]:
    point = tuple(float(np.nanmean(model.matrix(name))) for name in (REDDIT_REWARD, column))
    return model.label, point, styles[model.method][0]


def place_labels(axis, labels: list[tuple[str, tuple[float, float], str]]) -> list:
    """Write each ``(text, point, colour)`` beside its point, at the nearest place that is free of labels and markers.

    A label that had to go far gets a thin line to its point. Returns the annotations.
    """
    pixels = axis.transData.transform([point for _, point, _ in labels])
    taken = _obstacles(axis, pixels)
    placed = []
    for (text, point, colour), pixel in zip(labels, pixels, strict=True):
        note = axis.annotate(text, point, xytext=(0, 0), textcoords="offset points", color=colour, ha="center", va="center")
        size = note.get_window_extent()
        box = _free_place(pixel, size.width + 4, size.height + 2, taken, axis.get_window_extent().extents)
        taken = np.vstack([taken, box])
        centre = (box[:2] + box[2:]) / 2 - pixel
        offset = tuple(centre * 72 / axis.figure.dpi)  # in points, because PNG and PDF have different pixels
        note.set_position(offset)
        if (np.abs(centre) - [size.width / 2, size.height / 2]).max() > _FAR:
            end = tuple(np.array(offset) - np.sign(offset) * [size.width / 2 * 72 / axis.figure.dpi, 0])
            axis.annotate("", point, xytext=end, textcoords="offset points", arrowprops=_line(colour))
        placed.append(note)
    return placed


def _line(colour: str) -> dict:
    return {"arrowstyle": "-", "color": colour, "lw": 0.6, "alpha": 0.7, "shrinkA": 1, "shrinkB": 4}


def _obstacles(axis, pixels: np.ndarray) -> np.ndarray:
    """Boxes ``(n, 4)`` around markers and along whiskers and fronts."""
    boxes = [np.concatenate([pixels - 8, pixels + 8], axis=1)]
    for collection in axis.collections:
        for segment in getattr(collection, "get_segments", list)():
            ends = axis.transData.transform(segment)
            boxes.append(np.array([[*(ends.min(axis=0) - 2), *(ends.max(axis=0) + 2)]]))
    for line in axis.lines:
        ends = axis.transData.transform(line.get_xydata())
        for start, stop in itertools.pairwise(ends) if line.get_linestyle() == "-" else ():
            steps = start + np.linspace(0, 1, 30)[:, None] * (stop - start)
            boxes.append(np.concatenate([steps - 3, steps + 3], axis=1))
    return np.vstack(boxes)


def _free_place(pixel: np.ndarray, width: float, height: float, taken: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """The nearest box that is free and in the frame; else the one that overlaps least."""
    best, least = None, np.inf
    half = np.array([width, height]) / 2
    for distance in range(10, 160, 8):
        for x, y in _DIRECTIONS:
            centre = pixel + np.array([x * (distance + half[0]), y * (distance + half[1])])
            box = np.concatenate([centre - half, centre + half])
            across = np.minimum(box[2], taken[:, 2]) - np.maximum(box[0], taken[:, 0])
            along = np.minimum(box[3], taken[:, 3]) - np.maximum(box[1], taken[:, 1])
            overlap = float((np.maximum(across, 0) * np.maximum(along, 0)).sum())
            inside = (box[:2] >= frame[:2]).all() and (box[2:] <= frame[2:]).all()
            overlap += 0.0 if inside else width * height
            if overlap < least:
                best, least = box, overlap
            if least == 0:
                return best
    return best
