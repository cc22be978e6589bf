"""A trainer's numbers are finite, float32 whatever the sharding engine casts, and of the whole run where it was resumed."""

import dataclasses
import math
import time

import torch
from transformers import EarlyStoppingCallback
from transformers.trainer_pt_utils import nested_gather

from diversity_tuning.errors import UserError

_FLOAT32_INPUTS = ("pair_weight", "pair_shares", "ref_chosen_logps", "ref_rejected_logps", "labels")
_ENOUGH = 16  # numbers; that so many are all bfloat16 numbers by chance has a probability below 2**-256
_TOTALS = "Totals"  # among the states that a checkpoint keeps


class TotalsMixin:
    """A :class:`transformers.Trainer` that keeps its sums in its checkpoints; its own begin anew with each launch."""

    def _init_training_state(self, max_steps, *args, **kwargs):
        found = super()._init_training_state(max_steps, *args, **kwargs)
        kept = self.state.stateful_callbacks
        self._launched, self._before = time.time(), kept.get(_TOTALS, {}) if self.state.global_step else {}
        if not self.state.global_step:
            return found
        self.state.compute_steps(self.args, max_steps)  # how often to log and to save is asked for anew
        if hasattr(self, "_total_train_tokens"):
            self._total_train_tokens = self._before.get("tokens", 0)
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, EarlyStoppingCallback):
                vars(callback).update(kept.get(type(callback).__name__, {}).get("attributes", {}))
        return found

    def _save_checkpoint(self, *args, **kwargs):
        pending = nested_gather(self._tr_loss, self.args.parallel_mode).mean().item()
        self.state.stateful_callbacks[_TOTALS] = {
            "steps": self.state.global_step,
            "loss": self._before.get("loss", 0.0) + self._total_loss_scalar + pending,
            "tokens": getattr(self, "_total_train_tokens", 0),
            "seconds": self._before.get("seconds", 0.0) + time.time() - self._launched,
        }
        super()._save_checkpoint(*args, **kwargs)

    def log(self, logs, *args, **kwargs):
        if "train_loss" in logs and self._initial_global_step:
            steps, start = self.state.global_step, self._initial_global_step
            total = self._before.get("loss", 0.0) + logs["train_loss"] * (steps - start)
            logs["train_loss"] = total / steps
            logs["train_runtime"] += self._before.get("seconds", 0.0)
            if self._before.get("steps") != start:  # of a checkpoint without sums
                logs.pop("train_loss")
                logs.pop("train_runtime")
        super().log(logs, *args, **kwargs)


class FiniteMixin(TotalsMixin):
    """A :class:`transformers.Trainer` that stops at the first loss or gradient that is not finite, before it is stepped on."""

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        self._stop_unless_finite("loss", loss)
        return loss

    def _is_single_precision(self) -> bool:
        """Whether the policy is computed in float32 throughout."""
        policy = next(p.dtype for p in self.model.parameters() if p.is_floating_point())
        single = policy == torch.float32 and self.accelerator.mixed_precision == "no"
        return single and torch.get_float32_matmul_precision() == "highest"

    def init_hf_repo(self, *args, **kwargs):
        try:
            super().init_hf_repo(*args, **kwargs)
        except Exception as error:  # of the network, of the hub, of rights
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"--push_to_hub: {self.args.hub_model_id} cannot be made on the hub ({reason})") from None

    def _get_grad_norm(self, model, grad_norm=None):
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if norm is not None and self.accelerator.scaler is None:  # a scaler of float16 skips such steps itself
            self._stop_unless_finite("gradient's norm", norm)
        return norm

    def _stop_unless_finite(self, what: str, value: torch.Tensor | float) -> None:
        if not math.isfinite(float(value)):
            raise UserError(
                f"step {self.state.global_step + 1}: the {what} is {float(value)}, so training stops and nothing is published; "
                "lower --learning_rate, train in bfloat16 or float32, and look whether the base model's weights are finite"
            )


class FullPrecisionMixin(FiniteMixin):
    """A :class:`transformers.Trainer` whose batches and outputs no engine rounds; matrix products stay as they were asked for.

    - accelerate's FSDP 2 casts every module's output to the computing type. A sum of -5,600 nats is then a multiple of 32, a
      token's log-probability has three digits. Here the outputs keep the type that they are computed in: the head's is float32.
    - TRL casts the adapter of a quantized base to bfloat16, where most steps of 5e-6 would round to nothing. Here it stays
      float32.
    - transformers casts all floating-point numbers of a batch to DeepSpeed's type: weights, reference
      log-probabilities and the reward model's votes too.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if getattr(self.model, "is_quantized", False) and not self.is_deepspeed_enabled:
            keep_adapter(self.model)

    def create_accelerator_and_postprocess(self):
        super().create_accelerator_and_postprocess()
        keep_outputs(getattr(self.accelerator.state, "fsdp_plugin", None))

    def _prepare_inputs(self, inputs):
        kept = {name: value.to(self.args.device) for name, value in inputs.items() if name in _FLOAT32_INPUTS}
        rest = super()._prepare_inputs({name: value for name, value in inputs.items() if name not in kept})
        return {**rest, **kept}


def keep_adapter(model: torch.nn.Module) -> None:
    """Make what is trained float32 again; with the digits that were lost where the reference is a copy of it."""
    copies = dict(model.named_parameters())
    for name, parameter in copies.items():
        if parameter.requires_grad and parameter.dtype == torch.bfloat16:
            start = copies.get(name.replace(".default.", ".ref."), parameter)
            parameter.data = start.data.float().clone()


def keep_outputs(plugin) -> None:
    """Take the cast of outputs out of FSDP 2's mixed-precision policy, before a model is sharded with it. None is fine."""
    policy = getattr(plugin, "mixed_precision_policy", None)
    if getattr(policy, "output_dtype", None) is not None:
        plugin.mixed_precision_policy = dataclasses.replace(policy, output_dtype=None)


def check_not_rounded(log_probs: torch.Tensor) -> None:
    """Stop where per-token log-probabilities, any shape, hold half-precision numbers only: something rounded them.

    Zeros are what the head gives outside the responses, so they do not count.
    """
    values = log_probs.detach()
    values = values[values != 0].float()
    if values.numel() < _ENOUGH:
        return
    for dtype in (torch.bfloat16, torch.float16):
        if torch.equal(values, values.to(dtype).float()):
            raise UserError(
                f"the log-probabilities were rounded to {str(dtype).removeprefix('torch.')} before they were summed, so that "
                "margins of long responses would be wrong by whole nats; let FSDP keep float32 outputs (output_dtype: null)"
            )
