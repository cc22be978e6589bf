"""Colours, markers and axes that the figures of a report share: Okabe and Ito's colours, a marker of its own per method."""

import itertools
from collections.abc import Iterable

from diversity_tuning.evaluation.report.origin import REFERENCE
from diversity_tuning.evaluation.report.runs import RunGroup

# Okabe and Ito's colours, a dark red, three of Tol's; markers differ too, for any colour vision and print without colour.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A1F3D", "#332288", "#999933", "#AA4499"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "p", "d", "8"]
_GREYS = {"gold": ("#000000", "*"), "sft": ("#666666", "h")}
_PAPER = ("dpo", "ddpo-both", "orpo", "dorpo-both", "ddpo-sem", "ddpo-sty", "divpo")  # look the same in every figure
GREY, DARK = "#8a8a8a", "#444444"
_HOURGLASS = ((-1, -1), (1, -1), (-1, 1), (1, 1), (-1, -1))
_BAR = ((-1, -0.35), (1, -0.35), (1, 0.35), (-1, 0.35), (-1, -0.35))
# Those of no method; all are of one colour, told apart by shape alone, so at most one of the "Y"s, which differ by rotation.
_CONTROLS = ["x", "+", (6, 2, 0), "<", _HOURGLASS, _BAR, ">", "1"]


def method_styles(models: list[RunGroup]) -> dict[str, tuple[str, str]]:
    """Colour and marker of every method, in the order of their first model.

    The paper's methods have their own, others what those that are there leave free; from the eleventh on they repeat.
    """
    every = list(zip(_COLOURS, _MARKERS, strict=True))
    known = _GREYS | dict(zip(_PAPER, every, strict=False))
    methods = list(dict.fromkeys(model.method for model in models))
    taken = [known[method] for method in methods if method in known]
    free = itertools.cycle([style for style in every if style not in taken] or every)
    return {method: known[method] if method in known else next(free) for method in methods}


def control_markers(methods: Iterable[str]) -> dict[str, str | tuple]:
    """A marker for every control, from the ninth on repeated."""
    return dict(zip(methods, itertools.cycle(_CONTROLS), strict=False))


def pyplot():
    """matplotlib.pyplot without a display, with the settings of all figures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42})
    return plt


def draw_grid(axis) -> None:
    """Thin grey lines behind everything."""
    axis.grid(color="#e5e5e5", lw=0.6)
    axis.set_axisbelow(True)


def data_and_seeds(models: list[RunGroup], note: str | None) -> str:
    """What a figure's title says: ``note``, which is of the data, and how many seeds, and of what some have fewer."""
    seeds = len({run.seed for model in models for run in model.runs if run.seed is not None}) or 1
    of_method = sorted({len(model.runs) for model in models if model.method != REFERENCE} or {1})
    fewer = f" (some models {of_method[0]})" if of_method[0] < seeds else ""
    return ", ".join(part for part in (note, f"{number_of_seeds(seeds)}{fewer}") if part)


def number_of_seeds(seeds: int) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{seeds} seed{'' if seeds == 1 else 's'}"


def add_title(figure, title: str) -> None:
    """Small, at the left."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=DARK)


def whiskers(interval: dict[str, float]) -> list[list[float]]:
    """Lengths below and above the mean. Equal values leave rounding of the bootstrap, which may lie on the wrong side."""
    below, above = interval["mean"] - interval["low"], interval["high"] - interval["mean"]
    return [[max(below, 0.0)], [max(above, 0.0)]]
