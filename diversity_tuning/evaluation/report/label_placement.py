"""Labels beside the points of a figure, clear of markers, whiskers and each other."""

import itertools

import numpy as np

from diversity_tuning.drawing import LEADER

_FAR = 24  # pixels between a point and its label that ask for a line
_DIRECTIONS = [(1, 0.5), (1, -0.5), (-1, 0.5), (-1, -0.5)]
_STRAIGHT = [(0, 1), (0, -1), (1, 0), (-1, 0)]  # near the point only: a line along an axis looks like an error bar
_LINE = {"arrowstyle": "-", "color": LEADER, "lw": 0.7, "ls": (0, (3, 2)), "shrinkA": 1, "shrinkB": 4}


def place_labels(axis, labels: list[tuple[str, tuple[float, float], str]], clear: np.ndarray | None = None) -> list:
    """Write each ``(text, point, colour)`` beside its point, at the nearest place that is free of labels and markers.

    ``clear``: boxes (n, 4) in pixels that are not free either. A label that had to go far gets a thin line to its point: grey,
    dashed and slanted, unlike an error bar. Returns the annotations.
    """
    from matplotlib.patheffects import withStroke

    pixels = axis.transData.transform([point for _, point, _ in labels])
    taken = np.vstack([_obstacles(axis, pixels), np.empty((0, 4)) if clear is None else clear])
    placed = []
    for (text, point, colour), pixel in zip(labels, pixels, strict=True):
        note = axis.annotate(text, point, xytext=(0, 0), textcoords="offset points", color=colour, ha="center", va="center")
        note.set_parse_math(False)  # a name is no formula
        note.set_path_effects([withStroke(linewidth=2.5, foreground="white")])  # readable where it lies on a line after all
        size = note.get_window_extent()
        box = _free_place(pixel, size.width + 4, size.height + 2, taken, axis.get_window_extent().extents)
        taken = np.vstack([taken, box])
        centre = (box[:2] + box[2:]) / 2 - pixel
        offset = tuple(centre * 72 / axis.figure.dpi)  # in points, because PNG and PDF have different pixels
        note.set_position(offset)
        if (np.abs(centre) - [size.width / 2, size.height / 2]).max() > _FAR:
            end = tuple(np.array(offset) - np.sign(offset) * [size.width / 2 * 72 / axis.figure.dpi, 0])
            axis.annotate("", point, xytext=end, textcoords="offset points", arrowprops=_LINE)
        placed.append(note)
    return placed


def _obstacles(axis, pixels: np.ndarray) -> np.ndarray:
    """Boxes ``(n, 4)`` around markers and along whiskers and fronts."""
    boxes = [np.concatenate([pixels - 8, pixels + 8], axis=1)]
    for collection in axis.collections:
        for segment in getattr(collection, "get_segments", list)():
            ends = axis.transData.transform(segment)
            boxes.append(np.array([[*(ends.min(axis=0) - 2), *(ends.max(axis=0) + 2)]]))
    for line in axis.lines:
        ends = axis.transData.transform(line.get_xydata())
        for start, stop in itertools.pairwise(ends) if line.get_linestyle() in "-:" else ():
            steps = start + np.linspace(0, 1, 30)[:, None] * (stop - start)
            boxes.append(np.concatenate([steps - 3, steps + 3], axis=1))
    return np.vstack(boxes)


def _free_place(pixel: np.ndarray, width: float, height: float, taken: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """The nearest box that is free and in the frame; else the one that overlaps least."""
    best, least = None, np.inf
    half = np.array([width, height]) / 2
    for distance in range(10, 160, 8):
        for x, y in (*_DIRECTIONS, *_STRAIGHT) if distance <= _FAR else _DIRECTIONS:
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
