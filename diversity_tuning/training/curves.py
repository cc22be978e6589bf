"""The curves of a training run: what was logged against steps, as one figure."""

from pathlib import Path

from diversity_tuning.drawing import pyplot, save_figure


def plot_curves(history: list[dict], path: Path, title: str) -> None:
    """Loss, rewards, accuracy and weights against steps, one panel for each kind that was logged (:func:`curve_panels`)."""
    panels = curve_panels(history)
    if not panels:
        return
    figure, axes = pyplot().subplots(1, len(panels), figsize=(3.6 * len(panels), 3), squeeze=False, layout="constrained")
    for axis, (name, curves) in zip(axes[0], panels.items(), strict=True):
        for label, points in curves.items():
            axis.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 20 else None)
        axis.set(xlabel="step", title=name)
        axis.legend(fontsize=7)
    figure.suptitle(title)
    save_figure(figure, path.with_suffix(""), ("png",), dpi=110)


def curve_panels(history: list[dict]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Panel -> curve -> (step, value), for what was logged. Token accuracy only where no pairs are compared."""
    panels = {
        "loss": {"loss": "training", "eval_loss": "evaluation", "nll_loss": "NLL of chosen"},
        "reward": {
            "rewards/chosen": "chosen", "rewards/rejected": "rejected", "mean_reward": "mean",
            "finished/reward": "finished completions",
        },
        "margin": {
            "rewards/margins": "training", "eval_rewards/margins": "evaluation",
            "margin": "reward model, training", "eval_margin": "reward model, evaluation",
        },
        "accuracy": {
            "rewards/accuracies": "pairs, training", "eval_rewards/accuracies": "pairs, evaluation",
            "accuracy": "reward model, training", "eval_accuracy": "reward model, evaluation",
        },
        "token accuracy": {"mean_token_accuracy": "training", "eval_mean_token_accuracy": "evaluation"},
        "δ": {"weights/mean": "mean", "weights/effective_share": "effective share of pairs"},
        "diversity": {
            "openings/distinct": "distinct openings", "openings/in_group": "distinct openings in a group",
            **{key: f"distance in a group, {key[10:]}" for row in history for key in row if key.startswith("diversity/")},
        },
        "share": {"truncated/share": "cut", "failed/share": "reward failed", "groups/without_signal": "groups without signal"},
        "length": {"length/characters": "characters"},
    }  # fmt: skip
    logged = {
        name: {
            label: [(row["step"], row[key]) for row in history if key in row]
            for key, label in curves.items()
            if any(key in row for row in history)
        }
        for name, curves in panels.items()
    }
    if logged["accuracy"]:
        logged["token accuracy"] = {}
    return {name: curves for name, curves in logged.items() if curves}
