"""The figure of the verdicts: what reflect overturned, and the agreement of judge and reflect with labels."""

from pathlib import Path

_JUDGE, _REFLECT, _GOOD, _BAD = "#999999", "#0072B2", "#009E73", "#D55E00"
_SHOWN = {"accuracy": "accuracy", "f1": "F1", "kappa": "Cohen's κ"}


def plot_verdicts(summary: dict, path: Path) -> None:
    """``summary`` as in summary.json; the right half is there only with labels."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = summary["agreement"]
    figure, axes = plt.subplots(1, 2 if found else 1, figsize=(8 if found else 4.2, 3.4), layout="constrained", squeeze=False)
    _flows(axes[0, 0], summary["overturned"], summary["judged"])
    if found:
        _agreement(axes[0, 1], found)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _flows(axis, turned: dict, judged: int) -> None:
    """For each verdict of the judge, what reflect made of it."""
    bars = (("bad", turned["kept_0"], turned["0_to_1"]), ("good", turned["1_to_0"], turned["kept_1"]))
    for place, (_, bad, good) in enumerate(bars):
        axis.bar(place, bad, color=_BAD, width=0.6, label="bad" if place == 0 else None)
        axis.bar(place, good, bottom=bad, color=_GOOD, width=0.6, label="good" if place == 0 else None)
        overturned = good if place == 0 else bad
        axis.text(place, bad + good, f"{overturned} overturned", ha="center", va="bottom", fontsize=8)
    axis.set_xticks((0, 1), [f"judge: {name}" for name, *_ in bars])
    axis.set(ylabel="responses", title=f"{judged} responses")
    axis.margins(y=0.12)
    axis.legend(title="reflect", frameon=False, fontsize=8, title_fontsize=8)


def _agreement(axis, found: dict) -> None:
    for place, (name, color) in enumerate((("judge", _JUDGE), ("reflect", _REFLECT))):
        for x, key in enumerate(_SHOWN):
            one = found[name][key]
            if one["value"] is None:
                continue
            at = x + 0.2 * place - 0.1
            if one["low"] is not None:
                axis.plot([at, at], [one["low"], one["high"]], color=color, lw=1)
            axis.plot([at], [one["value"]], "o", color=color, ms=4, label=name if key == "accuracy" else None)
    axis.set_xticks(range(len(_SHOWN)), _SHOWN.values())
    axis.axhline(0, color="grey", lw=0.6, ls=":")
    axis.set_ylim(min(0, axis.get_ylim()[0]), 1.03)
    axis.set_title(f"against {found['n']} labels; 95% over {found['prompts']} prompts", fontsize=9)
    axis.legend(frameon=False, fontsize=8)
