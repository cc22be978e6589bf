"""What a resumed run records is of the whole run: mean loss, tokens, time, and how long no evaluation was better."""

import time

from transformers import EarlyStoppingCallback
from transformers.trainer_pt_utils import nested_gather

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
