"""Annotators with a known preference, to see what a study of a given size can find."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diversity_tuning.human_eval.annotations import COLUMNS, DIVERSITY, HARD, UNDECIDED

ONE, OTHER = "one", "other"


@dataclass(frozen=True)
class Design:
    """A study, and the people in it.

    An answer is "hard to decide" with probability ``hard``; else the log-odds of choosing ``one`` are those of ``preference``,
    plus the item's and the annotator's own (normal, standard deviations ``item_spread`` and ``annotator_spread``), plus
    ``position`` where ``one`` is Set A and minus it where not.
    """

    items: int = 50
    labels_per_item: int = 3
    items_per_annotator: int = 25
    preference: float = 0.5
    hard: float = 0.1
    item_spread: float = 0.5
    annotator_spread: float = 0.3
    position: float = 0.0


def simulate_answers(design: Design, rng: np.random.Generator) -> pd.DataFrame:
    """Answers to one question, as :func:`~.human_annotations.read_answers` gives them."""
    order = np.tile(np.arange(design.items), design.labels_per_item)  # the least labelled items go first
    annotator = np.arange(order.size) // min(design.items_per_annotator, design.items)
    one_is_a = rng.random(design.items) < 0.5
    logit = np.log(design.preference / (1 - design.preference))
    logits = logit + rng.normal(0, design.item_spread, design.items)[order]
    logits += rng.normal(0, design.annotator_spread, annotator.max() + 1)[annotator]
    logits += design.position * np.where(one_is_a[order], 1, -1)
    picks_one = rng.random(order.size) < 1 / (1 + np.exp(-logits))
    hard = rng.random(order.size) < design.hard
    side = np.where(hard, None, np.where(picks_one == one_is_a[order], "A", "B"))
    answers = {
        "annotator": annotator + 1,
        "id": [f"item{number:03d}" for number in order],
        "question": DIVERSITY,
        "answer": [HARD if chosen is None else f"Set {chosen}" for chosen in side],
        "side": side,
        "choice": np.where(hard, UNDECIDED, np.where(picks_one, ONE, OTHER)),
        "pair": [(ONE, OTHER)] * order.size,
        "seconds": rng.lognormal(4.5, 0.4, order.size),
    }
    return pd.DataFrame(answers, columns=COLUMNS)


def detection_rates(design: Design, studies: int, seed: int = 0) -> dict[str, float]:
    """Share of simulated studies in which the sign test (p < .05), the interval of the net preference, or the sign test of
    position finds a difference: ``{"sign_test", "net_preference", "position"}``."""
    from diversity_tuning.human_eval.statistics import net_preference, position_bias, win_rates

    detections = dict.fromkeys(("sign_test", "net_preference", "position"), 0)
    for number in range(studies):
        answers = simulate_answers(design, np.random.default_rng([seed, number]))
        net = net_preference(answers, ONE, OTHER, draws=1000)
        detections["sign_test"] += win_rates(answers, ONE, OTHER)["p"] < 0.05
        detections["net_preference"] += net["low"] > 0 or net["high"] < 0
        detections["position"] += position_bias(answers)["p"] < 0.05
    return {name: count / studies for name, count in detections.items()}
