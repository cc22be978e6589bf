"""DDPO: TRL's DPOTrainer with a weight for each pair."""

import contextlib
import math
from dataclasses import dataclass, field

import torch
from trl import DPOConfig, DPOTrainer

from diversity_tuning.losses import ddpo_loss
from diversity_tuning.trainers.weights import PAIR_WEIGHT, PairWeightArguments, WeightedPairsMixin


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
        unsupported = {
            "loss_type": list(self.loss_type) != ["sigmoid"],
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


class DDPOTrainer(WeightedPairsMixin, DPOTrainer):
    """:class:`trl.DPOTrainer` whose only change is the reduction: mean(δ_w · loss) instead of mean(loss).

    DPOTrainer runs the forward pass, the reference and the metrics; the weighted loss is then taken from the
    log-probabilities of that same pass. The dataset needs a column of weights (:class:`DDPOConfig`, ``weight_column``).
    Equation and source: :func:`diversity_tuning.losses.ddpo_loss`.
    """

    _tag_names = ("trl", "ddpo")
    _name = "DDPO"

    def _compute_loss(self, model, inputs, return_outputs):
        inputs = dict(inputs)
        weights = inputs.pop(PAIR_WEIGHT)
        if not self.precompute_ref_logps:
            references = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
            inputs["ref_chosen_logps"], inputs["ref_rejected_logps"] = references
        recorder = _Recorder(model)
        with self._reference_in_batch():
            stock = super()._compute_loss(recorder, inputs, return_outputs)
        # (2 * batch, length - 1), chosen first, 0 outside the responses -> summed per response
        chosen, rejected = recorder.outputs.log_probs[:, -(inputs["completion_mask"].size(1) - 1) :].sum(dim=1).chunk(2)
        loss = self._weighted_loss((chosen, rejected), inputs, weights)
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * recorder.outputs.aux_loss
        self._log_weights(weights)
        return (loss, stock[1]) if return_outputs else loss

    def _weighted_loss(self, policy_logps, inputs, weights):
        references = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        losses = ddpo_loss(*policy_logps, *references, self.beta, weights, self.label_smoothing)
        loss = losses.mean()
        if self.args.check_first_step and self.model.training and self.state.global_step == 0:
            self._check_policy_is_reference(loss.detach(), weights)
        return loss

    @contextlib.contextmanager
    def _reference_in_batch(self):
        """Let DPOTrainer read the reference log-probabilities from the batch instead of computing them again."""
        before, self.precompute_ref_logps = self.precompute_ref_logps, True
        try:
            yield
        finally:
            self.precompute_ref_logps = before

    def _check_policy_is_reference(self, loss: torch.Tensor, weights: torch.Tensor) -> None:
        """Before the first update the policy is the reference, so the mean loss is ln 2 × mean δ."""
        expected = math.log(2) * weights.mean()
        if not torch.isclose(loss, expected, rtol=0.05, atol=1e-4):
            raise RuntimeError(
                f"before the first update the mean loss is {loss.item():.4f}, not ln 2 x mean weight = {expected.item():.4f}: "
                "the reference log-probabilities are not those of the starting policy (another adapter, dropout, or "
                "stale precomputed values)"
            )
