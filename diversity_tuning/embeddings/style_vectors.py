"""Style vectors without a neural model: function words, punctuation, casing, sentence length, masked character n-grams.

Content words are masked before anything is counted, so the vectors depend on voice (tense, person, punctuation, casing), not on
topic. Fitted by the command :mod:`diversity_tuning.stylometry`.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diversity_tuning.errors import UserError

FUNCTION_WORDS = tuple(
    """a about above after again against all almost also although always am among an and another any are around as at away
    back be because been before behind being below between both but by can could did do does doing down during each either
    else enough even ever every few for from had has have having he her here hers herself him himself his how however i if in
    into is it its itself just let like many may maybe me might mine more most much must my myself neither never no nobody none
    nor not nothing now of off often on once one only onto or other our ours ourselves out over own perhaps quite rather really
    said same say says shall she should since so some somebody someone something sometimes soon still such than that the their
    theirs them themselves then there these they this those though through thus till to too toward towards under until up upon
    us very was we well were what whatever when where whether which while who whole whom whose why will with within without
    would yes yet you your yours yourself yourselves don't didn't can't couldn't won't wouldn't isn't wasn't i'm i've i'd i'll
    it's that's you're he's she's they're we're there's""".split()
)
PUNCTUATION = tuple(".,;:!?-–—…'\"“”‘’()[]*_/&#\n")
_MARKS = "s ed ing ly er est".split()  # endings that speak of tense and form, not of topic
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_SENTENCE = re.compile(r"[.!?…]+[\s\"”’)]*|\n+")
_QUOTES = re.compile(r"[\"“”]")
_FUNCTION_INDEX = {word: number for number, word in enumerate(FUNCTION_WORDS)}


def mask_content(text: str) -> str:
    """``text`` with digits as 0 and every word that is no function word as its shape: x, Xed, XXX…"""
    return re.sub(r"\d", "0", _WORD.sub(lambda match: _mask(match.group()), text))


def _mask(word: str) -> str:
    if word.lower().replace("’", "'") in _FUNCTION_INDEX:
        return word
    shape = "XX" if len(word) > 1 and word.isupper() else "X" if word[0].isupper() else "x"
    ending = next((mark for mark in reversed(_MARKS) if len(word) > len(mark) + 2 and word.lower().endswith(mark)), "")
    return shape + ending


def style_rates(texts: list[str]) -> np.ndarray:
    """Rates of function words, punctuation, casing and sentence lengths, float64 (n, number of rates)."""
    return np.array([_rates(text) for text in texts]).reshape(len(texts), -1)


def _rates(text: str) -> list[float]:
    words = _WORD.findall(text)
    function = np.zeros(len(FUNCTION_WORDS))
    for word in words:
        place = _FUNCTION_INDEX.get(word.lower().replace("’", "'"))
        if place is not None:
            function[place] += 1
    marks = [text.count(mark) / max(len(text), 1) for mark in PUNCTUATION]
    # Square roots, as the variance of a rate grows with the rate.
    return [*np.sqrt(function / max(len(words), 1)), *np.sqrt(marks), *_shapes(text, words)]


def _shapes(text: str, words: list[str]) -> list[float]:
    sentences = [part.strip() for part in _SENTENCE.split(text) if part.strip()]
    lengths = [len(_WORD.findall(sentence)) for sentence in sentences] or [0]
    count = max(len(words), 1)
    return [
        sum(char.isupper() for char in text) / max(len(text), 1),
        sum(word[0].isupper() for word in words) / count,
        sum(len(word) > 1 and word.isupper() for word in words) / count,
        sum(sentence[0].islower() for sentence in sentences) / max(len(sentences), 1),
        sum(char.isdigit() for char in text) / max(len(text), 1),
        np.log1p(np.mean(lengths)),
        np.log1p(np.std(lengths)),
        np.log1p(max(lengths)),
        np.mean([len(word) for word in words] or [0]) / 5,
        np.sqrt(len(_QUOTES.findall(text)) / count),
        sum(word.lower().endswith("ed") for word in words) / count,
        sum(word.lower().endswith("ing") for word in words) / count,
    ]


@dataclass
class Stylometry:
    """A fitted model: standardised rates and reduced n-grams, put together and reduced to ``dimension``."""

    vocabulary: list[str]  # v masked character n-grams, in the order of ``idf``
    arrays: dict[str, np.ndarray]

    @property
    def dimension(self) -> int:
        return len(self.arrays["axes"])

    def vectors(self, texts: list[str]) -> np.ndarray:
        """Style vectors, float32 (n, dimension), not yet of unit length; the same for a text whatever its neighbours."""
        parts = [self._vectors(texts[start : start + 1000]) for start in range(0, len(texts), 1000)]
        return np.concatenate(parts or [np.zeros((0, self.dimension))]).astype(np.float32)

    def _vectors(self, texts: list[str]) -> np.ndarray:
        arrays = self.arrays
        rates = (style_rates(texts) - arrays["rate_mean"]) / arrays["rate_scale"]
        grams = _vectorizer(self.vocabulary, arrays["idf"]).transform([mask_content(text) for text in texts])
        reduced = (grams @ arrays["gram_axes"].T - arrays["gram_mean"]) / arrays["gram_scale"]
        return (np.hstack([np.clip(rates, -5, 5), reduced]) - arrays["mean"]) @ arrays["axes"].T


def _vectorizer(vocabulary: list[str] | None = None, idf: np.ndarray | None = None, max_features: int | None = None):
    from sklearn.feature_extraction.text import TfidfVectorizer

    options = {"analyzer": "char", "ngram_range": (2, 4), "lowercase": False, "sublinear_tf": True}
    if vocabulary is None:
        return TfidfVectorizer(max_features=max_features, min_df=2, **options)
    vectorizer = TfidfVectorizer(vocabulary=vocabulary, **options)
    vectorizer.idf_ = idf
    return vectorizer


def fit_model(texts: list[str], dimension: int = 64, max_features: int = 5000, seed: int = 42) -> Stylometry:
    """Fit on the texts of the training split. Raises :class:`UserError` when they are too few or all alike."""
    from sklearn.decomposition import PCA, TruncatedSVD

    texts = list(dict.fromkeys(texts))
    if len(texts) < 4:
        raise UserError(f"{len(texts)} distinct texts are too few to fit style vectors; at least 4 are needed")
    rates = style_rates(texts)
    arrays = {"rate_mean": rates.mean(axis=0), "rate_scale": _scale(rates.std(axis=0))}
    vectorizer = _vectorizer(max_features=max_features)
    try:
        grams = vectorizer.fit_transform([mask_content(text) for text in texts])
    except ValueError as error:
        raise UserError(f"no style can be read from these texts ({error})") from None
    svd = TruncatedSVD(max(1, min(dimension, min(grams.shape) - 1)), random_state=seed).fit(grams)
    reduced = grams @ svd.components_.T
    arrays |= {"idf": vectorizer.idf_, "gram_axes": svd.components_, "gram_mean": reduced.mean(axis=0)}
    # One scale for all axes keeps their order of importance; n-grams then weigh as much as all rates together.
    arrays["gram_scale"] = _scale(np.sqrt(reduced.var(axis=0).sum() / rates.shape[1]))
    standard = np.clip((rates - arrays["rate_mean"]) / arrays["rate_scale"], -5, 5)
    both = np.hstack([standard, (reduced - arrays["gram_mean"]) / arrays["gram_scale"]])
    pca = PCA(min(dimension, len(texts) - 1, both.shape[1]), random_state=seed, svd_solver="full").fit(both)
    arrays |= {"mean": pca.mean_, "axes": pca.components_}
    vocabulary = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.get)
    return Stylometry(vocabulary, arrays)


def _scale(values):
    return np.where(values > 1e-12, values, 1.0)


def save_model(model: Stylometry, folder: str | Path) -> None:
    """Write ``vocabulary.json`` and ``arrays.npz``: no pickles."""
    (Path(folder) / "vocabulary.json").write_text(json.dumps(model.vocabulary, ensure_ascii=False), encoding="utf-8")
    np.savez(Path(folder) / "arrays.npz", allow_pickle=False, **model.arrays)


def load_model(folder: str | Path) -> Stylometry:
    """Read what :func:`save_model` wrote; the vectors are exactly the same."""
    try:
        vocabulary = json.loads((Path(folder) / "vocabulary.json").read_text(encoding="utf-8"))
        with np.load(Path(folder) / "arrays.npz", allow_pickle=False) as arrays:
            return Stylometry(vocabulary, dict(arrays))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{folder}: no stylometry model ({error}); make one: python -m diversity_tuning.stylometry fit"
        ) from None
