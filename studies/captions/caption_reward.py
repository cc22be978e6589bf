"""The caption reward: how many votes a caption would get, by n-grams and MiniLM vectors, relative to its contest's others."""

import json
from pathlib import Path

import numpy as np

from diversity_tuning.errors import UserError
from studies.captions.ridge import NGrams, Ridges, fit_ridges

SETTINGS, TERMS, ARRAYS = "caption_reward.json", "ngrams.json", "arrays.npz"
# Penalties, chosen on validation captions (docs/LOG.md).
ALPHAS = {"ngrams_shared": 5.0, "ngrams_own": 5.0, "vectors_shared": 3.0, "vectors_own": 10.0}
KINDS = ("ngrams", "vectors")
SCORES = tuple(f"{kind}_{reach}" for kind in KINDS for reach in ("shared", "own"))  # what the sum is made of


class CaptionReward:
    """Four ridge regressions (:class:`~.ridge.Ridges` of two kinds of features) and the weights that add them up.

    Rewards are predicted standard deviations of log votes within the contest: 0 is a contest's mean. A caption to a prompt that
    was not fitted is scored by what all contests share.
    """

    def __init__(self, prompts: list[str], ngrams: NGrams, ridges: dict[str, Ridges], centres: np.ndarray, encoder):
        self.prompts, self.ngrams, self.ridges = list(prompts), ngrams, ridges
        self.centres = centres  # (contests + 1, d): mean vector of each contest's captions, and of all in the last place
        self.weights = np.ones(len(SCORES))
        self._encoder = encoder  # texts -> float32 (n, d)

    def parts(self, prompts: list[str], responses: list[str]) -> np.ndarray:
        """The scores of the four regressions before they are weighted, ``(n, 4)``, in the order of :data:`SCORES`."""
        number = {prompt: i for i, prompt in enumerate(self.prompts)}
        contests = np.array([number.get(prompt, -1) for prompt in prompts], dtype=int)
        features = {"ngrams": self.ngrams.transform(responses), "vectors": self._encoder(responses) - self.centres[contests]}
        return np.concatenate([self.ridges[kind].scores(features[kind], contests) for kind in KINDS], axis=1)

    def score(self, prompts: list[str], responses: list[str]) -> np.ndarray:
        """Rewards of ``responses[i]`` to ``prompts[i]``: float64 ``(n,)``."""
        return self.parts(prompts, responses) @ self.weights

    def by_kind(self, prompts: list[str], responses: list[str]) -> dict[str, np.ndarray]:
        """``{"reward", "ngrams", "vectors"}``: the reward (n,), and the terms of it that each kind of features gives."""
        parts = self.parts(prompts, responses) * self.weights
        return {"reward": parts.sum(axis=1), "ngrams": parts[:, :2].sum(axis=1), "vectors": parts[:, 2:].sum(axis=1)}

    def save(self, folder: str | Path, semantic_model: str) -> None:
        """Write JSON and arrays; no pickles. ``semantic_model``: name of the encoder, for :func:`load_caption_reward`."""
        folder = Path(folder)
        terms, frequencies = self.ngrams.state()
        weights = dict(zip(SCORES, self.weights.tolist(), strict=True))
        settings = {"prompts": self.prompts, "weights": weights, "semantic_model": semantic_model}
        (folder / SETTINGS).write_text(json.dumps(settings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / TERMS).write_text(json.dumps(terms, ensure_ascii=False) + "\n", encoding="utf-8")
        arrays = {"centres": self.centres} | {f"idf_{i}": values for i, values in enumerate(frequencies)}
        for kind, ridges in self.ridges.items():
            arrays |= {f"{kind}_shared": ridges.shared, f"{kind}_own": ridges.own}
        np.savez_compressed(folder / ARRAYS, **arrays)


def fit_reward(prompts: list[str], responses: list[str], targets: np.ndarray, encoder, alphas=None) -> CaptionReward:
    """Fit the four regressions to n captions; they are added up unweighted until :func:`weigh_parts` is called.

    ``targets`` (n,): standardised votes. ``encoder``: texts -> vectors (n, d), which are centred within the contest.
    ``alphas``: penalty of every regression, by the names of :data:`SCORES`; default :data:`ALPHAS`.
    """
    alphas = ALPHAS | (alphas or {})
    contests = list(dict.fromkeys(prompts))
    number = {prompt: i for i, prompt in enumerate(contests)}
    numbers = np.array([number[prompt] for prompt in prompts])
    ngrams = NGrams.fitted(responses)
    vectors = np.asarray(encoder(responses), dtype=np.float64)
    means = [vectors[numbers == contest].mean(axis=0) for contest in range(len(contests))]
    centres = np.array([*means, vectors.mean(axis=0)], dtype=np.float32)
    features = {"ngrams": ngrams.transform(responses), "vectors": vectors - centres[numbers]}
    ridges = {
        kind: fit_ridges(features[kind], targets, numbers, alphas[f"{kind}_shared"], alphas[f"{kind}_own"]) for kind in KINDS
    }
    return CaptionReward(contests, ngrams, ridges, centres, encoder)


def weigh_parts(reward: CaptionReward, prompts: list[str], responses: list[str], targets: np.ndarray) -> None:
    """Set the four weights by non-negative least squares on captions that the regressions have not seen.

    Where all would be 0, so that every caption had the same reward, a :class:`~diversity_tuning.errors.UserError`, and the
    weights stay as they were.
    """
    from scipy.optimize import nnls

    weights = nnls(reward.parts(prompts, responses), np.asarray(targets, dtype=float))[0]
    if not weights.any():
        raise UserError(f"no part of the reward rises with the votes of the {len(responses)} validation captions; give more")
    reward.weights = weights


def load_caption_reward(folder: str | Path, semantic_model: str, encoder) -> CaptionReward:
    """What :meth:`CaptionReward.save` wrote.

    ``encoder``: texts -> vectors, of ``semantic_model``; another one than it was fitted with is a
    :class:`~diversity_tuning.errors.UserError`.
    """
    folder = Path(folder)
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        terms = json.loads((folder / TERMS).read_text(encoding="utf-8"))
        with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            found = dict(arrays)
    except FileNotFoundError:
        raise UserError(f"{folder}: no caption reward here ({SETTINGS}, {TERMS}, {ARRAYS})") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{folder}: not readable as a caption reward ({error}); delete it and fit it again") from None
    if settings["semantic_model"] != semantic_model:
        raise UserError(f"{folder}: fitted with the encoder {settings['semantic_model']}; give --semantic_model accordingly")
    ridges = {kind: Ridges(found[f"{kind}_shared"], found[f"{kind}_own"]) for kind in KINDS}
    ngrams = NGrams.restored(terms, [found["idf_0"], found["idf_1"]])
    reward = CaptionReward(settings["prompts"], ngrams, ridges, found["centres"], encoder)
    reward.weights = np.array([settings["weights"][name] for name in SCORES])
    return reward
