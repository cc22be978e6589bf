"""The figures of the horror report: pipeline overview, losses, rewards and margins, constraints."""

from pathlib import Path

import numpy as np

from diversity_tuning.drawing import pyplot
from studies.horror.constraints import CONSTRAINTS
from studies.horror.report_data import MODELS, TRAINED, Results, spread

# Okabe and Ito's colours: told apart with any colour vision. A method has one, a level its own line style.
_COLOURS = {"base": "#999999", "sft": "#000000", "generation": "#000000", "dpo": "#0072B2", "ddpo": "#D55E00"}
_BOXES = (  # label, column, row
    ("specifications\nand stories", 0, 1), ("base model\n(mixed stories)", 1, 2), ("weights δ\n(MiniLM)", 1, 0),
    ("SFT\n(horror stories)", 2, 2), ("DPO easy", 3, 3), ("DDPO easy", 3, 2), ("DPO hard", 3, 1), ("DDPO hard", 3, 0),
    ("4 stories a\nspecification", 4, 2), ("held-out\npairs", 4, 1), ("constraints, diversity,\naccuracy, report", 5, 1.5),
)  # fmt: skip
_ARROWS = (
    *((0, 1), (0, 2), (1, 3), (2, 5), (2, 7), (3, 4), (3, 5), (3, 6), (3, 7), (4, 8), (5, 8), (6, 8), (7, 8)),
    *((4, 9), (5, 9), (6, 9), (7, 9), (8, 10), (9, 10)),
)
_CAPTIONS = {
    "pipeline": "The pipeline: the SFT adapter is the start and the frozen reference of all four preference runs.",
    "losses": "Training (line) and validation loss (dots), one panel per run, a line per seed.",
    "rewards": "Rewards of chosen and rejected training stories and their margin (validation dotted). Scales differ.",
    "constraints": "Share of stories that keep each constraint, mean over seeds, 95% bootstrap intervals.",
}


def draw_all(results: Results, folder: Path) -> list[tuple[Path, str]]:
    """Draw every figure as PNG; returns paths and captions."""
    paths = [draw_pipeline(folder), *(draw(results, folder) for draw in (draw_losses, draw_rewards, draw_constraints))]
    return [(path, _CAPTIONS[path.stem]) for path in paths]


def draw_pipeline(folder: Path) -> Path:
    """Boxes and arrows."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(12, 3.6), layout="constrained")
    axis.set(xlim=(-0.6, 5.7), ylim=(-0.5, 3.5))
    axis.axis("off")
    boxes = []
    for label, x, y in _BOXES:
        box = {"boxstyle": "round,pad=0.35", "fc": "#F3F4F6", "ec": "#444444"}
        boxes.append(axis.text(x, y, label, ha="center", va="center", fontsize=9, bbox=box, zorder=3).get_bbox_patch())
    figure.canvas.draw()  # the boxes get their sizes, at whose edges the arrows end
    for start, end in _ARROWS:
        style = {"arrowstyle": "->", "color": "#888888", "lw": 0.9, "shrinkA": 0, "shrinkB": 0}
        ends = {"patchA": boxes[start], "patchB": boxes[end]}
        axis.annotate("", _BOXES[end][1:], _BOXES[start][1:], arrowprops=style | ends)
    return _save(figure, folder / "pipeline.png")


def draw_losses(results: Results, folder: Path) -> Path:
    """A panel per run."""
    plt = pyplot()
    figure, axes = plt.subplots(1, len(TRAINED), figsize=(3 * len(TRAINED), 2.9), layout="constrained")
    for axis, run in zip(axes, TRAINED, strict=True):
        for i, histories in enumerate(results.histories):
            colour = _shade(_colour(run), i, len(results.histories))
            axis.plot(*_points(histories[run], "loss"), color=colour, lw=1, label=_once("training", i))
            axis.plot(*_points(histories[run], "eval_loss"), "o", color=colour, ms=4, label=_once("validation", i))
        axis.set(title="sft" if run == "generation" else run, xlabel="step", ylabel="loss" if run == "generation" else None)
        axis.grid(color="#e5e5e5", lw=0.6)
    seeds = f" (a shade each: {len(results.histories)} seeds)" if len(results.histories) > 1 else ""
    axes[0].legend(title=f"loss{seeds}", fontsize=8, title_fontsize=8)
    return _save(figure, folder / "losses.png")


def draw_rewards(results: Results, folder: Path) -> Path:
    """Two rows: rewards of chosen and rejected, margin."""
    plt = pyplot()
    figure, axes = plt.subplots(2, len(TRAINED) - 1, figsize=(13, 5), layout="constrained", sharex="col")
    for column, run in enumerate(TRAINED[1:]):
        for i, histories in enumerate(results.histories):
            history, last = histories[run], len(results.histories)
            axes[0][column].plot(
                *_points(history, "rewards/chosen"), color=_shade("#009E73", i, last), label=_once("chosen", i)
            )
            axes[0][column].plot(
                *_points(history, "rewards/rejected"), color=_shade("#CC79A7", i, last), label=_once("rejected", i)
            )
            axes[1][column].plot(
                *_points(history, "rewards/margins"), color=_shade(_colour(run), i, last), label=_once("training", i)
            )
            axes[1][column].plot(
                *_points(history, "eval_rewards/margins"),
                "o:",
                ms=4,
                color=_shade(_colour(run), i, last),
                label=_once("validation", i),
            )
        axes[0][column].set_title(run)
        axes[1][column].set_xlabel("step")
        for row in axes:
            row[column].grid(color="#e5e5e5", lw=0.6)
            row[column].axhline(0, color="#999999", lw=0.8)
    axes[0][0].set_ylabel("reward (β × nats)")
    axes[1][0].set_ylabel("margin (β × nats)")
    axes[0][0].legend(fontsize=7)
    axes[1][0].legend(fontsize=7)
    return _save(figure, folder / "rewards.png")


def draw_constraints(results: Results, folder: Path) -> Path:
    """A row per constraint, a dot with its interval per model."""
    plt = pyplot()
    names = [*CONSTRAINTS, "kept", "all"]
    figure, axis = plt.subplots(figsize=(8.5, 7.5), layout="constrained")
    for i, model in enumerate(MODELS):
        found = [spread(results.values[model][name]) for name in names]
        means = np.array([one["mean"] for one in found])
        bars = np.abs(np.array([[one["low"], one["high"]] for one in found]).T - means)
        marker = "s" if model.endswith("easy") else "^" if model.endswith("hard") else "o"
        places = np.arange(len(names)) + (i - (len(MODELS) - 1) / 2) * 0.13
        filled = "white" if model.endswith("easy") else _colour(model)
        axis.errorbar(means, places, xerr=bars, fmt=marker, color=_colour(model), mfc=filled, ms=5, lw=1, label=model)
    labels = {"kept": "share kept", "all": "all fifteen"}
    axis.set_yticks(range(len(names)), [labels.get(name, name.replace("_", " ")) for name in names])
    axis.invert_yaxis()
    axis.set(xlabel="share of stories", xlim=(-0.02, 1.02))
    axis.grid(color="#e5e5e5", lw=0.6)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=len(MODELS), fontsize=8, frameon=False)
    return _save(figure, folder / "constraints.png")


def _points(history: list[dict], key: str) -> tuple[list[float], list[float]]:
    rows = [row for row in history if key in row]
    return [row["step"] for row in rows], [float(row[key]) for row in rows]


def _colour(name: str) -> str:
    return _COLOURS[name.split("-")[0]]


def _shade(colour: str, place: int, number: int) -> tuple[float, ...]:
    """The colour, paler for each further seed."""
    from matplotlib.colors import to_rgb

    share = 0.55 * place / max(number - 1, 1)
    return tuple(part + (1 - part) * share for part in to_rgb(colour))


def _once(label: str, place: int) -> str | None:
    return None if place else label


def _save(figure, path: Path) -> Path:
    figure.savefig(path, dpi=130)
    pyplot().close(figure)
    return path
