"""DPO as TRL has it, and DDPO: the same with a weight for each pair."""

import contextlib
import math
from dataclasses import dataclass, field

import torch
import trl

from diversity_tuning.errors import UserError
from diversity_tuning.losses import ddpo_loss
from diversity_tuning.trainers.batches import ExactEvaluationMixin, LengthGroupedPairsMixin
from diversity_tuning.trainers.head_choice import ChosenHeadMixin, LMHeadArguments
from diversity_tuning.trainers.portable import PortablePrecision
from diversity_tuning.trainers.precision import FullPrecisionMixin, check_not_rounded
from diversity_tuning.trainers.weights import PAIR_WEIGHT, PairWeightArguments, WeightedPairsMixin, check_choices, refuse


@dataclass
class DPOConfig(LMHeadArguments, PortablePrecision, trl.DPOConfig):
    """:class:`trl.DPOConfig` plus the choice of the LM head."""


@dataclass
class DDPOConfig(PairWeightArguments, DPOConfig):
    """:class:`trl.DPOConfig` plus the pair weights. β is 0.1 and sequences go to 2,048 tokens, as in the paper."""

    max_length: int | None = field(
        default=2048, metadata={"help": "Longest prompt + response in tokens; longer ones are cut. TRL's default is 1024."}
    )
    check_first_step: bool = field(
        default=True,
        metadata={"help": "Stop when the policy differs from its reference before the first update."},
    )

    def __post_init__(self):
        super().__post_init__()
        check_choices(self, "weight_normalisation")
        check_smoothing(self)
        refuse(
            self,
            "DDPO weights the sigmoid DPO loss",
            *("loss_type", "loss_weights", "use_weighting", "f_divergence_type", "ld_alpha"),
        )


class _Recorder:
    """Calls the model and keeps the first answer."""

    def __init__(self, model):
        self.model = model
        self.outputs = None

    def __call__(self, **kwargs):
        outputs = self.model(**kwargs)
        self.outputs = self.outputs or outputs
        return outputs


class DPOTrainer(FullPrecisionMixin, ExactEvaluationMixin, LengthGroupedPairsMixin, ChosenHeadMixin, trl.DPOTrainer):
    """:class:`trl.DPOTrainer` that checks its start, and whose sigmoid loss reads ``label_smoothing`` (conservative DPO).

    Before the first update the policy is its reference: the margin h of every pair is 0, and the mean loss is ln 2; or
    training stops. ``train_sampling_strategy="group_by_length"`` works, and the LM head is cheaper on a CPU.
    Another loss than the sigmoid alone is TRL's. Equation and source: :func:`diversity_tuning.losses.dpo_loss`.
    """

    def __init__(self, model, ref_model=None, args=None, *others, **kwargs):
        if args is not None:
            check_smoothing(args)
        super().__init__(model, ref_model, args, *others, **kwargs)

    def _compute_loss(self, model, inputs, return_outputs):
        if not self._has_sigmoid_loss_only():
            return super()._compute_loss(model, inputs, return_outputs)
        inputs = dict(inputs)
        weights = self._take_weights(inputs)
        if not self.precompute_ref_logps:
            references = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
            inputs["ref_chosen_logps"], inputs["ref_rejected_logps"] = references
        recorder = _Recorder(model)
        with self._reference_in_batch():
            stock = super()._compute_loss(recorder, inputs, return_outputs)
        # (2 * pairs, length - 1), chosen first, 0 outside the responses -> summed per response
        log_probs = recorder.outputs.log_probs[:, -(inputs["completion_mask"].size(1) - 1) :]
        chosen, rejected = log_probs.float().sum(dim=1).chunk(2)
        references = inputs["ref_chosen_logps"].float(), inputs["ref_rejected_logps"].float()
        losses = ddpo_loss(chosen, rejected, *references, self.beta, weights, self.label_smoothing)
        margins = (chosen - references[0]) - (rejected - references[1])
        self._check_policy_is_reference(losses, weights, margins, log_probs)
        loss = self._mean_over_pairs(losses)
        rewards = self.beta * (chosen - references[0]), self.beta * (rejected - references[1])
        self._count_pair_metrics(
            {
                "rewards/chosen": rewards[0],
                "rewards/rejected": rewards[1],
                "rewards/margins": rewards[0] - rewards[1],
                "rewards/accuracies": (rewards[0] > rewards[1]).float(),
                "logps/chosen": chosen,
                "logps/rejected": rejected,
            }
        )
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * recorder.outputs.aux_loss
        return (loss, stock[1]) if return_outputs else loss

    def _has_sigmoid_loss_only(self) -> bool:
        changed = self.use_weighting or self.ld_alpha is not None or self.f_divergence_type != "reverse_kl"
        return list(self.loss_types) == ["sigmoid"] and not changed

    def _take_weights(self, inputs: dict) -> torch.Tensor:
        """Take the weights out of the batch; float32, shape ``(pairs,)``. Here all are that of TRL's only loss."""
        return torch.full((inputs["input_ids"].size(0) // 2,), float(self.loss_weights[0]), device=inputs["input_ids"].device)

    def _check_policy_is_reference(self, losses, weights, margins, log_probs) -> None:
        """Before the first update: the mean loss is ln 2 × mean δ whatever β, and h = 0 for every pair, up to rounding."""
        if not self.model.training or self.state.global_step or not getattr(self.args, "check_first_step", True):
            return
        check_not_rounded(log_probs)
        margins, mean, expected = margins.detach().float(), losses.detach().mean(), math.log(2) * weights.mean()
        tokens = (log_probs != 0).sum(dim=1).view(2, -1).sum(0)
        worst = (margins.abs() / (self._rounding() * tokens.clamp(min=1).sqrt())).argmax()
        if margins[worst].abs() > self._rounding() * tokens[worst].clamp(min=1).sqrt() or not torch.isfinite(margins).all():
            found = f"a pair has the margin {margins[worst].item():.4g} nats between policy and reference, not 0"
        elif not torch.isclose(mean, expected, rtol=0.05, atol=1e-4):
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

        They may run other kernels (with and without gradients, other padding), whose rounding is independent from token to
        token. A logit of 16 to 32 is known to an eighth in bfloat16.
        """
        policy = next(p.dtype for p in self.model.parameters() if p.is_floating_point())
        single = policy == torch.float32 and self.accelerator.mixed_precision == "no"
        return 0.01 if single and torch.get_float32_matmul_precision() == "highest" else 0.25

    @contextlib.contextmanager
    def _reference_in_batch(self):
        """Let TRL read the reference log-probabilities from the batch instead of computing them again."""
        before, self.precompute_ref_logps = self.precompute_ref_logps, True
        try:
            yield
        finally:
            self.precompute_ref_logps = before


class DDPOTrainer(WeightedPairsMixin, DPOTrainer):
    """:class:`DPOTrainer` whose only change is the reduction: mean(δ_w · loss) instead of mean(loss).

    TRL runs the forward pass, the reference and the metrics; the weighted loss is taken from the log-probabilities of that same
    pass. The dataset needs a column of weights (:class:`DDPOConfig`, ``weight_column``).
    Equation and source: :func:`diversity_tuning.losses.ddpo_loss`.
    """

    _tag_names = ("trl", "ddpo")
    _name = "DDPO"
    _config_class = DDPOConfig

    def _take_weights(self, inputs):
        weights = inputs.pop(PAIR_WEIGHT)
        self._log_weights(weights)
        return weights


def check_smoothing(args: DPOConfig) -> None:
    """Raise a ValueError unless ε is below a half: at a half no label says anything, above it all say the opposite."""
    if not 0 <= args.label_smoothing < 0.5:
        raise ValueError(f"label_smoothing must be at least 0 and below 0.5, not {args.label_smoothing}")
