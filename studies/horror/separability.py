"""How far surface features tell the two sides of preference pairs apart: length, shared tokens, a bag of words."""

import re

import numpy as np

from diversity_tuning.data import schema

_WORD = re.compile(r"[a-z']+")
_FOLDS = 5


def separability(rows: list[dict], seed: int = 0) -> dict[str, float]:
    """Figures over pairs (rows with ``chosen`` and ``rejected`` messages).

    ``words_chosen``, ``words_rejected``: mean words. ``length_accuracy``, ``bag_of_words_accuracy``: balanced accuracy of a
    logistic regression on the number of words, and on counts of words and word pairs, by 5-fold cross-validation with all
    stories of a specification in one fold. ``token_overlap``: mean Jaccard similarity of a pair's sets of words.
    """
    prompts = [row[schema.CHOSEN][0]["content"] for row in rows]
    chosen, rejected = ([row[side][-1]["content"] for row in rows] for side in (schema.CHOSEN, schema.REJECTED))
    words = np.array([[len(text.split()) for text in side] for side in (chosen, rejected)])
    overlap = [_jaccard(one, other) for one, other in zip(chosen, rejected, strict=True)]
    return {
        "pairs": len(rows),
        "words_chosen": round(float(words[0].mean()), 2),
        "words_rejected": round(float(words[1].mean()), 2),
        "token_overlap": round(float(np.mean(overlap)), 3),
        "length_accuracy": _accuracy([str(count) for count in words.ravel()], prompts, "length", seed),
        "bag_of_words_accuracy": _accuracy(chosen + rejected, prompts, "words", seed),
    }


def _jaccard(one: str, other: str) -> float:
    first, second = set(_WORD.findall(one.lower())), set(_WORD.findall(other.lower()))
    return len(first & second) / max(len(first | second), 1)


def _accuracy(texts: list[str], prompts: list[str], features: str, seed: int) -> float:
    """Cross-validated accuracy of telling the first half of ``texts`` (preferred) from the second."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    if features == "length":
        counted = FunctionTransformer(lambda counts: np.array(counts, dtype=float).reshape(-1, 1))
        model = make_pipeline(counted, StandardScaler(), LogisticRegression())
    else:
        counted = CountVectorizer(ngram_range=(1, 2), min_df=2, binary=True, token_pattern=r"[A-Za-z']+")
        model = make_pipeline(counted, LogisticRegression(C=0.1, max_iter=1000))
    labels = np.repeat([1, 0], len(prompts))
    groups = np.unique(np.array(prompts * 2), return_inverse=True)[1]
    folds = GroupKFold(_FOLDS, shuffle=True, random_state=seed)
    return round(float(cross_val_score(model, np.array(texts), labels, groups=groups, cv=folds).mean()), 3)


def describe(figures: dict[str, dict[str, float]]) -> str:
    """The figures of every level as lines of text."""
    lines = []
    for level, found in figures.items():
        lines.append(
            f"{level}: {found['pairs']} pairs; words {found['words_chosen']} (chosen), {found['words_rejected']} (rejected); "
            f"token overlap {found['token_overlap']}; accuracy of length {found['length_accuracy']}, "
            f"of a bag of words {found['bag_of_words_accuracy']}"
        )
    return "\n".join(lines)
