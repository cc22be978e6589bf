"""What Path B reads: queries, labelled rows to learn from, held-out ones to compare rounds by; and what a round gets."""

from dataclasses import dataclass

import numpy as np

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.statistics import cluster_weights
from diversity_tuning.judging.adversarial import Labelled
from diversity_tuning.judging.held_out import length_strata
from diversity_tuning.judging.read import Judged, read_labels, read_queries


@dataclass(frozen=True)
class Data:
    """Queries to write for, labelled rows to learn from, and held-out ones to compare rounds by, with no prompt in common."""

    queries: list[str]
    train: list[Labelled]
    held_out: Judged
    strata: np.ndarray
    weights: np.ndarray


def read_data(
    labels_file: str, queries_file: str | None, held_out_file: str | None, share: float, draws: int, seed: int
) -> Data:
    """The labelled rows in two parts by prompt, and the queries; :class:`UserError` where a part is of no use."""
    labels = read_labels(labels_file)
    if held_out_file:
        held_out = read_labels(held_out_file)
        apart = set(held_out.prompts)
        keep = np.array([prompt not in apart for prompt in labels.prompts])
    else:
        keep = _train_rows(labels.prompts, share, seed)
        held_out = labels.select(~keep)
    train = labels.select(keep)
    for part, rows in (("held-out", held_out), ("other", train)):
        good = int(rows.labels.sum())
        if good in (0, len(rows.labels)):
            raise UserError(
                f"{labels_file}: of {len(rows.labels)} {part} rows {good} are good; both parts, which have no prompt "
                "in common, need good and bad ones"
            )
    rows = [Labelled(*row) for row in zip(train.prompts, train.responses, map(int, train.labels), strict=True)]
    asked = read_queries(queries_file) if queries_file else list(dict.fromkeys(train.prompts))
    queries = [query for query in asked if query not in set(held_out.prompts)]
    if not queries:
        raise UserError(f"--queries {queries_file}: all {len(asked)} are prompts of held-out rows")
    weights = cluster_weights(held_out.prompts, draws, seed)
    return Data(queries, rows, held_out, length_strata(held_out.responses), weights)


def _train_rows(prompts: list[str], share: float, seed: int) -> np.ndarray:
    """Which rows are learned from, bool ``(n,)``: those of all but a ``share`` of the prompts, at least one."""
    names = sorted(set(prompts))
    order = np.random.default_rng(seed).permutation(len(names))
    apart = {names[i] for i in order[: max(1, round(share * len(names)))]}
    return np.array([prompt not in apart for prompt in prompts])


def drawn(items: list, batch: int, number: int, seed: int) -> list:
    """The ``batch`` items of round ``number``, from 1: every one comes once before any comes again, in an order by ``seed``."""
    found = []
    for place in range((number - 1) * batch, number * batch):
        turn, i = divmod(place, len(items))
        found.append(items[np.random.default_rng([seed, turn]).permutation(len(items))[i]])
    return found
