"""DPO as TRL has it, and DDPO: the same with a weight for each pair."""

import contextlib
import math
from dataclasses import dataclass, field

import torch
import trl

from diversity_tuning.errors import UserError
from diversity_tuning.losses import ddpo_loss
from diversity_tuning.trainers.batches import LengthGroupedPairsMixin
from diversity_tuning.trainers.head_choice import ChosenHeadMixin, LMHeadArguments
from diversity_tuning.trainers.portable import PortablePrecision
from diversity_tuning.trainers.weights import PAIR_WEIGHT, PairWeightArguments, WeightedPairsMixin, check_choices


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
        unsupported = {
            "loss_type": list(self.loss_type) != ["sigmoid"],
            "loss_weights": self.loss_weights is not None,
            "label_smoothing": self.label_smoothing != 0,  # TRL's sigmoid loss does not read it, so DPO would not have it
            "use_weighting": self.use_weighting,
            "f_divergence_type": self.f_divergence_type != "reverse_kl",
            "ld_alpha": self.ld_alpha is not None,
        }
        if any(unsupported.values()):
            names = [name for name, is_set in unsupported.items() if is_set]
            raise ValueError(f"DDPO weights the sigmoid DPO loss; leave {', '.join(names)} at TRL's default")


class _Recorder:
    """Calls the model and keeps the first answer."""

    def __init__(self, model):
        self.model = model
        self.outputs = None

    def __call__(self, **kwargs):
        outputs = self.model(**kwargs)
        self.outputs = self.outputs or outputs
        return outputs


class DPOTrainer(LengthGroupedPairsMixin, ChosenHeadMixin, trl.DPOTrainer):
    """:class:`trl.DPOTrainer` whose only change is a check: before the first update the mean loss is ln 2, or training stops.

    It also makes ``train_sampling_strategy="group_by_length"`` work, and the LM head cheaper on a CPU.
    """

    def _compute_loss(self, model, inputs, return_outputs):
        answer = super()._compute_loss(model, inputs, return_outputs)
        if list(self.loss_types) == ["sigmoid"] and not self.aux_loss_enabled and not self.use_weighting:
            self._check_policy_is_reference(answer[0] if return_outputs else answer, mean_weight=self.loss_weights[0])
        return answer

    def _check_policy_is_reference(self, loss: torch.Tensor, mean_weight: torch.Tensor | float) -> None:
        """Before the first update the policy is the reference, so the mean loss is ln 2 × mean δ, whatever β."""
        if not self.model.training or self.state.global_step or not getattr(self.args, "check_first_step", True):
            return
        loss, expected = loss.detach().float(), math.log(2) * torch.as_tensor(mean_weight, device=loss.device)
        if not torch.isclose(loss, expected, rtol=0.05, atol=1e-4):
            raise UserError(
                f"before the first update the mean loss is {loss.item():.4f}, not ln 2 x mean weight = {expected.item():.4f}: "
                "the reference log-probabilities are not those of the starting policy. Look for a reference model or adapter "
                "that is not the policy's start, dropout, or reference log-probabilities computed for another policy"
            )


class DDPOTrainer(WeightedPairsMixin, DPOTrainer):
    """:class:`trl.DPOTrainer` whose only change is the reduction: mean(δ_w · loss) instead of mean(loss).

    DPOTrainer runs the forward pass, the reference and the metrics; the weighted loss is then taken from the
    log-probabilities of that same pass. The dataset needs a column of weights (:class:`DDPOConfig`, ``weight_column``).
    Equation and source: :func:`diversity_tuning.losses.ddpo_loss`.
    """

    _tag_names = ("trl", "ddpo")
    _name = "DDPO"
    _config_class = DDPOConfig

    def _compute_loss(self, model, inputs, return_outputs):
        inputs = dict(inputs)
        weights = inputs.pop(PAIR_WEIGHT)
        if not self.precompute_ref_logps:
            references = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
            inputs["ref_chosen_logps"], inputs["ref_rejected_logps"] = references
        recorder = _Recorder(model)
        with self._reference_in_batch():
            stock = trl.DPOTrainer._compute_loss(self, recorder, inputs, return_outputs)
        # (2 * batch, length - 1), chosen first, 0 outside the responses -> summed per response
        chosen, rejected = recorder.outputs.log_probs[:, -(inputs["completion_mask"].size(1) - 1) :].sum(dim=1).chunk(2)
        references = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        losses = ddpo_loss(chosen, rejected, *references, self.beta, weights)
        self._check_policy_is_reference(losses.mean(), weights.mean())
        loss = self._mean_over_pairs(losses)
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * recorder.outputs.aux_loss
        self._log_weights(weights)
        return (loss, stock[1]) if return_outputs else loss

    @contextlib.contextmanager
    def _reference_in_batch(self):
        """Let DPOTrainer read the reference log-probabilities from the batch instead of computing them again."""
        before, self.precompute_ref_logps = self.precompute_ref_logps, True
        try:
            yield
        finally:
            self.precompute_ref_logps = before
