"""One figure with a histogram of every distribution that ``describe`` found, with the splits overlaid."""

from pathlib import Path

import numpy as np

from diversity_tuning.drawing import pyplot, save_figure

_BINS = 40


def draw(path: str | Path, splits: dict[str, dict[str, np.ndarray]], title: str = "") -> None:
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
