"""Which samples of a prompt are functionally the same, by an embedding distance or a classifier of pairs (NoveltyBench's idea).

Two samples are linked when they are nearer than a threshold, or when the classifier says so; linked samples, also through
others, are one cluster, so that the count does not depend on the order of the samples. NoveltyBench (Zhang et al. 2025, arXiv
2504.05228) compares each sample with one of every class found so far, which does depend on it.
"""

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.metrics import numbered
from diversity_tuning.partition import clusters, distances_of

__all__ = ["classifier", "clusters", "distances_of", "equal_error_threshold", "pairs_within", "quantile_threshold"]

Pairs = np.ndarray  # (m, 2) row numbers of two responses to one prompt, the smaller first


def pairs_within(prompts: Sequence[Hashable]) -> Pairs:
    """Every pair of rows of one prompt: int ``(m, 2)``, the smaller row first."""
    number = numbered(prompts)
    of_prompts = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    parts = [rows[np.stack(np.triu_indices(len(rows), k=1), axis=1)] for rows in of_prompts]
    pairs = np.concatenate(parts or [np.empty((0, 2), int)])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def quantile_threshold(distances: np.ndarray, share: float) -> float:
    """The distance that this share of the data's own pairs fall below: then that share of them would count as the same."""
    return float(np.quantile(distances, share))


def equal_error_threshold(distances: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """The threshold at which as many of the ``same`` pairs lie above as of the others below, and that error rate.

    ``distances`` ``(m,)``; ``same`` bool ``(m,)``, both kinds present. A pair counts as the same when its distance is at most
    the threshold. Returns the middle between neighbouring distances.
    """
    near, far = np.sort(distances[same]), np.sort(distances[~same])
    if not len(near) or not len(far):
        raise UserError("labels: every pair has the same label; an equal error needs pairs of both kinds")
    candidates = np.unique(distances)
    missed = 1 - np.searchsorted(near, candidates, side="right") / len(near)
    merged = np.searchsorted(far, candidates, side="right") / len(far)
    best = int(np.argmin(np.abs(missed - merged)))
    above = candidates[min(best + 1, len(candidates) - 1)]
    return float((candidates[best] + above) / 2), float((missed[best] + merged[best]) / 2)


def classifier(folder: str, device: str | None = None, trust_remote_code: bool = False) -> Callable:
    """A sequence-pair classification model as ``(texts, texts, batch_size) -> probability of "the same", (m,)``.

    Two outputs: softmax, the second is "the same" (as yimingzhang/deberta-v3-large-generation-similarity has it); one output:
    sigmoid. :class:`UserError` for another number or when it cannot be loaded.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from diversity_tuning.opening import from_pretrained
    from diversity_tuning.policy import on_device

    try:
        options = {"trust_remote_code": trust_remote_code}
        tokenizer = from_pretrained(AutoTokenizer, folder, **options)
        model = from_pretrained(AutoModelForSequenceClassification, folder, **options)
    except UserError as error:
        raise UserError(f"{folder}: cannot be loaded as a classifier of pairs ({error})") from None
    outputs = model.config.num_labels
    if outputs not in (1, 2):
        raise UserError(f"{folder}: has {outputs} outputs; a classifier of pairs has one, or two of which the second is 'same'")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    on_device(model, device)

    @torch.inference_mode()
    def probabilities(ones: list[str], others: list[str], batch_size: int) -> np.ndarray:
        probability = np.empty(len(ones))
        order = sorted(range(len(ones)), key=lambda i: -len(ones[i]) - len(others[i]))  # alike lengths waste little
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            texts = [ones[i] for i in rows], [others[i] for i in rows]
            batch = tokenizer(*texts, truncation=True, padding=True, return_tensors="pt").to(device)
            logits = model(**batch).logits.float()
            same = logits.softmax(-1)[:, 1] if outputs == 2 else logits[:, 0].sigmoid()
            probability[rows] = same.cpu().numpy()
        return probability

    return probabilities
