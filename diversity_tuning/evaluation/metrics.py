"""How alike the responses to one prompt are: pure functions of texts, labels and embeddings."""

import gzip
import re
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from diversity_tuning.partition import unit_vectors
from diversity_tuning.words import pieces_of, words_of

_WORD = re.compile(r"[a-z0-9]+")  # ROUGE's words: lower case, everything else is a break, no stemming
VARIANTS = ("whole", "rouge", "released")


def rouge_words(text: str) -> list[str]:
    """`rouge-score`'s words: those of the letters a to z and of digits; a text in another script has none."""
    return _WORD.findall(text.lower())


def compression_ratio(responses: Sequence[str]) -> float:
    """Bytes of the responses, joined by spaces, over their bytes after gzip. Higher is more repetitive; above 0.

    NaN when there is no text. Source: Shaib et al. 2024 (arXiv 2403.00553), section 3. The released code compressed twice.
    """
    original = " ".join(responses).encode("utf-8")
    return len(original) / len(gzip.compress(original)) if original else float("nan")


def homogenization_score(responses: Sequence[str], variant: str = "whole") -> float:
    """Mean ROUGE-L F over all ordered pairs of different responses: in [0, 1], higher is more alike.

    Words are those of every script (:func:`diversity_tuning.words.words_of`). ``variant="rouge"`` has `rouge-score`'s instead,
    the same for ASCII texts, and is its ROUGE-L without stemming; ``variant="released"`` has these too, and gives what the
    released code computed (:func:`_released_homogenization`). NaN for fewer than 2 responses. Source: Shaib et al. 2024 (arXiv
    2403.00553). Raises :class:`ValueError`.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant is one of {', '.join(VARIANTS)}, not {variant!r}")
    count = len(responses)
    if count < 2:
        return float("nan")
    scores = rouge_l(responses, words_of if variant == "whole" else rouge_words)
    if variant == "released":
        return _released_homogenization(responses, scores)
    return float((scores.sum() - np.trace(scores)) / (count * (count - 1)))


def _released_homogenization(responses: Sequence[str], scores: np.ndarray) -> float:
    """The released loop: a text's row is added when the next *different* text begins, so the last text's never is.

    When nothing was added (all texts equal) it takes the sum over pairs, divided by n only: n − 1 for n equal texts.
    """
    count = len(responses)
    rows = scores.sum(axis=1) - np.diagonal(scores)
    last = count - 1
    while last > 0 and responses[last - 1] == responses[-1]:
        last -= 1
    total = rows[:last].sum() / (count - 1)
    return float((total or rows[last:].sum()) / count)


def rouge_l(responses: Sequence[str], split: Callable[[str], list[str]] = rouge_words) -> np.ndarray:
    """ROUGE-L F of every pair, ``(n, n)``: 2·LCS / (words of one + words of the other), 0 where a response has no words.

    ``split`` gives the words of a text.
    """
    from rapidfuzz.distance import LCSseq

    ids: dict[str, int] = {}
    words = [[ids.setdefault(word, len(ids)) for word in split(response)] for response in responses]
    scores = np.zeros((len(words), len(words)))
    for i, one in enumerate(words):
        scores[i, i] = float(bool(one))
        for j in range(i):
            if one and words[j]:
                scores[i, j] = scores[j, i] = 2 * LCSseq.similarity(one, words[j]) / (len(one) + len(words[j]))
    return scores


def ngram_diversity_score(responses: Sequence[str], max_n: int = 4, variant: str = "whole") -> float:
    """Sum over n = 1 … ``max_n`` of distinct / all n-grams: in [0, max_n], higher is more varied.

    Words are what stands between single spaces in the responses joined by spaces, so n-grams run over from one response to the
    next, as published; a character of a script without spaces is a word, unless ``variant="released"``. A length n with no
    n-gram adds 0. Source: Shaib et al. 2024 (arXiv 2403.00553).
    """
    joined = " ".join(responses)
    words = joined.split(" ") if variant == "released" else pieces_of(joined)
    total = 0.0
    for n in range(1, max_n + 1):
        grams = list(zip(*(words[i:] for i in range(n)), strict=False))
        total += len(set(grams)) / len(grams) if grams else 0.0
    return total


def seq_rep(text: str, n: int = 4) -> float:
    """seq-rep-n: the share of a text's n-grams that stood in it before, in [0, 1): 1 − distinct / all; 0 without an n-gram.

    Words as in :func:`ngram_diversity_score`. A loop of the same words is likely and without faults of grammar; this finds it.
    Source: Welleck et al. 2020 (arXiv 1908.04319).
    """
    words = pieces_of(text)
    grams = list(zip(*(words[i:] for i in range(n)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct_k(labels: Sequence[Hashable | None]) -> int:
    """How many different labels k samples have, 1 … k; None (no label) is not counted.

    With labels that say "functionally the same" this is NoveltyBench's distinct_k (Zhang et al. 2025, arXiv 2504.05228). What
    gives the labels (:mod:`~.distinct`, a rule) must be stated next to the number.
    """
    return len({label for label in labels if label is not None})


def ratings(rewards: np.ndarray) -> np.ndarray:
    """Rewards in [-1, 1], as transformed votes have them, on a scale of 1 to 10: 1 + 9·(r + 1)/2; those outside are cut."""
    return 1 + 4.5 * (np.clip(rewards, -1, 1) + 1)


def utility_k(rewards: Sequence[float], classes: Sequence[Hashable | None], patience: float = 0.8) -> float:
    """What k samples in their order are worth to a reader who goes on with probability p and has no use for repetitions.

    .. math:: \\frac{1 - p}{1 - p^k} \\sum_{i=1}^{k} p^{i-1} \\, r_i \\, [\\text{sample } i \\text{ is of a new class}]

    ``rewards`` (k,) on a scale without negative numbers (:func:`ratings`), so that a repetition, worth 0, is the worst;
    ``patience`` in (0, 1]; 1 weighs all samples the same. A class of None (no label) is worth 0. In [0, the largest reward];
    NaN for no sample, and where a reward is. Source: NoveltyBench, arXiv 2504.05228. Raises :class:`ValueError`.
    """
    if not 0 < patience <= 1:
        raise ValueError(f"patience is a probability above 0, not {patience}")
    if len(rewards) != len(classes):
        raise ValueError(f"{len(rewards)} rewards for {len(classes)} classes")
    if not len(rewards):
        return float("nan")
    seen: set[Hashable | None] = {None}
    new = [not (label in seen or seen.add(label)) for label in classes]
    weights = patience ** np.arange(len(rewards))
    return float(np.average(np.asarray(rewards, dtype=float) * new, weights=weights))


def diversity_by_prompt(embeddings: np.ndarray, prompts: Sequence[Hashable]) -> np.ndarray:
    """Mean cosine distance of each response to the other responses of its prompt: ``(n,)`` in [0, 2], NaN where it is alone.

    ``embeddings`` is ``(n, d)``, ``prompts`` the n prompt ids in any order. A prompt's diversity is the mean of its responses.
    All prompts at once: with unit vectors e, the cosines of one response to all of its prompt add up to e · Σe.
    """
    units = unit_vectors(embeddings)
    number = numbered(prompts)
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    sums = np.add.reduceat(units[order], starts, axis=0) if len(units) else units
    sizes = np.bincount(number)[number] if len(units) else np.empty(0)
    cosines = np.einsum("nd,nd->n", units, sums[number]) - np.einsum("nd,nd->n", units, units)
    alone = sizes < 2
    return np.where(alone, np.nan, np.clip(1 - cosines / np.where(alone, 1, sizes - 1), 0, 2))


def diversity_of_good(embeddings: np.ndarray, prompts: Sequence[Hashable], good: np.ndarray) -> np.ndarray:
    """:func:`diversity_by_prompt` among ``good`` responses, bool ``(n,)``; NaN for the others, and for one that is alone.

    A prompt's mean leaves NaN out and is NaN with fewer than two good responses, so each model's is over prompts of its own:
    always to be read beside the share of good responses.
    """
    distances = np.full(len(embeddings), np.nan)
    kept = np.flatnonzero(good)
    distances[kept] = diversity_by_prompt(embeddings[kept], [prompts[row] for row in kept])
    return distances


def numbered(prompts: Sequence[Hashable]) -> np.ndarray:
    """Prompt ids as 0, 1, … in the order of their first row: int ``(n,)``."""
    first: dict[Hashable, int] = {}
    return np.array([first.setdefault(prompt, len(first)) for prompt in prompts], dtype=int)


def duplicates(responses: Sequence[str]) -> int:
    """How many responses repeat an earlier one, word for word."""
    return len(responses) - len(set(responses))
