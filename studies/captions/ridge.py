"""Ridge regressions of the caption reward: one fit over all contests plus one per contest, and n-gram features."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

WORDS = {"analyzer": "word", "ngram_range": (1, 2), "min_df": 2, "sublinear_tf": True, "token_pattern": r"(?u)\b\w+\b"}
CHARACTERS = {"analyzer": "char_wb", "ngram_range": (2, 4), "min_df": 3, "sublinear_tf": True}


@dataclass
class Ridges:
    """Linear scores of one kind of features: weights ``(d,)`` of all contests, and ``(contests, d)`` of each beside them.

    A caption's score is ``x · shared``, and ``x · own[contest]`` as a second number; both are intercept-free, since votes are
    standardised within the contest.
    """

    shared: np.ndarray
    own: np.ndarray

    def scores(self, features, contests: np.ndarray) -> np.ndarray:
        """``(n, 2)`` of ``features`` (n, d), dense or sparse, and contest numbers (n,); −1 is a contest that is not known."""
        found = np.zeros((features.shape[0], 2))
        found[:, 0] = features @ self.shared
        for contest in np.unique(contests[contests >= 0]):
            rows = np.flatnonzero(contests == contest)
            found[rows, 1] = features[rows] @ self.own[contest]
        return found


def fit_ridges(features, targets: np.ndarray, contests: np.ndarray, alpha: float, own_alpha: float) -> Ridges:
    """Minimise ``Σ (y − x·w)² + α ‖w‖²`` over all captions, and with ``own_alpha`` over each contest's alone.

    ``features`` (n, d), dense or sparse; ``targets`` (n,), mean 0 within each contest; ``contests`` (n,) from 0 up.
    """
    number = int(contests.max()) + 1
    own = np.zeros((number, features.shape[1]), dtype=np.float32)
    for contest in range(number):
        rows = np.flatnonzero(contests == contest)
        own[contest] = _solve(features[rows], targets[rows], own_alpha)
    return Ridges(_solve(features, targets, alpha).astype(np.float32), own)


def _solve(features, targets: np.ndarray, alpha: float) -> np.ndarray:
    """Ridge without intercept, by conjugate gradients where the features are sparse, else directly."""
    from sklearn.linear_model import Ridge

    if sparse.issparse(features):
        model = Ridge(alpha=alpha, solver="sparse_cg", fit_intercept=False, tol=1e-3, max_iter=100)
    else:
        model = Ridge(alpha=alpha, solver="cholesky", fit_intercept=False)
    return model.fit(features, targets).coef_


class NGrams:
    """TF-IDF of word 1- and 2-grams and of character 2- to 4-grams within words, side by side; each kind of unit length."""

    def __init__(self, vectorizers: list):
        self._vectorizers = vectorizers

    @classmethod
    def fitted(cls, texts: list[str]) -> "NGrams":
        """With the n-grams and document frequencies of ``texts``."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        return cls([TfidfVectorizer(**options, dtype=np.float32).fit(texts) for options in (WORDS, CHARACTERS)])

    @classmethod
    def restored(cls, terms: list[list[str]], weights: list[np.ndarray]) -> "NGrams":
        """From what :meth:`state` gave."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        made = []
        for options, words, idf in zip((WORDS, CHARACTERS), terms, weights, strict=True):
            vectorizer = TfidfVectorizer(**options, dtype=np.float32, vocabulary={word: i for i, word in enumerate(words)})
            vectorizer.idf_ = idf
            made.append(vectorizer)
        return cls(made)

    def state(self) -> tuple[list[list[str]], list[np.ndarray]]:
        """(n-grams in the order of their columns, their inverse document frequencies) of both kinds."""
        return [list(one.get_feature_names_out()) for one in self._vectorizers], [one.idf_ for one in self._vectorizers]

    def transform(self, texts: list[str]) -> sparse.csr_matrix:
        """``(n, d)``."""
        return sparse.hstack([one.transform(texts) for one in self._vectorizers]).tocsr()
