"""How far the preference trainings of folds went: a difference of models that learned nothing says nothing about their loss."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from studies.report import read_json_lines

PARTS = {"rewards/margins": "margin", "rewards/accuracies": "accuracy", "loss": "loss"}
_FILE = "metrics.jsonl"


def frame(folders: list[tuple[str, Path]], models: list[str], study: str):
    """A row per model and fold that was trained on pairs: ``updates``, and the means of :data:`PARTS` over the second half.

    ``folders``: (fold, folder) each. The margin is β times how much more log-likelihood the chosen response gained than the
    rejected one, in nats; the accuracy is the share of pairs in which it gained more (chance .5). Models without a training on
    pairs have no row.
    """
    import pandas as pd

    rows = []
    for model in models:
        for fold, folder in folders:
            if not (folder / model / _FILE).exists():
                continue
            logged = [row for row in read_json_lines(folder / model / _FILE, study) if PARTS.keys() <= row.keys()]
            if logged:
                late = logged[len(logged) // 2 :]
                means = {name: float(np.mean([row[key] for row in late])) for key, name in PARTS.items()}
                rows.append({"model": model, "fold": fold, "updates": logged[-1]["step"], **means})
    return pd.DataFrame(rows, columns=["model", "fold", "updates", *PARTS.values()])


def tables(name: str, rows, label: Callable[[str], str]) -> list:
    """A table of :func:`frame`, a row per model, its folds side by side; none where nothing was trained on pairs."""
    from diversity_tuning.evaluation.rendering import Table

    lines = []
    for model, own in rows.groupby("model", sort=False):
        steps = sorted(set(own["updates"]))
        lines.append(
            [label(model), "–".join(str(step) for step in dict.fromkeys((steps[0], steps[-1])))]
            + [", ".join(f"{value:.3f}" for value in own[part]) for part in ("margin", "accuracy")]
        )
    note = (
        "Of the pairs that were trained on, over the second half of the updates that are logged; folds side by side. Margin: β"
        " times how much more log-likelihood the chosen answer gained than the rejected one, in nats; accuracy: share of pairs"
        " in which it gained more (chance .5). Where the margin is near 0 the model learned next to nothing of its votes. ORPO"
        " and DORPO have no reference: β times the difference of log-likelihoods a token, perhaps below 0 before any"
        " training; accuracy: share of pairs whose chosen answer is the likelier a token, so that .5 is not chance."
    )
    header = ["model", "last logged update", "margin", "accuracy"]
    return [Table(f"{name}-trainings", f"{name}: trainings on pairs", note, header, lines)] if lines else []
