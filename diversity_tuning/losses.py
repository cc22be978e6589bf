"""DPO, DDPO, SPL, ORPO and DORPO on tensors of log-probabilities.

Every function takes one number per pair, shape ``(batch,)``, and returns one loss per pair; the objective is their mean.
They know no model, no tokenizer and no file. δ (``delta``) is the deviation of the winning response: ≥ 0, 1 on average
(:mod:`diversity_tuning.deviation`). Source of the weighted objectives: Chung et al. 2025, arXiv 2503.17126, section 3.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def dpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    beta: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """DPO: −log σ(β·h), h = [log π(y_w) − log π_ref(y_w)] − [log π(y_l) − log π_ref(y_l)].

    Rafailov et al. 2023, arXiv 2305.18290, eq. 7. The arguments are log-probabilities summed over the response tokens,
    shape ``(batch,)``. With ``label_smoothing`` ε in [0, 0.5) a label is taken to be flipped with probability ε (cDPO):
    −(1−ε)·log σ(βh) − ε·log σ(−βh). Returns shape ``(batch,)``, each ≥ 0; at policy = reference it is ln 2.
    """
    scaled = beta * ((policy_chosen - ref_chosen) - (policy_rejected - ref_rejected))
    return -(1 - label_smoothing) * F.logsigmoid(scaled) - label_smoothing * F.logsigmoid(-scaled)


def ddpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    beta: float,
    delta: Tensor,
    label_smoothing: float = 0.0,
) -> Tensor:
    """DDPO: δ_w × :func:`dpo_loss`, per pair (arXiv 2503.17126). ``delta`` has shape ``(batch,)``, ≥ 0."""
    return delta * dpo_loss(policy_chosen, policy_rejected, ref_chosen, ref_rejected, beta, label_smoothing)


def spl_loss(
    policy_chosen: Tensor, policy_rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, alpha: float, beta: float
) -> Tensor:
    """SPL, soft preference learning: −log σ(α·Δlog π − β·Δlog π_ref), Δ = of y_w less of y_l; arguments as in :func:`dpo_loss`.

    Source: arXiv 2511.08594; derived here, not read there. DPO's objective E_π[r] − β·KL(π ‖ π_ref) is E_π[r] + β·H(π) +
    β·E_π[log π_ref]: one β for entropy and cross-entropy. With α for the entropy, the Lagrangian of
    max_π E_π[r] + α·H(π) + β·E_π[log π_ref] gives r + β·log π_ref − α·log π = const, so

        π(y) ∝ π_ref(y)^{β/α} · p(y)^{1/α},   p = exp r,   and   r = α·log π − β·log π_ref + const,

    which Bradley and Terry's P(y_w over y_l) = σ(r(y_w) − r(y_l)) turns into the loss. α > β flattens, α < β sharpens:
    the optimum is DPO's at β, to the power β/α. α = β is :func:`dpo_loss`, to the last bit. ``alpha`` and ``beta`` are > 0;
    returns shape ``(batch,)``, each ≥ 0.
    """
    policy = policy_chosen - policy_rejected
    scaled = beta * ((policy_chosen - ref_chosen) - (policy_rejected - ref_rejected)) + (alpha - beta) * policy
    return -F.logsigmoid(scaled)


def log_odds_ratio(avg_chosen: Tensor, avg_rejected: Tensor) -> Tensor:
    """log odds(y_w) − log odds(y_l), odds = p / (1 − p), p = exp(length-averaged log-probability of the response).

    Hong et al. 2024, arXiv 2403.07691, eqs. 4 and 7. The arguments are < 0, shape ``(batch,)``.
    """
    return (avg_chosen - log1mexp(avg_chosen)) - (avg_rejected - log1mexp(avg_rejected))


def odds_ratio_loss(avg_chosen: Tensor, avg_rejected: Tensor) -> Tensor:
    """ORPO's preference term: −log σ(:func:`log_odds_ratio`), shape ``(batch,)``."""
    return -F.logsigmoid(log_odds_ratio(avg_chosen, avg_rejected))


def orpo_loss(chosen_nll: Tensor, avg_chosen: Tensor, avg_rejected: Tensor, lam: float) -> Tensor:
    """ORPO: NLL(y_w) + λ·:func:`odds_ratio_loss`, shape ``(batch,)`` (arXiv 2403.07691, eq. 6)."""
    return chosen_nll + lam * odds_ratio_loss(avg_chosen, avg_rejected)


def dorpo_loss(chosen_nll: Tensor, avg_chosen: Tensor, avg_rejected: Tensor, lam: float, delta: Tensor) -> Tensor:
    """DORPO: δ_w × (NLL(y_w) + λ·odds-ratio term), per pair (arXiv 2503.17126). ``chosen_nll`` ≥ 0, one per pair."""
    return delta * orpo_loss(chosen_nll, avg_chosen, avg_rejected, lam)


def dorpo_loss_released(batch_nll: Tensor, avg_chosen: Tensor, avg_rejected: Tensor, lam: float, delta: Tensor) -> Tensor:
    """What the paper's released code computes: mean(δ)·NLL of the batch + λ·mean(−log σ(δ_w · log odds ratio)).

    ``batch_nll`` is a scalar, the mean over the tokens of the batch. Returns a scalar: here δ is not a weight of a pair.
    """
    preference = -F.logsigmoid(delta * log_odds_ratio(avg_chosen, avg_rejected))
    return delta.mean() * batch_nll + lam * preference.mean()


def log1mexp(x: Tensor) -> Tensor:
    """log(1 − exp(x)) for x < 0 without cancellation: log1p(−exp x) below −ln 2, log(−expm1 x) above (Mächler 2012).

    x = 0 (a response the model is certain of) is taken as the largest number below 0, so that the result stays finite.
    The unused branch is fed a safe value, because ``torch.where`` would let its infinite gradient through as NaN.
    """
    x = x.clamp(max=-torch.finfo(x.dtype).tiny)
    near_zero = x > -0.6931471805599453
    near = torch.log(-torch.expm1(torch.where(near_zero, x, torch.full_like(x, -0.5))))
    far = torch.log1p(-torch.exp(torch.where(near_zero, torch.full_like(x, -1.0), x)))
    return torch.where(near_zero, near, far)
