"""ORPO and DORPO on TRL's fused LM head: no (tokens × vocabulary) logits are ever built."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import trl.trainer.dpo_trainer
import trl.trainer.utils
from peft import PeftModel
from transformers.hf_argparser import HfArg

from diversity_tuning.losses import dorpo_loss_released, log_odds_ratio, orpo_loss
from diversity_tuning.trainers.batches import EqualPairsMixin
from diversity_tuning.trainers.pairs import PairConfig, PairTrainer
from diversity_tuning.trainers.weights import PairWeightArguments, WeightedPairsMixin, check_choices, refuse


@dataclass
class ORPOConfig(PairConfig):
    """The fields of :class:`trl.DPOConfig` that ORPO shares (sequences, dropout, devices) plus its own three."""

    beta: float = HfArg(default=0.25, help="λ, the weight of the odds-ratio term. The paper uses 0.25.")
    max_length: int | None = HfArg(
        default=2048, help="Longest prompt + response in tokens; longer ones are cut. TRL's default is 1024."
    )
    max_prompt_length: int | None = HfArg(
        default=None,
        help="Cut pairs longer than max_length as TRL did up to 0.12: the prompt to its last so many tokens, then each "
        "response to max_length less so many. None: the end of a side is cut.",
    )
    nll_target: str = HfArg(
        default="full",
        metadata={"choices": ["full", "completion"]},
        help="Tokens of the NLL term: 'full' = prompt and chosen response, TRL's present choice; 'completion' = "
        "the chosen response alone.",
    )
    nll_reduction: str = HfArg(
        default="pair",
        metadata={"choices": ["pair", "batch"]},
        help="'pair': mean over the tokens of a pair, then over pairs; the loss does not depend on how pairs are "
        "batched. 'batch': mean over all tokens of the batch, as TRL's ORPOTrainer does.",
    )

    def __post_init__(self):
        super().__post_init__()
        check_choices(self, "nll_target", "nll_reduction")
        if not 0 <= self.beta < float("inf"):
            raise ValueError(f"beta must be a finite number, at least 0, not {self.beta}")
        if self.max_prompt_length is not None and not 0 < self.max_prompt_length < (self.max_length or 0):
            raise ValueError(
                f"max_prompt_length must be above 0 and below max_length ({self.max_length}), not {self.max_prompt_length}"
            )
        refuse(
            self,
            "ORPO has its own loss and no reference model",
            *("loss_type", "loss_weights", "label_smoothing", "ld_alpha", "f_divergence_type", "use_weighting"),
            *("precompute_ref_log_probs", "sync_ref_model"),
        )


@dataclass
class DORPOConfig(PairWeightArguments, ORPOConfig):
    """:class:`ORPOConfig` plus the pair weights."""

    loss_variant: str = HfArg(
        default="paper",
        metadata={"choices": ["paper", "released"]},
        help="'paper': δ × (NLL + λ·odds ratio), per pair. 'released': what the paper's released code computes "
        "(δ inside the log-sigmoid; mean δ × the batch's token-mean NLL).",
    )

    def __post_init__(self):
        super().__post_init__()
        check_choices(self, "loss_variant")


def cut_prompt_first(pair: dict, max_length: int, max_prompt_length: int) -> dict:
    """A pair of token ids, cut as TRL 0.12.1's ORPOTrainer does where prompt and longer response exceed ``max_length``.

    The prompt keeps its last ``max_prompt_length`` tokens. Where that is not enough, both responses keep their first
    ``max_length - max_prompt_length``, even if the prompt is shorter than ``max_prompt_length``.
    """
    prompt, chosen, rejected = (pair[name] for name in ("prompt_ids", "chosen_ids", "rejected_ids"))
    longest = max(len(chosen), len(rejected))
    if len(prompt) + longest > max_length:
        prompt = prompt[-max_prompt_length:]
    if len(prompt) + longest > max_length:
        chosen, rejected = (side[: max_length - max_prompt_length] for side in (chosen, rejected))
    return {**pair, "prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}


class _WithPromptsCut:
    """A collator that cuts its pairs by :func:`cut_prompt_first` before it hands them on; the dataset stays whole, to count."""

    def __init__(self, collator, max_length: int, max_prompt_length: int):
        self.collator, self.limits = collator, (max_length, max_prompt_length)

    def __call__(self, examples: list[dict]) -> dict:
        return self.collator([cut_prompt_first(example, *self.limits) for example in examples])


class ORPOTrainer(EqualPairsMixin, PairTrainer):
    """:class:`trl.DPOTrainer` whose only change is the loss: ORPO, which needs no reference model.

    Equation and source: :func:`diversity_tuning.losses.orpo_loss`. TRL's own ``experimental.orpo.ORPOTrainer`` builds the
    full logits; this one reads per-token log-probabilities from the fused LM head and gives the same values
    (``nll_reduction="batch"``; for one pair, or pairs of equal length, ``"pair"`` is the same).
    """

    _tag_names = ("trl", "orpo")
    _name = "ORPO"
    _config_class = ORPOConfig
    has_reference = False

    def __init__(self, model, ref_model=None, args=None, *others, **kwargs):
        args = args or self._config_class()
        if ref_model is not None:
            raise ValueError("ORPO has no reference model: leave ref_model out")
        with _no_reference(keep=isinstance(model, str)):
            super().__init__(model, None, args, *others, **kwargs)
        if isinstance(self.model, PeftModel) and "ref" in self.model.peft_config:
            self.model.delete_adapter("ref")
        if args.max_prompt_length is not None:
            self.data_collator = _WithPromptsCut(self.data_collator, args.max_length, args.max_prompt_length)
        # DPOTrainer's head also computes entropy, mean logits and hits, which are not logged here: half of its forward pass.
        base = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        trl.trainer.utils.add_fused_lm_head(base, outputs=("log_probs",))

    def objective(self, nll, chosen, rejected):
        return orpo_loss(nll, chosen, rejected, self.beta)

    def _compute_loss(self, model, inputs, return_outputs):
        if return_outputs:
            raise ValueError("ORPO's fused head builds no logits: leave compute_metrics out")
        return super()._compute_loss(model, inputs, return_outputs)

    def _values(self, log_probs, inputs):
        return self._nll_and_averages(log_probs, inputs)

    def _nll_and_averages(self, log_probs, inputs):
        """NLL of the chosen side, and the length-averaged log-probability of both responses; each ``(pairs,)``."""
        in_response = inputs["completion_mask"][:, 1:].to(log_probs.dtype)
        averages = (log_probs * in_response).sum(1) / in_response.sum(1).clamp(min=1)
        nll = self._chosen_nll(log_probs.chunk(2)[0], self._targets(inputs).chunk(2)[0][:, 1:])
        return nll, *averages.chunk(2)

    def _targets(self, inputs):
        """All of the chosen side, if so asked."""
        chosen, rejected = super()._targets(inputs).chunk(2)
        if self.args.nll_target == "full":
            chosen = inputs["attention_mask"].chunk(2)[0].bool()
        return torch.cat([chosen, rejected])

    def _chosen_nll(self, log_probs, targets):
        """NLL of each pair, shape ``(pairs,)``: such that the mean over pairs is the reduction that was asked for."""
        totals, tokens = -log_probs.sum(1), targets.sum(1)
        if self.args.nll_reduction == "pair":
            return totals / tokens.clamp(min=1)
        real = self._is_real(totals)
        return totals * real.sum() / (real * tokens).sum().clamp(min=1)  # the mean over pairs is the mean over tokens

    def _log_pairs(self, nll, chosen, rejected):
        self._log_pair_means(
            {
                "nll_loss": nll,
                "log_odds_chosen": log_odds_ratio(chosen, rejected),
                "rewards/chosen": self.beta * chosen,
                "rewards/rejected": self.beta * rejected,
                "rewards/margins": self.beta * (chosen - rejected),
                "rewards/accuracies": (chosen > rejected).float(),
                "logps/chosen": chosen,
                "logps/rejected": rejected,
            }
        )


class DORPOTrainer(WeightedPairsMixin, ORPOTrainer):
    """:class:`ORPOTrainer` whose only change is δ: the mean over pairs of δ_w · (NLL + λ·odds ratio).

    Equation and source: :func:`diversity_tuning.losses.dorpo_loss`; ``loss_variant="released"``:
    :func:`diversity_tuning.losses.dorpo_loss_released`, of one batch on one process, as in the released code.
    """

    _tag_names = ("trl", "dorpo")
    _name = "DORPO"
    _config_class = DORPOConfig

    def _reduce(self, losses, values, weights, inputs):
        if self.args.loss_variant == "released":
            return self._released(*values, weights, self._targets(inputs).chunk(2)[0][:, 1:].sum(1))
        return super()._reduce(losses, values, weights, inputs)

    def _released(self, nll, chosen, rejected, weights, tokens):
        """The released loss of the batch's pairs, without those that were filled in; in an update it counts by their number."""
        real = self._is_real(nll).bool()
        if not real.any():
            return 0 * (nll + chosen + rejected).sum()  # keeps the graph, which the other processes wait for
        if self.args.nll_reduction == "batch":
            batch_nll = nll[real].mean()
        else:
            batch_nll = (nll * tokens)[real].sum() / tokens[real].sum()
        loss = dorpo_loss_released(batch_nll, chosen[real], rejected[real], self.beta, weights[real])
        return self._mean_over_pairs(loss.expand(len(nll)))


@contextlib.contextmanager
def _no_reference(keep: bool = False) -> Iterator[None]:
    """Inside, :class:`trl.DPOTrainer` loads no reference model, which ORPO has no use for.

    Full fine-tuning would otherwise hold a second model, or, with precomputed references, hash every weight and under FSDP load
    one all the same. With ``keep`` the first model that is loaded is the policy, given by its name.
    """
    module = trl.trainer.dpo_trainer
    load = module.create_model_from_path

    def create_model_from_path(*args, **kwargs):
        nonlocal keep
        policy, keep = keep, False
        return load(*args, **kwargs) if policy else None

    module.create_model_from_path = create_model_from_path
    try:
        yield
    finally:
        module.create_model_from_path = load
