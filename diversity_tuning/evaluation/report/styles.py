"""Colours and markers of the models in the figures of a report, a marker of its own per method, and what their titles say."""

import itertools
from collections.abc import Iterable

from diversity_tuning.drawing import BLACK, COLOURS, SLATE
from diversity_tuning.evaluation.diagnostics import REFERENCE
from diversity_tuning.evaluation.report.runs import RunGroup
from diversity_tuning.objectives import OBJECTIVES
from diversity_tuning.selections import selections_of

_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "p", "d", "8"]  # beside the colours, for print without colour
_GREYS = {REFERENCE: (BLACK, "*"), "sft": (SLATE, "h")}
_RUNS = [one.run for one in OBJECTIVES.values()]
_PAPER = (*_RUNS[:4], "ddpo-sem", "ddpo-sty", *selections_of(needs_vectors=True), *_RUNS[4:])  # look the same in every figure
_HOURGLASS = ((-1, -1), (1, -1), (-1, 1), (1, 1), (-1, -1))
_BAR = ((-1, -0.35), (1, -0.35), (1, 0.35), (-1, 0.35), (-1, -0.35))
# Those of no method; all are of one colour, told apart by shape alone, so at most one of the "Y"s, which differ by rotation.
_CONTROLS = ["x", "+", (6, 2, 0), "<", _HOURGLASS, _BAR, ">", "1"]


def method_styles(models: list[RunGroup]) -> dict[str, tuple[str, str]]:
    """Colour and marker of every method, in the order of their first model.

    The paper's methods have their own, others what those that are there leave free; from the eleventh on they repeat.
    """
    every = list(zip(COLOURS, _MARKERS, strict=True))
    known = _GREYS | dict(zip(_PAPER, every, strict=False))
    methods = list(dict.fromkeys(model.method for model in models))
    taken = [known[method] for method in methods if method in known]
    free = itertools.cycle([style for style in every if style not in taken] or every)
    return {method: known[method] if method in known else next(free) for method in methods}


def control_markers(methods: Iterable[str]) -> dict[str, str | tuple]:
    """A marker for every control, from the ninth on repeated."""
    return dict(zip(methods, itertools.cycle(_CONTROLS), strict=False))


def data_and_seeds(models: list[RunGroup], note: str | None) -> str:
    """What a figure's title says: ``note``, which is of the data, and how many seeds, and of what some have fewer."""
    seeds = len({run.seed for model in models for run in model.runs if run.seed is not None}) or 1
    of_method = sorted({len(model.runs) for model in models if model.method != REFERENCE} or {1})
    fewer = f" (some models {of_method[0]})" if of_method[0] < seeds else ""
    return ", ".join(part for part in (note, f"{number_of_seeds(seeds)}{fewer}") if part)


def number_of_seeds(seeds: int) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{seeds} seed{'' if seeds == 1 else 's'}"
