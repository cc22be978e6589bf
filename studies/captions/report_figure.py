"""The figure of the captions report: reward of the model that nothing was trained on, against semantic diversity."""

from pathlib import Path

from diversity_tuning.drawing import BLACK, BLUE, DARK, GREEN, PINK, SLATE, VERMILION, draw_grid, pyplot, save_figure, whiskers
from diversity_tuning.evaluation.report.label_placement import place_labels
from diversity_tuning.evaluation.report.styles import number_of_seeds
from diversity_tuning.evaluation.statistics import mean_interval
from studies.captions.measure import PEOPLE
from studies.captions.report_data import Results
from studies.captions.report_tables import label

_X, _Y = "reward_b", "semantic_diversity"
_STYLES = {  # by the name's first part
    "people": (BLACK, "*"), "sft": (SLATE, "h"), "dpo": (BLUE, "o"), "ddpo": (VERMILION, "s"), "ddpo-permuted": (PINK, "D"),
}  # fmt: skip
_ARROWS = (("dpo", "ddpo"), ("dpo", "ddpo-permuted"))


def draw(results: Results, path: Path) -> Path:
    """Write ``path``.png: a labelled point with its intervals per model, small ones per seed; temperatures joined, dotted."""
    figure, axis = pyplot().subplots(figsize=(8, 5.6), layout="constrained")
    draw_grid(axis)
    labels = []
    for model, values in results.values.items():
        colour, marker = _style(model)
        x, y = mean_interval(values[_X]), mean_interval(values[_Y])
        if len(results.seeds) > 1:
            axis.plot(values[_X].mean(axis=1), values[_Y].mean(axis=1), ".", color=colour, ms=5, alpha=0.5)
        axis.errorbar(
            x["mean"], y["mean"], xerr=whiskers(x), yerr=whiskers(y), fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.5
        )
        hollow = "-t" in model
        axis.plot(
            x["mean"], y["mean"], marker, color=colour, mfc="white" if hollow else colour, ms=12 if model == PEOPLE else 8
        )
        labels.append((label(model), (x["mean"], y["mean"]), colour))
    _join_temperatures(axis, results)
    centre = {model: (values[_X].mean(), values[_Y].mean()) for model, values in results.values.items()}
    for start, end in _ARROWS:
        if start in centre and end in centre:
            style = {"arrowstyle": "->", "color": _style(end)[0], "lw": 1.3, "shrinkA": 6, "shrinkB": 6}
            axis.annotate("", centre[end], centre[start], arrowprops=style)
    axis.margins(0.12)
    axis.set(xlabel="reward B: predicted log votes, standard deviations within the contest →", ylabel="semantic diversity →")
    axis.set_title(title(results), loc="left", fontsize=9)
    better = {"arrowstyle": "->", "color": DARK, "lw": 1.2}
    axis.annotate("better", (0.985, 0.985), (0.9, 0.9), xycoords="axes fraction", arrowprops=better, color=DARK)
    figure.canvas.draw()
    place_labels(axis, labels)
    return save_figure(figure, path, ("png",), dpi=130)[0]


def title(results: Results) -> str:
    """What the figure is of; --source may be any contests."""
    seeds = number_of_seeds(len(results.seeds)) + (", small dots" if len(results.seeds) > 1 else "")
    return f"Captions with votes: {len(results.contests)} contests, {seeds}; 95% intervals over {results.resampled}"


def _join_temperatures(axis, results: Results) -> None:
    for family in ("sft", "dpo"):
        places = [name for name in (f"{family}-t0.7", family, f"{family}-t1.3") if name in results.values]
        xs, ys = ([results.values[name][measure].mean() for name in places] for measure in (_X, _Y))
        axis.plot(xs, ys, ":", color=_style(family)[0], lw=1)


def _style(model: str) -> tuple[str, str]:
    return _STYLES.get(model) or _STYLES.get(model.split("-")[0], (GREEN, "v"))
