"""Examples for the roles: well-received responses to the most similar prompts of a corpus, by exact cosine search."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from diversity_tuning.errors import UserError

_BLOCK = 256  # queries compared with the whole corpus at a time
_DIGITS = 6  # of a cosine: what is beyond depends on how the matrices were cut


@dataclass(frozen=True)
class Corpus:
    """The examples there are: n prompts, the responses of each, most popular first, the prompts' unit vectors ``(n, d)``."""

    prompts: list[str]
    responses: list[list[tuple[str, float]]]  # (text, popularity), −∞ where it is not known
    vectors: np.ndarray
    alone: Counter = field(default_factory=Counter)  # response -> prompts that have no other one


def make_corpus(
    prompts: list[str], responses: list[str], popularity: list[float] | None, encode: Callable[[list[str]], np.ndarray]
) -> Corpus:
    """A corpus from n rows, in any order; ``encode`` gives unit vectors."""
    if not prompts:
        raise UserError("the corpus has no rows: give prompts with well-received responses, or leave --corpus out")
    there: dict[str, dict[str, float]] = {}
    for prompt, response, value in zip(prompts, responses, popularity or [-np.inf] * len(prompts), strict=True):
        texts = there.setdefault(prompt, {})
        texts[response] = max(value, texts.get(response, -np.inf))
    names = sorted(there)
    ranked = [sorted(there[name].items(), key=lambda one: (-one[1], one[0])) for name in names]
    alone = Counter(key for texts in ranked if len(keys := {_key(text) for text, _ in texts}) == 1 for key in keys)
    return Corpus(names, ranked, np.asarray(encode(names), dtype=np.float32), alone)


def retrieve(
    prompts: list[str],
    responses: list[str],
    corpus: Corpus,
    encode: Callable[[list[str]], np.ndarray],
    k_search: int = 10,
    k_final: int = 3,
) -> list[list[dict]]:
    """Examples for each of n responses, at most ``k_final``, best first: their text, prompt, similarity and popularity.

    Of the ``k_search`` prompts of the corpus nearest to the response's prompt (cosine, equal ones in the order of their texts)
    each gives its most popular response, and the ``k_final`` most popular of these are taken; without popularity the nearest.
    A response is never its own example, nor is the same text under another prompt, blanks and case aside.
    """
    by_prompt: dict[str, list[int]] = {}
    for row, prompt in enumerate(prompts):
        by_prompt.setdefault(prompt, []).append(row)
    found: list[list[dict]] = [[] for _ in prompts]
    names = list(by_prompt)
    vectors = np.asarray(encode(names), dtype=np.float32)
    for start in range(0, len(names), _BLOCK):
        cosines = np.round(vectors[start : start + _BLOCK] @ corpus.vectors.T, _DIGITS)
        for name, near in zip(names[start : start + _BLOCK], cosines, strict=True):
            rows = by_prompt[name]
            spare = max(corpus.alone[_key(responses[row])] for row in rows)
            order = _nearest(near, k_search + spare)
            for row in rows:
                found[row] = _examples(responses[row], order, near, corpus, k_search, k_final)
    return found


def _nearest(cosines: np.ndarray, k: int) -> list[int]:
    """The rows of the k largest values, largest first, equal ones by row: ``(k,)``."""
    if k < len(cosines):
        least = np.partition(cosines, len(cosines) - k)[len(cosines) - k]
        rows = np.flatnonzero(cosines >= least)
    else:
        rows = np.arange(len(cosines))
    return rows[np.argsort(-cosines[rows], kind="stable")][:k].tolist()


def _examples(response: str, order: list[int], cosines: np.ndarray, corpus: Corpus, k_search: int, k_final: int) -> list[dict]:
    own, best = _key(response), []
    for row in order:
        other = next((one for one in corpus.responses[row] if _key(one[0]) != own), None)
        if other is not None:
            best.append((row, *other))
        if len(best) == k_search:
            break
    best = sorted(best, key=lambda one: -one[2])[:k_final]  # stable: of equally popular ones the nearest
    return [
        {
            "prompt": corpus.prompts[row], "response": text, "similarity": round(float(cosines[row]), _DIGITS),
            "popularity": value if np.isfinite(value) else None,
        }
        for row, text, value in best
    ]  # fmt: skip


def _key(text: str) -> str:
    """What makes two responses the same text."""
    return " ".join(text.split()).casefold()
