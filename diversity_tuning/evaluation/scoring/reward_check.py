"""How well a reward model predicts the votes of responses that it was not trained on: agreement, order, calibration."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from diversity_tuning.drawing import BLUE, GREY, VERMILION, pyplot, save_figure
from diversity_tuning.evaluation.scoring.summary import nan_to_none
from diversity_tuning.runs import write_text

BINS = 10
FILES = ("reward_check.json", "scatter.png", "calibration.png", "histogram.png")
VOTE_GAPS = (1, 5, 20, 100)  # least differences of votes for which the accuracy on pairs is reported


def agreement(rewards: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Spearman ρ, Pearson r, MAE, R² and the regression line of ``rewards`` on ``targets``; both of shape ``(n,)``, n ≥ 3.

    R² = 1 − Σ(target − reward)² / Σ(target − mean)²: 1 is perfect, 0 is no better than the mean, and it may be negative.
    """
    line = stats.linregress(targets, rewards)
    residual, total = np.sum((targets - rewards) ** 2), np.sum((targets - targets.mean()) ** 2)
    return {
        "responses": len(rewards),
        "spearman": float(stats.spearmanr(rewards, targets).statistic),
        "pearson": float(line.rvalue),
        "mae": float(np.mean(np.abs(rewards - targets))),
        "r2": float(1 - residual / total),
        "slope": float(line.slope),
        "intercept": float(line.intercept),
    }


def pairwise_accuracy(rewards: np.ndarray, votes: np.ndarray, prompts: np.ndarray, gap: int) -> tuple[float, int]:
    """Share of pairs of one prompt whose votes differ by at least ``gap`` that the rewards put in order, and their number.

    A tie of rewards counts half. Arrays of shape ``(n,)``; ``prompts`` holds the number of each response's prompt.
    """
    right = pairs = 0.0
    for prompt in np.unique(prompts):
        rows = prompts == prompt
        first, second = np.triu_indices(rows.sum(), k=1)
        vote_difference = (votes[rows][first] - votes[rows][second]).astype(float)
        reward_difference = rewards[rows][first] - rewards[rows][second]
        apart = np.abs(vote_difference) >= gap
        agreement_sign = np.sign(vote_difference[apart]) * np.sign(reward_difference[apart])
        right += np.sum((agreement_sign + 1) / 2)
        pairs += apart.sum()
    return (right / pairs if pairs else float("nan")), int(pairs)


def calibration(rewards: np.ndarray, targets: np.ndarray, bins: int = BINS) -> list[dict[str, float]]:
    """Responses in ``bins`` groups of as many each, by reward: mean reward, mean target with 95% interval, and size of each.

    Arrays of shape ``(n,)``. Equal rewards stay in one group, so there may be fewer groups. A calibrated model's means agree:
    among responses that it gives .3, the mean target is .3. The interval is that of a mean of independent responses.
    """
    edges = np.unique(np.quantile(rewards, np.linspace(0, 1, bins + 1)))
    group = np.clip(np.searchsorted(edges, rewards, side="right") - 1, 0, max(len(edges) - 2, 0))
    groups = []
    for number in np.unique(group):
        rows = group == number
        half = 1.96 * targets[rows].std(ddof=1) / np.sqrt(rows.sum()) if rows.sum() > 1 else float("nan")
        mean = float(targets[rows].mean())
        values = {"reward": float(rewards[rows].mean()), "target": mean, "low": mean - half, "high": mean + half}
        groups.append({**values, "responses": int(rows.sum())})
    return groups


def calibration_error(groups: list[dict[str, float]]) -> float:
    """Mean distance of a group's mean reward and mean target, weighted by size (expected calibration error)."""
    sizes = np.array([one["responses"] for one in groups])
    return float(np.average([abs(one["reward"] - one["target"]) for one in groups], weights=sizes))


def own_prompt_share(
    reward: Callable, prompts: list[str], responses: list[str], seed: int = 0, known: Sequence[float] | None = None
) -> dict[str, float]:
    """``own``, ``other``: mean reward of responses with their own and with another prompt; ``wins``: P(own > other), ties half.

    ``untied``: the share of pairs with different rewards; ``wins_untied``: P(own > other) among them. Chance is 0.5.
    ``reward``: as in :mod:`diversity_tuning.rewards`; ``known``: what it says of the responses with their own prompts, where it
    has been asked. The other prompt is drawn from the different ones; NaN where there is one only. Pairs with a
    failed reward are left out.
    """
    different = list(dict.fromkeys(prompts))
    if len(different) < 2:
        return dict.fromkeys(("own", "other", "wins", "untied", "wins_untied"), float("nan"))
    place = {prompt: i for i, prompt in enumerate(different)}
    steps = np.random.default_rng(seed).integers(1, len(different), len(prompts))
    others = [different[(place[prompt] + step) % len(different)] for prompt, step in zip(prompts, steps, strict=True)]
    ended = [True] * len(responses)
    found = (reward(prompts, responses, ended) if known is None else known, reward(others, responses, ended))
    scores = np.array(list(map(_numbers, found)))
    own, other = scores[:, ~np.isnan(scores).any(axis=0)]
    untied = own != other
    return {
        "own": _mean(own), "other": _mean(other), "wins": _mean((own > other) + 0.5 * ~untied), "untied": _mean(untied),
        "wins_untied": _mean((own > other)[untied]),
    }  # fmt: skip


def _numbers(values: list[float | None]) -> list[float]:
    return [np.nan if value is None else float(value) for value in values]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def check(
    rewards: np.ndarray,
    targets: np.ndarray,
    votes: np.ndarray,
    prompts: np.ndarray,
    output: Path,
    own_prompt: dict | None = None,
) -> dict:
    """Write reward_check.json, and scatter, histogram and calibration as .png, into ``output``; returns the numbers.

    ``own_prompt``: what :func:`own_prompt_share` says of the model, to be written beside them.
    """
    result = agreement(rewards, targets)
    result["calibration"] = calibration(rewards, targets)
    result["calibration_error"] = calibration_error(result["calibration"])
    result["pairwise_accuracy"] = {
        str(gap): dict(zip(("accuracy", "pairs"), pairwise_accuracy(rewards, votes, prompts, gap), strict=True))
        for gap in VOTE_GAPS
    }
    result |= {"own_prompt": own_prompt} if own_prompt else {}
    write_text(output / "reward_check.json", json.dumps(nan_to_none(result), indent=2) + "\n")
    plot_check(rewards, targets, result, output)
    return result


def summary(output: str | Path, result: dict) -> str:
    """What :func:`check` found, for a terminal, and where it was written."""
    lines = [
        f"{output}: {result['responses']} responses: Spearman {result['spearman']:.3f}, Pearson {result['pearson']:.3f}, MAE"
        f" {result['mae']:.3f}, R² {result['r2']:.3f}, calibration error {result['calibration_error']:.3f}"
    ]
    for gap, found in result["pairwise_accuracy"].items():
        right = "none" if np.isnan(found["accuracy"]) else f"{found['accuracy']:.0%} in order"
        lines.append(f"  pairs of a prompt whose votes differ by {gap} or more: {found['pairs']}, {right}")
    if own := result.get("own_prompt"):
        lines.append(
            f"  scored higher for their own prompt than for another: {own['wins']:.0%} (50%: it does not read the prompt)"
        )
    lines.append(f"  {', '.join(str(Path(output) / name) for name in FILES)}")
    return "\n".join(lines)


def plot_check(rewards: np.ndarray, targets: np.ndarray, result: dict, output: Path) -> None:
    """Rewards against transformed votes with the regression line, both distributions, and mean votes by reward."""
    plt = pyplot()
    _, axis = plt.subplots(figsize=(4.5, 4), layout="constrained")
    axis.scatter(targets, rewards, s=5, alpha=0.4, color=BLUE, linewidths=0)
    ends = np.array([targets.min(), targets.max()])
    axis.plot(ends, result["intercept"] + result["slope"] * ends, color=VERMILION, label="regression line")
    axis.plot(ends, ends, color=GREY, linestyle=":", label="reward = votes")
    title = f"Spearman {result['spearman']:.2f}, MAE {result['mae']:.3f}\nR² {result['r2']:.2f}, n = {len(rewards):,}"
    axis.set(xlabel="transformed votes", ylabel="reward")
    axis.set_title(title, fontsize=10)  # two lines: one would be wider than the figure
    _save(axis, output / "scatter")

    _, axis = plt.subplots(figsize=(4.5, 3), layout="constrained")
    bins = np.linspace(min(rewards.min(), targets.min()), max(rewards.max(), targets.max()), 40)
    axis.hist(targets, bins=bins, alpha=0.6, color=GREY, label="transformed votes")
    axis.hist(rewards, bins=bins, alpha=0.6, color=BLUE, label="reward")
    axis.set(xlabel="value", ylabel="responses")
    _save(axis, output / "histogram")

    _, axis = plt.subplots(figsize=(4.5, 4), layout="constrained")
    x, y, low, high = (np.array([one[name] for one in result["calibration"]]) for name in ("reward", "target", "low", "high"))
    axis.errorbar(x, y, yerr=[y - low, high - y], fmt="o-", color=BLUE, lw=1, label="tenths by reward, 95%")
    ends = np.array([min(x.min(), np.nanmin(low)), max(x.max(), np.nanmax(high))])
    axis.plot(ends, ends, color=GREY, linestyle=":", label="calibrated")
    axis.set(xlabel="mean reward", ylabel="mean of transformed votes")
    axis.set_title(f"calibration error {result['calibration_error']:.3f}, n = {len(rewards):,}", fontsize=10)
    _save(axis, output / "calibration")


def _save(axis, path: Path) -> None:
    axis.legend(frameon=False)
    save_figure(axis.figure, path, ("png",), dpi=150)
