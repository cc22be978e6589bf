"""Tables and figure of benchmarks.adversarial."""

from pathlib import Path

import numpy as np

from diversity_tuning.drawing import COLOURS, pyplot, save_figure
from diversity_tuning.evaluation.rendering import Table, interval


def search_table(result: dict) -> Table:
    """What the principles of each search name, in its first, best and last round."""
    rows = []
    for name, runs in result["searches"].items():
        for when, place in (("first", lambda run: 0), ("best", lambda run: run["best"]), ("last", lambda run: -1)):
            cells = [
                _range([run[part][place(run)] for run in runs]) for part in ("recall", "precision", "nuisances", "accuracy")
            ]
            rows.append([name, when, *cells])
    flaws, nuisances, seeds = (len(part) for part in (result["flaws"], result["nuisances"], result["command"]["seeds"]))
    note = (
        f"Simulated LLM. Mean [least, most] of {seeds} seeds. Recall: of the {flaws} flaws that make a story bad, how many the "
        "principles name; precision: of the flaws that they name, how many do; nuisances: how many they name of "
        f"{nuisances} that occur and do not count; accuracy: on the held-out labels, by which the best round is chosen. "
        "Checked: `--accept not_worse`.\n"
    )
    return Table(
        "search", "The search", note, ["round of", "round", "recall", "precision", "nuisances", "held-out accuracy"], rows
    )


def _range(values: list[float | None]) -> str:
    known = [one for one in values if one is not None]
    return f"{np.mean(known):.2f} [{min(known):.2f}, {max(known):.2f}]" if known else "–"


def judge_table(result: dict) -> Table:
    """What the judges say of test stories."""
    parts = ("accuracy", "good_passed", "bad_passed", "bad_padded_passed", "gain_of_padding")
    rows = [
        [
            name,
            *(interval(one[part]) for part in parts),
            " / ".join(f"{part['passed']:.2f}" for part in one["bad_passed_by_length"]),
        ]
        for name, one in result["judges"].items()
    ]
    sizes = next(iter(result["judges"].values()))["bad_passed_by_length"]
    quarters = ", ".join(f"{part['from']}–{part['to']}" for part in sizes)
    note = (
        "Simulated LLM. Principles of the first, best and last round of the search `both`, and of the best of `both, checked`, "
        "judging test stories; 95% intervals over seeds and prompts. Padded: the bad stories made longer than 125 words by "
        "scenes of other plots, their flaws still there; gain: against the same stories unpadded. By quarter: bad stories that "
        f"passed, of {quarters} words.\n"
    )
    header = ["principles", "accuracy", "good passed", "bad passed", "bad passed, padded", "gain of padding", "by quarter"]
    return Table("judges", "The judge", note, header, rows)


def plot(result: dict, path: Path) -> None:
    """Recall, precision and accuracy by round."""
    colors = dict(zip(result["searches"], COLOURS, strict=False))
    figure, axes = pyplot().subplots(1, 3, figsize=(11, 3.4), layout="constrained", sharex=True)
    titles = {
        "recall": "flaws found, share of those that exist",
        "precision": "share of named flaws that exist",
        "accuracy": "accuracy on held-out labels",
    }
    for axis, (part, label) in zip(axes, titles.items(), strict=True):
        for name, runs in result["searches"].items():
            values = np.array([[np.nan if one is None else one for one in run[part]] for run in runs], dtype=float)
            axis.plot(values.T, color=colors[name], lw=0.5, alpha=0.4)
            known = ~np.isnan(values).all(axis=0)
            axis.plot(np.flatnonzero(known), np.nanmean(values[:, known], axis=0), color=colors[name], label=name)
        axis.set(title=label, xlabel="round", ylim=(0, 1.02))
        axis.title.set_size(9)
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[1].legend(frameon=False, fontsize=8)
    figure.suptitle("simulated LLM; thin: single seeds", fontsize=9)
    save_figure(figure, path.with_suffix(""), ("png",), dpi=150)
