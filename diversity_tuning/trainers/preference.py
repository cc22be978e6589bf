"""Objectives with a reference: DPO as TRL has it, DDPO, which gives each pair a weight, and SPL, which has two strengths."""

import math
from dataclasses import dataclass

import torch
import trl
from transformers.hf_argparser import HfArg

from diversity_tuning.errors import UserError
from diversity_tuning.losses import dpo_loss, spl_loss
from diversity_tuning.trainers.pairs import PairConfig, PairTrainer
from diversity_tuning.trainers.weights import PairWeightArguments, WeightedPairsMixin, check_positive, refuse

_SIGMOID_ONLY = ("loss_type", "loss_weights", "use_weighting", "f_divergence_type", "ld_alpha")


@dataclass
class DPOConfig(PairConfig):
    """:class:`trl.DPOConfig` plus the choice of the LM head."""

    def __post_init__(self):
        super().__post_init__()
        check_strengths(self)


@dataclass
class DDPOConfig(PairWeightArguments, DPOConfig):
    """:class:`trl.DPOConfig` plus the pair weights. β is 0.1 and sequences go to 2,048 tokens, as in the paper."""

    max_length: int | None = HfArg(
        default=2048, help="Longest prompt + response in tokens; longer ones are cut. TRL's default is 1024."
    )
    check_first_step: bool = HfArg(
        default=True, help="Stop when the policy differs from its reference before the first update."
    )

    def __post_init__(self):
        super().__post_init__()
        refuse(self, "DDPO weights the sigmoid DPO loss", *_SIGMOID_ONLY)


@dataclass
class SPLConfig(DPOConfig):
    """:class:`trl.DPOConfig` plus α; ``beta`` is the strength of the reference."""

    alpha: float = HfArg(default=0.1, help="α, the strength of the entropy; beta is that of the reference. α = β is DPO.")

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "alpha")
        refuse(self, "SPL has its own loss", "label_smoothing", *_SIGMOID_ONLY)


class DPOTrainer(PairTrainer):
    """:class:`trl.DPOTrainer` that checks its start, and whose sigmoid loss reads ``label_smoothing`` (conservative DPO).

    Before the first update the policy is its reference: the margin h of every pair is 0, and the mean loss is ln 2; or
    training stops. Another loss than the sigmoid alone is TRL's. Equation and source: :func:`diversity_tuning.losses.dpo_loss`.
    """

    _config_class = DPOConfig
    _loss_at_start: float | None = math.log(2)

    def __init__(self, model, ref_model=None, args=None, *others, **kwargs):
        if args is not None:
            check_strengths(args)
        super().__init__(model, ref_model, args, *others, **kwargs)

    def objective(self, chosen, rejected, ref_chosen, ref_rejected):
        return dpo_loss(chosen, rejected, ref_chosen, ref_rejected, self.beta, self.label_smoothing)

    def reward(self, log_prob, ref_log_prob):
        """The reward of a response that the policy stands for, up to a constant of its prompt; logged."""
        return self.beta * (log_prob - ref_log_prob)

    def _compute_loss(self, model, inputs, return_outputs):
        if not self._has_sigmoid_loss_only():
            return super(PairTrainer, self)._compute_loss(model, inputs, return_outputs)
        return super()._compute_loss(model, inputs, return_outputs)

    def _has_sigmoid_loss_only(self) -> bool:
        return _is_sigmoid_alone(self, self.loss_types)

    def _values(self, log_probs, inputs, *references):
        return *log_probs.float().sum(dim=1).chunk(2), *references

    def _log_pairs(self, chosen, rejected, ref_chosen, ref_rejected):
        rewards = self.reward(chosen, ref_chosen), self.reward(rejected, ref_rejected)
        self._log_pair_means(
            {
                "rewards/chosen": rewards[0],
                "rewards/rejected": rewards[1],
                "rewards/margins": rewards[0] - rewards[1],
                "rewards/accuracies": (rewards[0] > rewards[1]).float(),
                "logps/chosen": chosen,
                "logps/rejected": rejected,
            }
        )

    def _check_start(self, losses, weights, values, log_probs):
        chosen, rejected, ref_chosen, ref_rejected = values
        self._check_policy_is_reference(losses, weights, (chosen - ref_chosen) - (rejected - ref_rejected), log_probs)

    def _check_policy_is_reference(self, losses, weights, margins, log_probs) -> None:
        """Before the first update: h = 0 for every pair, up to rounding, and the mean loss is the mean of weight × ln 2."""
        if not self.model.training or self.state.global_step or not getattr(self.args, "check_first_step", True):
            return
        margins, mean = margins.detach().float(), losses.detach().mean()
        expected = mean if self._loss_at_start is None else self._loss_at_start * weights.mean()
        tokens = (log_probs != 0).sum(dim=1).view(2, -1).sum(0)
        # DPO's loss changes by no more than β a nat of margin: what roundings within the bound below make of the mean.
        rounded = float(getattr(self, "beta", 0.0) * (weights * margins.abs()).mean())
        apart = margins.abs() / (self._rounding() * tokens.clamp(min=1).sqrt())
        real = apart[self._is_real(apart) > 0]
        # In bfloat16 one pair may be twice as far off as many are in root mean square; NaN is within nothing.
        most, typical = (1, 1) if self._is_single_precision() else (2, 1 + 1 / max(len(real), 1))
        if not (apart.max() <= most and (not len(real) or real.square().mean().sqrt() <= typical)):
            found = f"a pair has the margin {margins[apart.argmax()].item():.4g} nats between policy and reference, not 0"
        elif not torch.isclose(mean, expected, rtol=0.05, atol=1e-4 + rounded):
            found = f"the mean loss is {mean.item():.4f}, not ln 2 x mean weight = {expected.item():.4f}"
        else:
            return
        raise UserError(
            f"before the first update {found}: the reference log-probabilities are not those of the starting policy. Look for "
            "a reference model or adapter that is not the policy's start, dropout, or reference log-probabilities computed "
            "for another policy"
        )

    def _rounding(self) -> float:
        """What two passes through the same weights may differ by, in nats per square root of the tokens.

        In float32 of any pair, in bfloat16 in root mean square over many pairs; the check allows more for few.
        They may run other kernels (with and without gradients, other padding), whose rounding is independent from token to
        token. A logit of 16 to 32 is known to an eighth in bfloat16. Seen there, per square root of the tokens, on batches of 8
        short pairs (SmolLM2): .01 to .20 in root mean square, single pairs to .40.
        """
        return 0.01 if self._is_single_precision() else 0.25


class DDPOTrainer(WeightedPairsMixin, DPOTrainer):
    """:class:`DPOTrainer` whose only change is the reduction: mean(δ_w · loss) instead of mean(loss).

    The dataset needs a column of weights (:class:`DDPOConfig`, ``weight_column``). Equation and source:
    :func:`diversity_tuning.losses.ddpo_loss`.
    """

    _tag_names = ("trl", "ddpo")
    _name = "DDPO"
    _config_class = DDPOConfig


class SPLTrainer(DPOTrainer):
    """Soft preference learning: :class:`DPOTrainer` with one strength for the policy's entropy and one for the reference.

    Equation and source: :func:`diversity_tuning.losses.spl_loss`.
    """

    _tag_names = ("trl", "spl")
    _name = "SPL"
    _config_class = SPLConfig
    _loss_at_start = None  # (α − β)·Δlog π_ref stays

    def objective(self, chosen, rejected, ref_chosen, ref_rejected):
        return spl_loss(chosen, rejected, ref_chosen, ref_rejected, self.args.alpha, self.beta)

    def reward(self, log_prob, ref_log_prob):
        return self.args.alpha * log_prob - self.beta * ref_log_prob


def _is_sigmoid_alone(settings, types) -> bool:
    """Whether a trainer or its configuration asks for the sigmoid loss and nothing that changes it."""
    changed = settings.use_weighting or settings.ld_alpha is not None or settings.f_divergence_type != "reverse_kl"
    return ([types] if isinstance(types, str) else list(types)) == ["sigmoid"] and not changed


def check_strengths(args: trl.DPOConfig) -> None:
    """Raise a ValueError unless β is above 0 and ε below a half: at a half no label says anything, above it the opposite.

    Prompts are shared by the sigmoid loss alone; others are TRL's.
    """
    if getattr(args, "share_prompts", False) and not _is_sigmoid_alone(args, args.loss_type):
        raise ValueError("share_prompts is of the sigmoid DPO loss; leave it out, or the other loss")
    check_positive(args, "beta")
    if not 0 <= args.label_smoothing < 0.5:
        raise ValueError(f"label_smoothing must be at least 0 and below 0.5, not {args.label_smoothing}")
