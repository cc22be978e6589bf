"""ORPO and DORPO on TRL's fused LM head: no (tokens × vocabulary) logits are ever built."""

from dataclasses import dataclass, field

from peft import PeftModel
from trl import DPOConfig, DPOTrainer
from trl.trainer.utils import add_fused_lm_head

from diversity_tuning.losses import dorpo_loss, dorpo_loss_released, log_odds_ratio, orpo_loss
from diversity_tuning.trainers.batches import EqualPairsMixin, LengthGroupedPairsMixin
from diversity_tuning.trainers.head_choice import ChosenHeadMixin, LMHeadArguments
from diversity_tuning.trainers.portable import PortablePrecision
from diversity_tuning.trainers.weights import PAIR_WEIGHT, PairWeightArguments, WeightedPairsMixin, check_choices


@dataclass
class ORPOConfig(LMHeadArguments, PortablePrecision, DPOConfig):
    """The fields of :class:`trl.DPOConfig` that ORPO shares (sequences, dropout, devices) plus its own three."""

    beta: float = field(default=0.25, metadata={"help": "λ, the weight of the odds-ratio term. The paper uses 0.25."})
    max_length: int | None = field(
        default=2048, metadata={"help": "Longest prompt + response in tokens; longer ones are cut. TRL's default is 1024."}
    )
    nll_target: str = field(
        default="full",
        metadata={
            "help": "Tokens of the NLL term: 'full' = prompt and chosen response, TRL's present choice; 'completion' = "
            "the chosen response alone.",
            "choices": ["full", "completion"],
        },
    )
    nll_reduction: str = field(
        default="pair",
        metadata={
            "help": "'pair': mean over the tokens of a pair, then over pairs; the loss does not depend on how pairs are "
            "batched. 'batch': mean over all tokens of the batch, as TRL's ORPOTrainer does.",
            "choices": ["pair", "batch"],
        },
    )

    def __post_init__(self):
        super().__post_init__()
        check_choices(self, "nll_target", "nll_reduction")


@dataclass
class DORPOConfig(PairWeightArguments, ORPOConfig):
    """:class:`ORPOConfig` plus the pair weights."""

    loss_variant: str = field(
        default="paper",
        metadata={
            "help": "'paper': δ × (NLL + λ·odds ratio), per pair. 'released': what the paper's released code computes "
            "(δ inside the log-sigmoid; mean δ × the batch's token-mean NLL).",
            "choices": ["paper", "released"],
        },
    )

    def __post_init__(self):
        super().__post_init__()
        check_choices(self, "weight_normalisation", "loss_variant")


class ORPOTrainer(EqualPairsMixin, LengthGroupedPairsMixin, ChosenHeadMixin, DPOTrainer):
    """:class:`trl.DPOTrainer` whose only change is the loss: ORPO, which needs no reference model.

    Equation and source: :func:`diversity_tuning.losses.orpo_loss`. TRL's own ``experimental.orpo.ORPOTrainer`` builds the
    full logits; this one reads per-token log-probabilities from the fused LM head and gives the same values
    (``nll_reduction="batch"``; for one pair, or pairs of equal length, ``"pair"`` is the same).
    """

    _tag_names = ("trl", "orpo")
    _name = "ORPO"
    _config_class = ORPOConfig

    def __init__(self, model, ref_model=None, args=None, *others, **kwargs):
        args = args or self._config_class()
        if not isinstance(model, PeftModel) and kwargs.get("peft_config") is None:
            args.precompute_ref_log_probs = True  # keeps DPOTrainer from loading a second full model as reference
        super().__init__(model, ref_model, args, *others, **kwargs)
        if isinstance(self.model, PeftModel) and "ref" in self.model.peft_config:
            self.model.delete_adapter("ref")
        # DPOTrainer's head also computes entropy, mean logits and hits, which are not logged here: half of its forward pass.
        base = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        add_fused_lm_head(base, outputs=("log_probs",))

    def _precompute_ref_logps(self, dataset, name, batch_size):
        return dataset  # there is no reference

    def _compute_loss(self, model, inputs, return_outputs):
        if return_outputs:
            raise ValueError("ORPO's fused head builds no logits: leave compute_metrics out")
        nll, chosen, rejected = self._chosen_nll_and_averages(model, inputs)
        self._log_pairs(nll.detach(), chosen.detach(), rejected.detach())
        return self._reduce(nll, chosen, rejected, inputs)

    def _reduce(self, nll, chosen, rejected, inputs):
        return self._mean_over_pairs(orpo_loss(nll, chosen, rejected, self.beta))

    def _chosen_nll_and_averages(self, model, inputs):
        """NLL of the chosen side, and the length-averaged log-probability of both responses; each ``(pairs,)``."""
        ids, attention, completion = inputs["input_ids"], inputs["attention_mask"], inputs["completion_mask"]
        pairs = ids.size(0) // 2
        targets = completion.bool().clone()  # (2 * pairs, length), chosen first
        if self.args.nll_target == "full":
            targets[:pairs] = attention[:pairs].bool()
        labels = ids.masked_fill(~targets, -100)
        outputs = model(input_ids=ids, attention_mask=attention, labels=labels, fused_lm_head=True, use_cache=False)
        logps = outputs.log_probs.float()  # (2 * pairs, length - 1), 0 outside the targets
        in_response = completion[:, 1:].to(logps.dtype)
        averages = (logps * in_response).sum(1) / in_response.sum(1).clamp(min=1)
        total, tokens = -logps[:pairs].sum(1), targets[:pairs, 1:].sum(1)
        if self.args.nll_reduction == "pair":
            nll = total / tokens.clamp(min=1)
        else:
            nll = total * pairs / tokens.sum().clamp(min=1)  # so that the mean over pairs is the mean over tokens
        return nll, *averages.chunk(2)

    def _log_pairs(self, nll, chosen, rejected):
        values = {
            "nll_loss": nll,
            "log_odds_chosen": log_odds_ratio(chosen, rejected),
            "rewards/chosen": self.beta * chosen,
            "rewards/rejected": self.beta * rejected,
            "rewards/margins": self.beta * (chosen - rejected),
            "rewards/accuracies": (chosen > rejected).float(),
            "logps/chosen": chosen,
            "logps/rejected": rejected,
        }
        mode = "train" if self.model.training else "eval"
        for name, value in values.items():
            self._metrics[mode][name].append(self.accelerator.gather(value).mean().item())


class DORPOTrainer(WeightedPairsMixin, ORPOTrainer):
    """:class:`ORPOTrainer` whose only change is δ: the mean over pairs of δ_w · (NLL + λ·odds ratio).

    Equation and source: :func:`diversity_tuning.losses.dorpo_loss`; ``loss_variant="released"``:
    :func:`diversity_tuning.losses.dorpo_loss_released`.
    """

    _tag_names = ("trl", "dorpo")
    _name = "DORPO"
    _config_class = DORPOConfig

    def _reduce(self, nll, chosen, rejected, inputs):
        weights = inputs[PAIR_WEIGHT]
        self._log_weights(weights)
        if self.args.loss_variant == "released":
            return dorpo_loss_released(self._batch_nll(nll, inputs), chosen, rejected, self.beta, weights)
        return self._mean_over_pairs(dorpo_loss(nll, chosen, rejected, self.beta, weights))

    def _batch_nll(self, nll, inputs):
        """The mean over the tokens of the batch."""
        if self.args.nll_reduction == "batch":
            return nll.mean()
        mask = inputs["attention_mask" if self.args.nll_target == "full" else "completion_mask"]
        tokens = mask[: mask.size(0) // 2, 1:].sum(1)
        return (nll * tokens).sum() / tokens.sum()
