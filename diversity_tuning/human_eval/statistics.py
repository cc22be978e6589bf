"""Preferences of people: win rates per item, sign test, view per annotator, agreement and position bias."""

import warnings

import krippendorff
import numpy as np
import pandas as pd
from scipy.stats import binomtest

from diversity_tuning.evaluation.statistics import DRAWS, bootstrap_means
from diversity_tuning.human_eval.annotations import UNDECIDED
from diversity_tuning.intervals import percentile_interval

ALPHA_DRAWS = 1000


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided p of "either is as likely to win", ties left out; NaN when nothing was decided."""
    return float(binomtest(wins, wins + losses, 0.5).pvalue) if wins + losses else float("nan")


def share(count: int, total: int) -> dict[str, float]:
    """``{"mean", "low", "high"}``: a share and its Wilson interval (95%); NaN for a total of 0."""
    if not total:
        return dict.fromkeys(("mean", "low", "high"), float("nan"))
    wilson = binomtest(count, total).proportion_ci(0.95, method="wilson")
    return {"mean": count / total, "low": float(wilson.low), "high": float(wilson.high)}


def majorities(answers: pd.DataFrame, column: str) -> pd.Series:
    """Per item the value of ``column`` with the most votes; ``UNDECIDED`` when two or more have equally many."""
    (item, items), (value, values) = pd.factorize(answers["id"], sort=True), pd.factorize(answers[column])
    votes = np.zeros((len(items), len(values)), dtype=int)
    np.add.at(votes, (item, value), 1)
    single = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) == 1
    return pd.Series(values.to_numpy()[votes.argmax(axis=1)], index=items).where(single, UNDECIDED)


def _matrix(answers: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """One value per answer as ``(annotators, items)``, NaN where there is no answer."""
    (annotator, annotators), (item, items) = pd.factorize(answers["annotator"]), pd.factorize(answers["id"])
    matrix = np.full((len(annotators), len(items)), np.nan)
    matrix[annotator, item] = values
    return matrix


def win_rates(answers: pd.DataFrame, one: str, other: str) -> dict:
    """What the items say: each item counts once, for what most of its annotators chose (:func:`majorities`).

    ``answers``: rows of one question and one pair of conditions. Returns the counts ``one``, ``other``, ``undecided`` and
    ``items``, the shares ``one_*``, ``other_*`` with Wilson intervals, and ``p`` of the sign test.
    """
    outcomes = majorities(answers, "choice")
    counts = {"one": int((outcomes == one).sum()), "other": int((outcomes == other).sum()), "items": len(outcomes)}
    counts["undecided"] = counts["items"] - counts["one"] - counts["other"]
    shares = {f"{side}_{part}": x for side in ("one", "other") for part, x in share(counts[side], counts["items"]).items()}
    return {**counts, **shares, "p": sign_test(counts["one"], counts["other"])}


def net_preference(answers: pd.DataFrame, one: str, other: str, draws: int = DRAWS) -> dict[str, float]:
    """Share of answers for ``one`` minus share for ``other``, from -1 to 1: ``{"mean", "low", "high"}``.

    Answers of one annotator, and answers about one item, resemble each other. The crossed bootstrap (see
    :func:`~.statistics.bootstrap_means`) draws whole annotators and whole items, so that the interval holds for other people
    and other prompts. It is wide with few annotators, and leans to the safe side.
    """
    score = (answers["choice"] == one).to_numpy(float) - (answers["choice"] == other).to_numpy(float)
    low, high = percentile_interval(bootstrap_means(_matrix(answers, score), draws))
    return {"mean": float(score.mean()), "low": low, "high": high}


def annotator_rates(answers: pd.DataFrame, one: str, other: str) -> pd.DataFrame:
    """One row per annotator: ``answers``, ``one``, ``other``, ``undecided`` (counts) and ``seconds`` (median per item)."""
    rows = []
    for annotator, own in answers.groupby("annotator"):
        counts = {side: int((own["choice"] == name).sum()) for side, name in (("one", one), ("other", other))}
        undecided = len(own) - sum(counts.values())
        rows.append({"annotator": annotator, "answers": len(own), **counts, "undecided": undecided})
        rows[-1]["seconds"] = float(own["seconds"].median())
    return pd.DataFrame(rows)


def agreement(answers: pd.DataFrame, column: str = "choice", seed: int = 0) -> dict[str, float]:
    """Krippendorff's α (nominal) of a column, with a percentile interval over items: ``{"mean", "low", "high"}``.

    NaN where it is not defined: no item with two answers, or only one value. Draws in which it is not defined are left out.
    """
    data = _matrix(answers, pd.factorize(answers[column])[0])
    data = data[:, (~np.isnan(data)).sum(axis=0) >= 2]
    rng = np.random.default_rng(seed)
    draws = [_alpha(data[:, rng.integers(0, data.shape[1], data.shape[1])]) for _ in range(ALPHA_DRAWS if data.size else 0)]
    low, high = percentile_interval(draws)
    return {"mean": _alpha(data), "low": low, "high": high}


def pairs_agree(answers: pd.DataFrame) -> float:
    """Share of pairs of annotators of an item who chose the same, over all items; NaN without a pair."""
    votes = answers.groupby(["id", "choice"]).size()
    pairs = votes.groupby("id").sum()
    total = int((pairs * (pairs - 1)).sum())
    return float((votes * (votes - 1)).sum() / total) if total else float("nan")


def _alpha(data: np.ndarray) -> float:
    if len(np.unique(data[~np.isnan(data)])) < 2:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(krippendorff.alpha(reliability_data=data, level_of_measurement="nominal"))


def position_bias(answers: pd.DataFrame) -> dict[str, float]:
    """How often Set A wins over Set B: ``{"a", "b", "mean", "low", "high", "p"}``.

    Items count once, by the majority of sides. Which condition is Set A was a coin toss per item, so without bias A and B win
    equally often whatever the conditions are, and the sign test is exact.
    """
    outcomes = majorities(answers.assign(side=answers["side"].where(answers["side"].notna(), UNDECIDED)), "side")
    a, b = int((outcomes == "A").sum()), int((outcomes == "B").sum())
    return {"a": a, "b": b, **share(a, a + b), "p": sign_test(a, b)}
