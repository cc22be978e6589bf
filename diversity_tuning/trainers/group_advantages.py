"""Diversity within a group, and advantages of GRPO from rewards and diversity: pure functions of arrays and tensors.

N completions are in groups of G to one prompt, one group after the other. A new way to weigh them is a function of
:class:`Group` and an entry of :data:`DEVIATIONS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from trl.trainer.utils import nanstd

from diversity_tuning.deviation import response_weights
from diversity_tuning.partition import near_classes, share_outside_class, unit_vectors
from diversity_tuning.words import pieces_of

_EPSILON = 1e-4  # TRL's, added to the standard deviation
DARLING_FLOOR = 0.1  # of its published code: a completion whose class holds the whole group keeps a tenth of its reward


@dataclass(frozen=True)
class Group:
    """The finished completions of one prompt, n >= 2, and the settings of what is made of them.

    ``vectors``: one (n, d) array for each encoder. ``power`` and ``minimum`` are those of δ
    (:func:`diversity_tuning.deviation.response_weights`); other diversities are taken to that power and raised to that minimum.
    ``threshold``: cosine distance up to which two are of one class. ``share``: λ of :func:`unique_share`.
    """

    texts: list[str]
    vectors: list[np.ndarray]
    power: float = 1.0
    minimum: float = 0.0
    threshold: float | None = None
    share: float = 0.6

    @property
    def classes(self) -> np.ndarray:
        """The class of each completion by the first encoder, int (n,)."""
        return near_classes(self.vectors[0], self.threshold)


def deltas(group: Group) -> np.ndarray:
    """δ of each completion, (n,), mean 1 (arXiv 2503.17126); 1 where no encoder is given."""
    if not group.vectors:
        return np.ones(len(group.texts))
    return response_weights(group.texts, group.vectors, power=group.power, minimum=group.minimum)


def outside_class(group: Group) -> np.ndarray:
    """DARLING's share of the others that are of another class, (n,) in [.1, 1] (arXiv 2509.02534)."""
    return share_outside_class(group.classes, DARLING_FLOOR)


def inverse_similarity(group: Group) -> np.ndarray:
    """DRA's weight: one over how much of the group lies near, (n,) in [1/n, 1], by the first encoder.

    .. math:: w_i = \\frac{1}{1 + \\sum_{j \\ne i} \\max(0, \\cos(e_i, e_j))}

    Source: DRA-GRPO, arXiv 2505.09655. Cosines below 0 count as 0 here, so that no weight is negative or infinite.
    n copies have 1/n each, completions at right angles 1.
    """
    units = unit_vectors(group.vectors[0])
    cosines = np.maximum(units @ units.T, 0)
    np.fill_diagonal(cosines, 1.0)
    return 1 / cosines.sum(axis=1)


def unique_share(group: Group) -> np.ndarray:
    """DPWriter's factor, (n,) in [1 − λ, 1]: what a completion adds in word sequences that no other one of its group has.

    .. math:: w_i = (1 - \\lambda) + \\lambda c_i, \\quad c = \\operatorname{minmax}(u), \\quad
        u_i = \\frac{|G_i \\setminus \\bigcup_{j \\ne i} G_j|}{\\text{words of } i}

    G are the different sequences of 2, 3 and 4 words. r·w is (1 − λ)·r + λ·r·c. c is 1 for all where all u are equal.
    Source: arXiv 2601.09609 and its released reward, where λ = .6; needs no encoder.
    """
    words = [[word for word in pieces_of(" ".join(text.split())) if word.strip()] for text in group.texts]
    grams = [{tuple(one[i : i + n]) for n in (2, 3, 4) for i in range(len(one) - n + 1)} for one in words]
    others = [set().union(*grams[:i], *grams[i + 1 :]) for i in range(len(grams))]
    unique = np.array([len(own - rest) / max(len(one), 1) for own, rest, one in zip(grams, others, words, strict=True)])
    spread = np.ptp(unique)
    contribution = (unique - unique.min()) / spread if spread > 0 else np.ones(len(unique))
    return (1 - group.share) + group.share * contribution


def rarity(group: Group) -> np.ndarray:
    """One over the number of completions in each one's class, (n,) in [1/n, 1] ("Rewarding the Rare", arXiv 2601.08763)."""
    classes = group.classes
    return 1 / np.bincount(classes)[classes]


@dataclass(frozen=True)
class Deviation:
    """A way to let diversity within a group count.

    ``diversity``: :class:`Group` to (n,), at least 0. ``multiplies``: the ``"reward"``, the ``"advantage"``, the ``"gain"`` (an
    advantage above 0) or, empty, nothing. ``origin`` is the default of :func:`weighted_rewards`. ``needs``: encoders, classes.
    """

    diversity: Callable[[Group], np.ndarray]
    multiplies: str = ""
    origin: str = "minimum"
    needs: tuple[str, ...] = ("encoders",)

    def of(self, group: Group) -> np.ndarray:
        """The diversity of each completion in its power and raised to its minimum, (n,)."""
        found = self.diversity(group)
        return found if self.diversity is deltas else np.maximum(found**group.power, group.minimum)


DEVIATIONS = {
    "none": Deviation(deltas, needs=()),
    "reward": Deviation(deltas, "reward"),
    "advantage": Deviation(deltas, "gain"),
    "darling": Deviation(outside_class, "reward", "zero", ("encoders", "classes")),
    "dra": Deviation(inverse_similarity, "reward", "zero"),
    "dpwriter": Deviation(unique_share, "reward", "zero", ()),
    "rare": Deviation(rarity, "advantage", needs=("encoders", "classes")),
}


def inverted(rewards: Tensor, diversity: Tensor, finished: Tensor, deviation: str, origin: str) -> Tensor:
    """Which completions a product of reward and diversity turns round, bool (N,): negative ones, weighed from zero.

    Of two equally bad completions the product then prefers the common one: its smaller factor brings it nearer to 0.
    """
    weighed = DEVIATIONS[deviation].multiplies == "reward" and origin == "zero"
    return (rewards < 0) & (diversity != 1) & finished if weighed else torch.zeros_like(finished)


def combined_rewards(per_function: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum over reward functions, (N, F) and (F,) to (N,); NaN where one that counts has failed.

    TRL leaves a failed function out of the sum, which scores the completion as if that function had said 0. Here the completion
    has no reward, so that it leaves its group. A function of weight 0 is only logged, and may fail.
    """
    counts = weights != 0
    return (per_function[:, counts] * weights[counts]).sum(dim=1)


def weighted_rewards(rewards: Tensor, diversity: Tensor, finished: Tensor, group: int, origin: str = "minimum") -> Tensor:
    """Rewards times diversity, taken from an origin: :math:`r'_i = o + w_i (r_i - o)`; all (N,).

    ``origin`` is ``"zero"``, so that :math:`r' = w r`, or ``"minimum"``: o is the smallest reward of the group's finished
    completions, so that no factor is negative and rewards may be shifted by any constant. Fixed points: a completion of w = 1
    keeps its reward; one whose reward is o keeps it whatever its w. NaN (failed) stays NaN.
    """
    if origin == "zero":
        return rewards * diversity
    lowest = _minimum(rewards, finished, group)
    return lowest + diversity * (rewards - lowest)


def with_truncated(rewards: Tensor, finished: Tensor, group: int, value: float | None) -> Tensor:
    """Rewards (N,) in which every completion that was cut at the length limit has ``value``.

    None: the smallest reward of its group's finished completions, or NaN (no part in the group) where none is finished and
    scored. A cut completion's own reward, of a text without an end, is never used.
    """
    lowest = _minimum(rewards, finished, group) if value is None else torch.full_like(rewards, value)
    return torch.where(finished, rewards, lowest)


def _minimum(rewards: Tensor, finished: Tensor, group: int) -> Tensor:
    """Per completion, the smallest reward among the finished and scored ones of its group, or NaN; (N,)."""
    usable = torch.where(finished & ~rewards.isnan(), rewards, torch.inf).view(-1, group)
    lowest = usable.min(dim=1).values
    return lowest.masked_fill(lowest.isinf(), torch.nan).repeat_interleave(group)


def normalised(rewards: Tensor, group: int, scale: str = "group") -> Tensor:
    """GRPO's advantages, (N,) to (N,): (r − mean of the group) / (standard deviation + 1e-4), as TRL computes them.

    ``scale``: the standard deviation is that of the ``"group"``, of the ``"batch"`` or 1 (``"none"``). NaN rewards count in
    neither, and their advantage is 0. So is that of a completion whose group has no other reward.
    """
    grouped = rewards.view(-1, group)
    centred = (grouped - grouped.nanmean(dim=1, keepdim=True)).view(-1)
    if scale == "group":
        centred = centred / (nanstd(grouped, dim=1).repeat_interleave(group) + _EPSILON)
    elif scale == "batch":
        centred = centred / (nanstd(rewards) + _EPSILON)
    return torch.nan_to_num(centred, nan=0.0)


def group_advantages(
    rewards: Tensor, finished: Tensor, diversity: Tensor, group: int,
    deviation: str = "none", origin: str = "minimum", truncated: float | None = None, scale: str = "group",
) -> Tensor:  # fmt: skip
    """The advantages A of N completions in groups of ``group``; all (N,), float; source of GRPO: arXiv 2402.03300.

    ``rewards`` may hold NaN (failed), ``finished`` is bool, ``diversity`` (of :data:`DEVIATIONS`) is >= 0. In this order:

    1. a deviation that multiplies the reward: rewards times diversity (:func:`weighted_rewards`);
    2. cut completions get their group's minimum, or ``truncated`` (:func:`with_truncated`);
    3. GRPO's normalisation within the group (:func:`normalised`);
    4. one that multiplies the advantage (``"rare"``): :math:`A'_i = w_i A_i`; one that multiplies the gain:

    .. math:: A'_i = \\delta_i A_i \\text{ where } A_i > 0, \\qquad A'_i = A_i \\text{ elsewhere}

    Fixed points of the gain: A ≤ 0; δ = 1; a group of equal rewards (all 0). A completion of δ = 0 that is better than its
    group is not reinforced at all. A' is not centred: its sum over a group, :math:`\\sum_{A_i > 0} (\\delta_i - 1) A_i`,
    is below 0 where the good completions are the common ones, so that the whole group is then made less likely, and above 0
    where they are the rare ones. With 1, A sums to 0 in every group without failures.
    """
    multiplies = DEVIATIONS[deviation].multiplies
    if multiplies == "reward":
        rewards = weighted_rewards(rewards, diversity, finished, group, origin)
    advantages = normalised(with_truncated(rewards, finished, group, truncated), group, scale)
    if multiplies == "advantage":
        advantages = diversity * advantages
    elif multiplies == "gain":
        advantages = torch.where(advantages > 0, diversity * advantages, advantages)
    return advantages
