"""The figures of the horror report: pipeline overview, losses, rewards and margins, constraints."""

from pathlib import Path

import numpy as np

from diversity_tuning.drawing import BLACK, BLUE, DARK, FAINT, GREEN, GREY, PINK, VERMILION, draw_grid, pyplot, save_figure
from studies.horror.constraints import CONSTRAINTS
from studies.horror.report_data import MODELS, TRAINED, Results, spread
from studies.horror.specification import GROUPS
from studies.pools import read_pools

_COLOURS = {"base": GREY, "sft": BLACK, "generation": BLACK, "dpo": BLUE, "ddpo": VERMILION}  # a level has its own line style
_OF_MODELS, _MARKERS = (GREY, BLACK, BLUE, VERMILION, GREEN, PINK, DARK), "osD^vPX*"  # of any models, by their place
_CAPTIONS = {
    "pipeline": "The pipeline: the SFT adapter is the start and the frozen reference of all four preference runs.",
    "losses": "Training (line) and validation loss (dots), one panel per run, a line per seed.",
    "rewards": "Rewards of chosen and rejected training stories and their margin (validation dotted). Scales differ.",
    "groups": "Share of stories that keep each constraint, inside (filled) and outside the pools, 95% bootstrap intervals.",
    "constraints": "Share of stories that keep each constraint, synthetic data, mean over seeds, 95% bootstrap intervals.",
}


def draw_all(results: Results, folder: Path) -> list[tuple[Path, str]]:
    """Draw every figure as PNG; returns paths and captions."""
    drawn = (draw_losses, draw_rewards, draw_constraints) if results.values else ()
    paths = [draw_pipeline(folder)] if drawn else []
    paths += [draw(results, folder) for draw in (*drawn, *([draw_groups] if results.obedience else []))]
    return [(path, _CAPTIONS[path.stem]) for path in paths]


def draw_pipeline(folder: Path) -> Path:
    """Boxes and arrows."""
    figure, axis = pyplot().subplots(figsize=(12, 3.6), layout="constrained")
    shown = read_pools(__file__, "pipeline")
    axis.set(xlim=(-0.6, 5.7), ylim=(-0.5, 3.5))
    axis.axis("off")
    style = {"ha": "center", "va": "center", "fontsize": 9, "zorder": 3}
    style["bbox"] = {"boxstyle": "round,pad=0.35", "fc": FAINT, "ec": DARK}
    boxes = {name: axis.text(x, y, label.replace(" / ", "\n"), **style) for name, (label, x, y) in shown["boxes"].items()}
    figure.canvas.draw()  # the boxes get their sizes, at whose edges the arrows end
    for start, end in (arrow.split(" > ") for arrow in shown["arrows"]):
        ends = {"patchA": boxes[start].get_bbox_patch(), "patchB": boxes[end].get_bbox_patch(), "shrinkA": 0, "shrinkB": 0}
        arrow = {"arrowstyle": "->", "color": GREY, "lw": 0.9, **ends}
        axis.annotate("", boxes[end].get_position(), boxes[start].get_position(), arrowprops=arrow)
    return _save(figure, folder / "pipeline")


def draw_losses(results: Results, folder: Path) -> Path:
    """A panel per run."""
    figure, axes = pyplot().subplots(1, len(TRAINED), figsize=(3 * len(TRAINED), 2.9), layout="constrained")
    for axis, run in zip(axes, TRAINED, strict=True):
        _draw_history(axis, results, run, "loss", _colour(run), "training")
        _draw_history(axis, results, run, "eval_loss", _colour(run), "validation", "o")
        axis.set(title="sft" if run == "generation" else run, xlabel="step", ylabel="loss" if run == "generation" else None)
    seeds = f" (a shade each: {len(results.histories)} seeds)" if len(results.histories) > 1 else ""
    axes[0].legend(title=f"loss{seeds}", fontsize=8, title_fontsize=8)
    return _save(figure, folder / "losses")


def draw_rewards(results: Results, folder: Path) -> Path:
    """Two rows: rewards of chosen and rejected, margin."""
    figure, axes = pyplot().subplots(2, len(TRAINED) - 1, figsize=(13, 5), layout="constrained", sharex="col")
    for (above, below), run in zip(axes.T, TRAINED[1:], strict=True):
        _draw_history(above, results, run, "rewards/chosen", GREEN, "chosen")
        _draw_history(above, results, run, "rewards/rejected", PINK, "rejected")
        _draw_history(below, results, run, "rewards/margins", _colour(run), "training")
        _draw_history(below, results, run, "eval_rewards/margins", _colour(run), "validation", "o:")
        above.set_title(run)
        below.set_xlabel("step")
    for row, name in zip(axes, ("reward", "margin"), strict=True):
        row[0].set_ylabel(f"{name} (β × nats)")
        row[0].legend(fontsize=7)
        for axis in row:
            axis.axhline(0, color=GREY, lw=0.8)
    return _save(figure, folder / "rewards")


def _draw_history(axis, results: Results, run: str, key: str, colour: str, label: str, form: str = "-") -> None:
    """What was logged as ``key``, against steps: a line or dots for each seed, paler for each further one."""
    from matplotlib.colors import to_rgb

    draw_grid(axis)
    for place, histories in enumerate(results.histories):
        share = 0.55 * place / max(len(results.histories) - 1, 1)
        shade = tuple(part + (1 - part) * share for part in to_rgb(colour))
        points = [(row["step"], float(row[key])) for row in histories[run] if key in row]
        axis.plot(*np.reshape(points, (-1, 2)).T, form, color=shade, lw=1, ms=4, label=None if place else label)


def draw_constraints(results: Results, folder: Path) -> Path:
    """A row per constraint, a dot with its interval per model."""
    series = []
    for model in MODELS:
        marker = "s" if model.endswith("easy") else "^" if model.endswith("hard") else "o"
        filled = "white" if model.endswith("easy") else _colour(model)
        series.append((results.values[model], {"fmt": marker, "color": _colour(model), "mfc": filled, "label": model}))
    return _save(_shares(series), folder / "constraints")


def draw_groups(results: Results, folder: Path) -> Path:
    """A row per constraint, per model a dot inside the pools and a hollow one outside, with their intervals."""
    models = list(dict.fromkeys(model for model, _ in results.obedience))
    series = []
    for model, of_group in results.obedience:
        if of_group != GROUPS[2]:
            place = models.index(model)
            colour = _OF_MODELS[place % len(_OF_MODELS)]
            style = {"fmt": _MARKERS[place % len(_MARKERS)], "color": colour, "label": f"{model}, {of_group}"}
            series.append((results.obedience[model, of_group], style | {"mfc": "white" if of_group == GROUPS[1] else colour}))
    return _save(_shares(series), folder / "groups")


def _shares(series: list[tuple[dict, dict]]):
    """A figure of the share of stories that keep each constraint: values by constraint, and the style of their dots."""
    names = [*CONSTRAINTS, "kept", "all"]
    figure, axis = pyplot().subplots(figsize=(8.5, 7.5), layout="constrained")
    for i, (values, style) in enumerate(series):
        found = [spread(values[name]) for name in names]
        means = np.array([one["mean"] for one in found])
        bars = np.abs(np.array([[one["low"], one["high"]] for one in found]).T - means)
        places = np.arange(len(names)) + (i - (len(series) - 1) / 2) * min(0.13, 0.8 / len(series))
        axis.errorbar(means, places, xerr=bars, ms=5, lw=1, **style)
    labels = {"kept": "share kept", "all": "all fifteen"}
    axis.set_yticks(range(len(names)), [labels.get(name, name.replace("_", " ")) for name in names])
    axis.invert_yaxis()
    axis.set(xlabel="share of stories", xlim=(-0.02, 1.02))
    draw_grid(axis)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=len(MODELS), fontsize=8, frameon=False)
    return figure


def _colour(name: str) -> str:
    return _COLOURS[name.split("-")[0]]


def _save(figure, path: Path) -> Path:
    return save_figure(figure, path, ("png",), dpi=130)[0]
