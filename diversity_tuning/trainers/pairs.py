"""One trainer of preference pairs: log-probabilities of both responses → objective of a pair → × weight → mean.

An objective is a subclass with ``objective``, a pure function of :mod:`diversity_tuning.losses`, and a configuration.
"""

from dataclasses import dataclass

import numpy as np
import torch
import trl
from datasets import Dataset, concatenate_datasets
from transformers.hf_argparser import HfArg

from diversity_tuning.errors import UserError
from diversity_tuning.ranges import TrainingRanges
from diversity_tuning.trainers.batches import PAIR_SHARES, ExactEvaluationMixin, LengthGroupedPairsMixin
from diversity_tuning.trainers.head_choice import LMHeadArguments, PairHeadMixin, check_head
from diversity_tuning.trainers.portable import PortablePrecision, chat_tokenizer
from diversity_tuning.trainers.precision import FullPrecisionMixin, check_not_rounded
from diversity_tuning.trainers.shared_prompts import SharedPrompts, check_sharing, compare_sharing
from diversity_tuning.trainers.weights import PAIR_WEIGHT

_REFERENCES = ("ref_chosen_logps", "ref_rejected_logps")
_NOT_FOR_THE_MODEL = {"completion_mask", *_REFERENCES, PAIR_WEIGHT, PAIR_SHARES}


@dataclass
class PairConfig(TrainingRanges, LMHeadArguments, PortablePrecision, trl.DPOConfig):
    """:class:`trl.DPOConfig` plus the choice of the LM head, and of one pass over each pair's prompt."""

    share_prompts: bool = HfArg(
        default=False,
        help="Run what prompts have in common once for all responses of a batch; pays where responses are not much longer. "
        "Needs sdpa and layers that attend to the whole text. Log-probabilities are the same up to the order of summation.",
    )


class PairTrainer(FullPrecisionMixin, ExactEvaluationMixin, LengthGroupedPairsMixin, PairHeadMixin, trl.DPOTrainer):
    """A :class:`trl.DPOTrainer` of which the models, data, reference and logs are TRL's, and the loss is ``objective``'s.

    A subclass gives ``_config_class``, ``_values`` and ``objective``. ``train_sampling_strategy="group_by_length"`` works, and
    the LM head is cheaper on a CPU.
    """

    _config_class = PairConfig
    has_reference = True
    _head_checked = False

    def __init__(self, model, ref_model=None, args=None, *others, **kwargs):
        args = args or self._config_class()
        self._sharing_checked: set[int] = set()  # models by their id
        if isinstance(model, str) and len(others) < 4 and kwargs.get("processing_class") is None:
            kwargs["processing_class"] = chat_tokenizer(model, args, kwargs.get("train_dataset"))
        super().__init__(model, ref_model, args, *others, **kwargs)

    def objective(self, *values: torch.Tensor) -> torch.Tensor:
        """The loss of each pair, shape ``(pairs,)``, from what ``_values`` gives."""
        raise NotImplementedError

    def _values(self, log_probs: torch.Tensor, inputs: dict, *references: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the objective reads, ``(pairs,)`` each, from the log-probabilities of the targets and of the reference."""
        raise NotImplementedError

    def _log_pairs(self, *values: torch.Tensor) -> None:
        """Log what the objective read."""

    def _check_start(self, losses, weights, values, log_probs) -> None:
        """Before the first update: stop where the objective does not begin where it should."""

    def compute_loss(self, model, inputs, *args, **kwargs):
        if self.model.training and not (self.state.global_step or self._head_checked):
            self._head_checked = True
            with self._head(inputs["input_ids"]):
                check_head(self.model, _for_the_model(inputs), self._is_single_precision())
        self._check_sharing(self.model, inputs)
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _precompute_ref_logps(self, dataset, name, batch_size):
        """TRL's, in batches of pairs of like prompts, where prompts are shared, or of like length: less is read, or padded."""
        if not isinstance(dataset, Dataset):
            return super()._precompute_ref_logps(dataset, name, batch_size)
        sides = zip(*(dataset[column] for column in ("prompt_ids", "chosen_ids", "rejected_ids")), strict=True)
        sharing = getattr(self.args, "share_prompts", False)
        keys = [(p if sharing else [], -len(p) - max(len(c), len(r))) for p, c, r in sides]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        found = super()._precompute_ref_logps(dataset.select(order), name, batch_size).select_columns(list(_REFERENCES))
        return concatenate_datasets([dataset, found.select(np.argsort(order))], axis=1)

    def compute_ref_log_probs(self, model, inputs):
        self._check_sharing(model, inputs)
        return super().compute_ref_log_probs(self._reading(model), inputs)

    def _reading(self, model):
        """What log-probabilities are asked of: the model, or what runs each prompt once in it."""
        if not getattr(self.args, "share_prompts", False):  # a configuration of TRL's
            return model
        return SharedPrompts(model)

    def _check_sharing(self, model, inputs: dict) -> None:
        """Before the first log-probabilities of a model or reference: stop where they would not be those of whole rows."""
        if not getattr(self.args, "share_prompts", False) or id(model) in self._sharing_checked:
            return
        self._sharing_checked.add(id(model))
        check_sharing(self.accelerator.unwrap_model(model), self.aux_loss_enabled, self.args.max_length)
        with self._head(inputs["input_ids"]), self.accelerator.autocast():
            compare_sharing(model, SharedPrompts(model), inputs, self._is_single_precision())

    def _compute_loss(self, model, inputs, return_outputs):
        inputs = dict(inputs)
        weights = self._take_weights(inputs)
        references = self._references(inputs) if self.has_reference else ()
        log_probs, router_loss = self._log_probs(model, inputs)
        values = self._values(log_probs, inputs, *references)
        losses = weights * self.objective(*values)
        self._check_start(losses, weights, values, log_probs)
        self._log_pairs(*(value.detach() for value in values))
        loss = self._reduce(losses, values, weights, inputs)
        if router_loss is not None:
            loss = loss + self.router_aux_loss_coef * router_loss
        if not return_outputs:
            return loss
        with torch.no_grad():
            return loss, model(**_for_the_model(inputs))

    def _take_weights(self, inputs: dict) -> torch.Tensor:
        """Take the weights out of the batch; float32, shape ``(pairs,)``. Here all are that of TRL's only loss."""
        return torch.full((inputs["input_ids"].size(0) // 2,), float(self.loss_weights[0]), device=inputs["input_ids"].device)

    def _references(self, inputs: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities of both responses under the reference, ``(pairs,)`` each."""
        if self.precompute_ref_logps:
            return tuple(inputs[name].float() for name in _REFERENCES)
        reference = self.model if self.ref_model is None else self.ref_model  # a compiled one has no truth value
        chosen, rejected = self.compute_ref_log_probs(reference, inputs)
        return chosen.float(), rejected.float()

    def _targets(self, inputs: dict) -> torch.Tensor:
        """The tokens whose log-probability is wanted, shape ``(2 * pairs, length)``, chosen sides first."""
        return inputs["completion_mask"].bool()

    def _log_probs(self, model, inputs: dict) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Log-probability of every target, shape ``(2 * pairs, length - 1)``, chosen first, 0 elsewhere; and the router's loss.

        The second is a scalar for a mixture-of-experts model that has one, else None.
        """
        ids = inputs["input_ids"]
        router = {"output_router_logits": True} if self.aux_loss_enabled else {}
        labels = ids.masked_fill(~self._targets(inputs), -100)
        outputs = self._reading(model)(**_for_the_model(inputs), labels=labels, fused_lm_head=True, use_cache=False, **router)
        log_probs = outputs.log_probs[:, -(ids.size(1) - 1) :]  # prompt tuning puts tokens of its own before them
        if self.model.training and not self.state.global_step and getattr(self.args, "check_first_step", True):
            check_not_rounded(log_probs)
        if getattr(outputs, "entropy", None) is not None:
            self._log_tokens(outputs, inputs)
        return log_probs, outputs.aux_loss if self.aux_loss_enabled else None

    def _log_tokens(self, outputs, inputs: dict) -> None:
        """Log what TRL does of a batch's response tokens, without pairs that were filled in: entropy, logits, hits, numbers."""
        real = self._is_real(torch.ones(len(inputs["input_ids"]) // 2, device=inputs["input_ids"].device)).repeat(2)
        mask = inputs["completion_mask"][:, 1:] * real.unsqueeze(1)
        entropy, logits, is_top1 = (
            (getattr(outputs, name)[:, -mask.size(1) :].detach().float() * mask).sum(1)
            for name in ("entropy", "mean_logits", "is_top1")
        )
        tokens, seen = mask.sum(1), inputs["attention_mask"].sum(1) * real
        sums = torch.stack([*(one.view(2, -1).sum(1) for one in (entropy, logits, is_top1, tokens, seen))]).flatten()
        sums = self.accelerator.gather(sums).view(-1, 5, 2).sum(0).tolist()
        (entropy, logits, is_top1, (chosen, rejected), seen), mode = sums, "train" if self.model.training else "eval"
        self._metrics[mode]["entropy"].append(sum(entropy) / max(chosen + rejected, 1))
        self._metrics[mode]["logits/chosen"].append(logits[0] / max(chosen, 1))
        self._metrics[mode]["logits/rejected"].append(logits[1] / max(rejected, 1))
        self._metrics[mode]["mean_token_accuracy"].append(is_top1[0] / max(chosen, 1))
        if mode == "train":
            self._total_train_tokens += int(sum(seen)) // self._tp_size
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]
        if self.aux_loss_enabled:
            self._metrics[mode]["aux_loss"].append(self.accelerator.gather(outputs.aux_loss.detach()).mean().item())

    def _reduce(self, losses, values, weights, inputs) -> torch.Tensor:
        """The scalar that a batch adds to the update, from its pairs' weighted losses."""
        return self._mean_over_pairs(losses)


def _for_the_model(inputs: dict) -> dict:
    return {name: value for name, value in inputs.items() if name not in _NOT_FOR_THE_MODEL}


def drop_equal_pairs(trainer) -> dict[str, int]:
    """Leave pairs whose sides are equal, as the trainer's collator cuts them, out of its data; counts, where there are any.

    Raises :class:`UserError` when no pair to train on is left.
    """
    counts = {}
    for name, key in (("train_dataset", "pairs_equal_after_cut"), ("eval_dataset", "eval_pairs_equal_after_cut")):
        pairs = getattr(trainer, name)
        if pairs is None or not len(pairs):
            continue
        kept = differing(pairs, trainer.args.max_length, trainer.data_collator)
        if len(kept) < len(pairs):
            counts[key] = len(pairs) - len(kept)
            setattr(trainer, name, kept)
    if len(trainer.train_dataset) == 0:
        raise UserError(
            f"no pair is left to train on: the sides of every pair are equal (--max_length {trainer.args.max_length})"
        )
    return counts


def differing(pairs, max_length: int | None, collator=None):
    """The pairs of token ids (``chosen_ids``, ``rejected_ids``) that differ, after ``collator``'s cut where they are longer."""
    columns = [name for name in ("prompt_ids", "chosen_ids", "rejected_ids") if name in pairs.column_names]

    def differs(number: int, pair: dict) -> bool:
        longest = len(pair.get("prompt_ids") or []) + max(len(pair["chosen_ids"]), len(pair["rejected_ids"]))
        if pair["chosen_ids"] == pair["rejected_ids"]:
            return False
        if collator is None or max_length is None or longest <= max_length:
            return True
        batch = collator([pairs[number]])
        return not all(torch.equal(*batch[name]) for name in ("input_ids", "attention_mask"))

    rows = pairs.select_columns(columns)
    kept = [number for number, pair in enumerate(rows) if differs(number, pair)]
    return pairs if len(kept) == len(pairs) else pairs.select(kept)
