"""A judge against what people said: every figure with its interval, beside those of length alone, as JSON and a figure."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats

from diversity_tuning.drawing import BLUE, GREY, pyplot, save_figure
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.scoring.summary import nan_to_none
from diversity_tuning.evaluation.statistics import bounded, cluster_weights
from diversity_tuning.judging import agreement
from diversity_tuning.judging.read import Judged
from diversity_tuning.reward_model import other_prompts
from diversity_tuning.runs import write_json

Scorer = Callable[[list[str], list[str]], np.ndarray]  # prompts and responses, n of each -> float (n,); NaN: no verdict
DRAWS = 1_000
APART = (0.0, 0.15, 0.5, 1.0)  # strata of comparisons, by the relative difference of the two lengths


def check(
    score: Scorer, data: Judged, folder: Path, name: str, threshold: float | None = None, draws: int = DRAWS, seed: int = 0
) -> dict:
    """Write ``agreement.json`` and ``agreement.png`` into ``folder`` and return what the JSON holds.

    Responses without a verdict (NaN) are left out and counted. ``threshold``: a response above it is judged good; None: the one
    of best balanced accuracy on the other half of the prompts (:func:`agreement.cross_fitted_verdicts`). Intervals: 95%,
    bootstrap over prompts, thresholds as they are.
    """
    _check_labels(data, "")  # before anything is paid for
    scores = np.asarray(score(data.prompts, data.responses), dtype=float)
    judged = np.isfinite(scores)
    data, scores = data.select(judged), scores[judged]
    _check_labels(data, "judged ")
    weights = cluster_weights(data.prompts, draws, seed)
    other = _others(data, seed)
    result = {
        "judge": name,
        "prompts": len(set(data.prompts)),
        "responses": len(data.responses),
        "good": int(data.labels.sum()),
        "pairs": len(data.pairs),
        "without_verdict": int((~judged).sum()),
        **_figures(scores, _scores_of_others(score, data, other), data, weights, threshold, seed),
        "length": _figures(by_length([], data.responses), _scores_of_others(by_length, data, other), data, weights, None, seed),
        "length_bias": _length_bias(scores, data, weights),
        "position_bias": None,  # a judge that sees one response at a time has no order to depend on
    }
    result = nan_to_none(result)
    write_json(folder / "agreement.json", result, ensure_ascii=False)
    plot_agreement(result, folder / "agreement.png")
    return result


def by_length(prompts: list[str], responses: list[str]) -> np.ndarray:
    """Characters of each response: the baseline of every judge."""
    return np.array([len(response) for response in responses], dtype=float)


def _check_labels(data: Judged, which: str) -> None:
    n, good = len(data.labels), int(data.labels.sum())
    if good in (0, n):
        raise UserError(f"{n} {which}responses, {good} of them good: good and bad ones are needed, else nothing to agree on")


def _figures(scores, others, data: Judged, weights, threshold: float | None, seed: int) -> dict:
    """Every figure of one judge; ``others``: scores of :func:`_others`, NaN where there is none."""
    if threshold is None:
        verdicts, thresholds = agreement.cross_fitted_verdicts(scores, data.labels, data.prompts, seed)
    else:
        verdicts, thresholds = scores > threshold, [threshold]
    won = agreement.wins(*scores[data.pairs].T)
    own = agreement.wins(scores, others)
    return {
        **_of_labels(scores, verdicts, data.labels, weights),
        "thresholds": thresholds,
        "pair_accuracy": _interval(won, weights[:, data.pairs[:, 0]]),
        "own_vs_other": _interval(own, weights),
        "by_length": [
            *_by_difference(scores, won, data, weights),
            *_by_quarter(scores, verdicts, data, weights),
        ],
    }


def _of_labels(scores, verdicts, labels, weights) -> dict:
    said = {"accuracy": verdicts, "f1": verdicts, "auc": scores, "kappa": verdicts}
    figures = {name: (getattr(agreement, name), values) for name, values in said.items()}
    return {name: bounded(figure(one, labels), figure(one, labels, weights)) for name, (figure, one) in figures.items()}


def _by_difference(scores, won, data: Judged, weights) -> list[dict]:
    """Pairs of one prompt (pair accuracy), and good with bad responses of any prompts (AUC), by the difference of lengths."""
    sizes = by_length([], data.responses)
    apart = agreement.relative_difference(*sizes[data.pairs].T)
    strata = []
    for low, high in itertools.pairwise(APART):
        most = high + (high == APART[-1])  # the last stratum has its upper bound
        rows = (apart >= low) & (apart < most)
        value, n = agreement.auc_within(scores, data.labels, sizes, low, most)
        drawn, _ = agreement.auc_within(scores, data.labels, sizes, low, most, weights)
        strata.append({
            "stratum": "relative difference of two lengths", "from": low, "to": high,
            "n_pairs": int(rows.sum()), "pair_accuracy": _interval(won[rows], weights[:, data.pairs[rows, 0]]),
            "n_comparisons": n, "auc": bounded(value, drawn),
        })  # fmt: skip
    return strata


def _by_quarter(scores, verdicts, data: Judged, weights) -> list[dict]:
    """Responses by their length in characters; the bounds are inclusive."""
    sizes = by_length([], data.responses)
    number = agreement.length_strata(data.responses)
    strata = []
    for part in np.unique(number):
        rows = number == part
        strata.append({
            "stratum": "characters of a response", "from": int(sizes[rows].min()), "to": int(sizes[rows].max()),
            "n": int(rows.sum()), "good": int(data.labels[rows].sum()),
            **_of_labels(scores[rows], verdicts[rows], data.labels[rows], weights[:, rows]),
        })  # fmt: skip
    return strata


def _others(data: Judged, seed: int) -> np.ndarray:
    """For each good row another good row, of another prompt, as a row number; itself where there is none. ``(good,)``"""
    good = np.flatnonzero(data.labels)
    prompts, responses = (np.array([values[i] for i in good], dtype=object) for values in (data.prompts, data.responses))
    return good[other_prompts(prompts, responses, np.random.default_rng(seed))]


def _scores_of_others(score: Scorer, data: Judged, other: np.ndarray) -> np.ndarray:
    """Scores of good responses to other prompts, asked of each good row's prompt: ``(n,)``, NaN for all other rows."""
    good = np.flatnonzero(data.labels)
    found = np.full(len(data.labels), np.nan)
    found[good] = score([data.prompts[i] for i in good], [data.responses[i] for i in other])
    found[good[good == other]] = np.nan
    return found


def _length_bias(scores, data: Judged, weights) -> dict:
    """Of pairs with unequal lengths: how often the judge, and people, take the longer; and the rank correlation with length."""
    sizes = by_length([], data.responses)
    better, worse = data.pairs.T
    unequal = sizes[better] != sizes[worse]
    better, worse = better[unequal], worse[unequal]
    longer = sizes[better] > sizes[worse]
    won = agreement.wins(scores[better], scores[worse])
    drawn = weights[:, better]
    constant = len(np.unique(scores)) < 2 or len(np.unique(sizes)) < 2
    return {
        "n_pairs": len(better),
        "judge_takes_longer": _interval(np.where(longer, won, 1 - won), drawn),
        "people_take_longer": _interval(longer.astype(float), drawn),
        "spearman_of_score_and_length": float("nan") if constant else float(stats.spearmanr(scores, sizes).statistic),
    }


def _interval(values, weights) -> dict[str, float]:
    """A mean and its interval."""
    return bounded(agreement.weighted_mean(values), agreement.weighted_mean(values, weights))


SHOWN = {
    "accuracy": "accuracy", "f1": "F1", "auc": "AUC", "kappa": "Cohen's κ", "pair_accuracy": "pairs",
    "own_vs_other": "own response\nover another\nprompt's",
}  # fmt: skip


def plot_agreement(result: dict, path: Path) -> None:
    """All figures, and the comparisons of responses by how much their lengths differ; ``result`` as in agreement.json."""
    figure, (left, right) = pyplot().subplots(1, 2, figsize=(10, 3.6), layout="constrained", width_ratios=[1.4, 1])
    for place, (label, one, color) in enumerate([(result["judge"], result, BLUE), ("length", result["length"], GREY)]):
        strata = [row for row in one["by_length"] if "n_comparisons" in row]
        for axis, figures in ((left, [one[key] for key in SHOWN]), (right, [row["auc"] for row in strata])):
            agreement.draw_figures(axis, [x + 0.2 * place - 0.1 for x in range(len(figures))], figures, color, label)
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
    save_figure(figure, path.with_suffix(""), ("png",), dpi=150)
