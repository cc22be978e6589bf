"""A weight for each preference pair, from a dataset column to the loss."""

import itertools
import logging
import math
from collections import defaultdict
from dataclasses import dataclass, fields

import numpy as np
import torch
from datasets import Dataset, IterableDataset
from transformers.hf_argparser import HfArg

from diversity_tuning.errors import UserError
from diversity_tuning.ranges import default_of
from diversity_tuning.trainers.batches import EqualPairsMixin

PAIR_WEIGHT = "pair_weight"  # the column that the trainers read, made by `with_pair_weights`
logger = logging.getLogger(__name__)


@dataclass
class PairWeightArguments:
    """Where the weights come from and how they are prepared."""

    weight_column: str = HfArg(
        default="deviation_chosen", help="Column with one weight per pair, >= 0. Public sets often call it 'weight'."
    )
    weight_offset: float = HfArg(
        default=0.0, help="Added to the column. The paper's released data stores delta - 1 in 'score_chosen': give 1."
    )
    min_weight: float = HfArg(default=0.0, help="Smaller weights are raised to this.")
    weight_normalisation: str = HfArg(
        default="prompt",
        metadata={"choices": ["prompt", "pairs"]},
        help="'prompt': as they stand; deviations average 1 over the responses of a prompt, as in the paper. "
        "'pairs': divided by their mean over the training pairs, so that the mean pair weighs 1.",
    )
    allow_missing_weights: bool = HfArg(
        default=False, help="Train with weight 1 for every pair, with a warning, if the column is missing."
    )

    def __post_init__(self):
        getattr(super(), "__post_init__", lambda: None)()  # of the trainer's configuration, where this is a part of one
        check_choices(self, "weight_normalisation")
        for name in ("weight_offset", "min_weight"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be a finite number, not {getattr(self, name)}")
        if self.min_weight < 0:
            raise ValueError(f"min_weight must be at least 0, as weights are, not {self.min_weight}")


def check_positive(config, *names: str) -> None:
    """Raise a ValueError where a setting is not a finite number above 0."""
    for name in names:
        if not 0 < getattr(config, name) < math.inf:
            raise ValueError(f"{name} must be a finite number above 0, not {getattr(config, name)}")


def check_choices(config, *names: str) -> None:
    """Raise a ValueError where a field of a dataclass holds none of the choices in its metadata, which only a parser reads."""
    for known in (one for one in fields(config) if one.name in names):
        value = getattr(config, known.name)
        if value not in known.metadata["choices"]:
            raise ValueError(f"{known.name} must be one of {', '.join(known.metadata['choices'])}, not {value!r}")


def refuse(config, why: str, *names: str) -> None:
    """Raise a ValueError naming those fields of a dataclass that are not at their default, which the trainer would not read."""
    defaults = {one.name: default_of(one) for one in fields(config)}

    def plain(value):
        return list(value) if isinstance(value, list | tuple) else value

    changed = [name for name in names if plain(getattr(config, name)) != plain(defaults[name])]
    if changed:
        raise ValueError(f"{why}; leave {', '.join(changed)} at TRL's default")


def with_pair_weights(dataset: Dataset | IterableDataset, args: PairWeightArguments) -> Dataset | IterableDataset:
    """Add the column ``pair_weight`` (float, ≥ 0): (column + offset), raised to ``min_weight``, then normalised.

    Raises :class:`UserError` naming the row when a weight is missing, not a number or negative, or when all are 0. Data that a
    weighted trainer has prepared before, which has token ids too, is returned as it is. A stream gets its weights row by row,
    so that each stays with its pair whatever is shuffled or skipped; its mean is not known, so it cannot be divided by.
    """
    streamed = isinstance(dataset, IterableDataset)
    columns = list(next(iter(dataset))) if streamed else dataset.column_names
    if PAIR_WEIGHT in columns:
        if "prompt_ids" in columns:
            return dataset
        if args.weight_column != PAIR_WEIGHT:
            raise UserError(f"the pairs have a column '{PAIR_WEIGHT}', which is the trainer's own; rename or remove it")
    has_weights = args.weight_column in columns
    if not has_weights and not args.allow_missing_weights:
        raise UserError(
            f"the pairs have no column '{args.weight_column}' (they have: {', '.join(columns)}); run "
            "stage 3, name another --weight_column, or give --allow_missing_weights True to train with weight 1"
        )
    if not has_weights:
        logger.warning("no column '%s': every pair gets weight 1", args.weight_column)
    if streamed:
        return _with_streamed_weights(dataset, args, has_weights)
    weights = prepare_weights(dataset[args.weight_column], args) if has_weights else np.ones(len(dataset))
    _warn_of_scale(weights.mean(), args)
    return dataset.remove_columns([name for name in columns if name == PAIR_WEIGHT]).add_column(PAIR_WEIGHT, weights.tolist())


def _with_streamed_weights(dataset: IterableDataset, args: PairWeightArguments, has_weights: bool) -> IterableDataset:
    if args.weight_normalisation == "pairs":
        raise UserError(
            "--weight_normalisation pairs needs the mean over all pairs, which a stream does not tell; load the pairs whole, "
            "or divide the column by its mean and give --weight_normalisation prompt"
        )
    first = itertools.islice(dataset, 64) if has_weights else ()
    values = [floored_weights([row[args.weight_column]], args)[0] for row in first]
    if values:
        _warn_of_scale(np.mean(values), args)

    def attach(row):
        return {PAIR_WEIGHT: float(floored_weights([row[args.weight_column]], args)[0]) if has_weights else 1.0}

    return dataset.map(attach)


def _warn_of_scale(mean: float, args: PairWeightArguments) -> None:
    """Weights multiply the loss, so their mean multiplies the learning rate."""
    if not 1 / 3 <= mean <= 3:
        logger.warning(
            "the weights in '%s' are %.3g on average, not about 1, and the loss is multiplied by them; "
            "--weight_normalisation pairs divides them by their mean", args.weight_column, mean,
        )  # fmt: skip


def prepare_weights(column: list, args: PairWeightArguments) -> np.ndarray:
    """The weights of :func:`with_pair_weights` from the raw column; shape ``(n,)`` in and out. Rows are counted from 1."""
    weights = floored_weights(column, args)
    if not weights.any():
        raise UserError(f"rows 1 to {len(weights)}: every weight in column '{args.weight_column}' is 0")
    return weights / weights.mean() if args.weight_normalisation == "pairs" else weights


def floored_weights(column: list, args: PairWeightArguments) -> np.ndarray:
    """:func:`prepare_weights` without what needs all rows: column + offset, checked, then raised to ``min_weight``."""
    try:
        weights = np.array([np.nan if value is None else value for value in column], dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"column '{args.weight_column}' does not hold numbers") from None
    weights = weights + args.weight_offset
    for wrong, what in ((~np.isfinite(weights), "is not a finite number"), (weights < 0, "is negative")):
        if wrong.any():
            row = int(np.argmax(wrong))
            hint = "; data in the released format needs --weight_offset 1" if what == "is negative" else ""
            where = f"row {row + 1}: " if len(weights) > 1 else ""
            raise UserError(f"{where}weight {weights[row]} (column '{args.weight_column}') {what}{hint}")
    return np.maximum(weights, args.min_weight)


class _WithPairWeight:
    """A collator that also hands on ``pair_weight``; TRL's own drops columns that it does not know."""

    def __init__(self, collator):
        self.collator = collator

    def __call__(self, examples: list[dict]) -> dict:
        weights = [example[PAIR_WEIGHT] for example in examples]
        return {**self.collator(examples), PAIR_WEIGHT: torch.tensor(weights, dtype=torch.float32)}


class WeightedPairsMixin(EqualPairsMixin):
    """Brings ``pair_weight`` from the dataset into the batch of a :class:`trl.DPOTrainer`, and keeps it from the model.

    A model's ``**kwargs`` would swallow the weight without a word, so it is taken out before every model call.
    """

    def __init__(self, model, ref_model=None, args=None, *others, **kwargs):
        self._weight_sums = defaultdict(lambda: 0.0)
        super().__init__(model, ref_model, args or self._config_class(), *others, **kwargs)
        self.data_collator = _WithPairWeight(self.data_collator)

    def _prepare_dataset(self, dataset, processing_class, args, dataset_name):
        dataset = with_pair_weights(dataset, args)
        return super()._prepare_dataset(dataset, processing_class, args, dataset_name)

    def _set_signature_columns_if_needed(self):
        super()._set_signature_columns_if_needed()
        if PAIR_WEIGHT not in self._signature_columns:
            self._signature_columns = [*self._signature_columns, PAIR_WEIGHT]

    def compute_ref_log_probs(self, model, inputs):
        return super().compute_ref_log_probs(model, {key: value for key, value in inputs.items() if key != PAIR_WEIGHT})

    def _take_weights(self, inputs):
        weights = inputs.pop(PAIR_WEIGHT)
        self._log_weights(weights)
        return weights

    def _log_weights(self, weights: torch.Tensor) -> None:
        """Add this batch to the sums that :meth:`log` reports; pairs that were only filled in do not count."""
        real = self._is_real(weights)
        weights = weights.detach() * real
        sums = torch.stack([real.sum(), weights.sum(), (weights**2).sum()])  # not in float64, which Apple's GPUs lack
        mode = "train" if self.model.training else "eval"
        self._weight_sums[mode] = self._weight_sums[mode] + self.accelerator.gather(sums).view(-1, 3).sum(0)

    def log(self, logs, start_time=None):
        """Over all pairs since the last log: Σδ, its mean, the effective number of pairs (Σδ)²/Σδ², and their share of all.

        The effective number is that of equal weights with the same variance of the mean: n when all pairs weigh the same.
        """
        mode = "train" if self.model.training else "eval"
        if mode in self._weight_sums:
            pairs, total, squares = self._weight_sums.pop(mode).tolist()
            effective = total**2 / squares if squares else 0.0
            values = {"sum": total, "mean": total / pairs, "effective": effective, "effective_share": effective / pairs}
            for name, value in values.items():
                self._metrics[mode][f"weights/{name}"] = [value]
        super().log(logs, start_time)
