"""Advantages of GRPO from rewards and diversity: pure functions of tensors.

N completions are in groups of G to one prompt, one group after the other.
"""

import torch
from torch import Tensor
from trl.trainer.utils import nanstd

DEVIATIONS = ("none", "reward", "advantage", "darling")
_EPSILON = 1e-4  # TRL's, added to the standard deviation


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

    ``rewards`` may hold NaN (failed), ``finished`` is bool, ``diversity`` (δ, or DARLING's d) is >= 0. In this order:

    1. ``deviation="reward"`` or ``"darling"``: rewards times diversity (:func:`weighted_rewards`);
    2. cut completions get their group's minimum, or ``truncated`` (:func:`with_truncated`);
    3. GRPO's normalisation within the group (:func:`normalised`);
    4. ``deviation="advantage"``:

    .. math:: A'_i = \\delta_i A_i \\text{ where } A_i > 0, \\qquad A'_i = A_i \\text{ elsewhere}

    Fixed points of 4: A ≤ 0; δ = 1; a group of equal rewards (all 0). A completion of δ = 0 that is better than its group is
    not reinforced at all. A' is not centred again: its sum over a group is :math:`\\sum_{A_i > 0} (\\delta_i - 1) A_i`, below 0
    where the good completions are the common ones, so that the group as a whole is then made less likely, and above 0 where
    they are the rare ones. With 1, A sums to 0 in every group without failures.
    """
    if deviation in ("reward", "darling"):
        rewards = weighted_rewards(rewards, diversity, finished, group, origin)
    advantages = normalised(with_truncated(rewards, finished, group, truncated), group, scale)
    if deviation == "advantage":
        advantages = torch.where(advantages > 0, diversity * advantages, advantages)
    return advantages
