"""The figure of a judge's agreement with people, beside that of length alone."""

from pathlib import Path

SHOWN = {
    "accuracy": "accuracy", "f1": "F1", "auc": "AUC", "kappa": "Cohen's κ", "pair_accuracy": "pairs",
    "own_vs_other": "own response\nover another\nprompt's",
}  # fmt: skip
_JUDGE, _LENGTH = "#0072B2", "#999999"


def plot_agreement(result: dict, path: Path) -> None:
    """All figures, and the comparisons of responses by how much their lengths differ; ``result`` as in agreement.json."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", width_ratios=[1.4, 1])
    for place, (label, one, color) in enumerate([(result["judge"], result, _JUDGE), ("length", result["length"], _LENGTH)]):
        _points(left, [one[key] for key in SHOWN], place, label, color)
        strata = [row for row in one["by_length"] if "n_comparisons" in row]
        _points(right, [row["auc"] for row in strata], place, label, color)
    left.set_xticks(range(len(SHOWN)), SHOWN.values(), fontsize=8)
    counts = f"{result['responses']} responses, {result['pairs']} pairs; 95% over {result['prompts']} prompts"
    left.set_title(counts, fontsize=9)
    names = [f"{row['from']:.0%}–{row['to']:.0%}\n(n = {row['n_comparisons']})" for row in strata]
    right.set_xticks(range(len(names)), names, fontsize=8)
    right.set(xlabel="relative difference of two lengths", ylabel="AUC")
    for axis in (left, right):
        axis.axhline(0.5, color="grey", lw=0.6, ls=":")
        axis.set_ylim(min(0, axis.get_ylim()[0]), 1.03)
    left.legend(frameon=False, fontsize=8, loc="lower left")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _points(axis, figures: list[dict], place: int, label: str, color: str) -> None:
    known = [(x + 0.2 * place - 0.1, one) for x, one in enumerate(figures) if one["value"] is not None]
    for x, one in known:
        if one["low"] is not None:
            axis.plot([x, x], [one["low"], one["high"]], color=color, lw=1)
    axis.plot([x for x, _ in known], [one["value"] for _, one in known], "o", color=color, ms=4, label=label)
