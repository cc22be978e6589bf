"""Training of reward models: on votes, one output and L1 loss; on pairs (Bradley–Terry), through TRL's ``RewardTrainer``."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from datasets import Dataset
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments, set_seed
from transformers.hf_argparser import HfArg
from trl import RewardConfig as TRLRewardConfig
from trl import RewardTrainer

from diversity_tuning.errors import UserError
from diversity_tuning.ranges import TrainingRanges
from diversity_tuning.reward_model import MAX_LENGTH, reward_dataset, reward_pair_dataset, with_mismatched_prompts
from diversity_tuning.trainers.batches import ResumableOrderMixin
from diversity_tuning.trainers.pairs import differing
from diversity_tuning.trainers.precision import FullPrecisionMixin
from diversity_tuning.training.arguments import first_rows, given_to_trainer, parse, rows_of
from diversity_tuning.training.life_cycle import TrainingRun
from diversity_tuning.training.models import reward_model_of, reward_tokenizer_of


class ResumableTrainer(FullPrecisionMixin, ResumableOrderMixin, Trainer):
    """Transformers' trainer; a resumed run keeps the order of its batches."""


@dataclass
class RewardConfig(TrainingRanges, TrainingArguments):
    """Training arguments of the reward model."""

    max_length: int = HfArg(default=MAX_LENGTH, help="Longest prompt + response in tokens.")


def train_reward(training_run: TrainingRun) -> None:
    """The reward model: one output, L1 loss on the transformed votes."""
    arguments, model_config, config = parse(training_run, RewardConfig)
    tokenizer = reward_tokenizer_of(model_config, config.max_length)
    data = {}
    for name, rows, limit, where in rows_of(arguments):
        data[name] = first_rows(reward_dataset(rows, tokenizer, config.max_length, where=where), limit)
    set_seed(config.seed)  # the head is drawn here; the trainer, which seeds too, comes later
    trainer = ResumableTrainer(
        model=reward_model_of(model_config, config, tokenizer),
        data_collator=DataCollatorWithPadding(tokenizer), processing_class=tokenizer, compute_loss_func=l1_loss,
        **given_to_trainer(arguments, config, data),
    )  # fmt: skip
    training_run.train(trainer, {f"{name}_responses": len(rows) for name, rows in data.items()}, say=False)


def l1_loss(outputs, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None) -> torch.Tensor:
    """Mean |reward − transformed votes|; ``num_items_in_batch`` is the count over accumulated batches and processes."""
    total = F.l1_loss(outputs.logits.squeeze(-1).float(), labels.float(), reduction="sum")
    return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)


@dataclass
class PairwiseRewardConfig(TrainingRanges, TRLRewardConfig):
    """TRL's arguments of reward training, and what is added to the pairs."""

    mismatched_prompts: float = HfArg(
        default=0.0,
        help="Pairs to add for every pair of the data, from 0 to 1, in which the rejected response is the chosen one of "
        "another prompt. Without them a reward model may learn not to read the prompt.",
    )

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.mismatched_prompts <= 1:
            raise UserError(f"--mismatched_prompts {self.mismatched_prompts}: give a share from 0 to 1")


class PairwiseRewardTrainer(FullPrecisionMixin, ResumableOrderMixin, RewardTrainer):
    """TRL's trainer with working length groups; a resumed run keeps the order of its batches.

    Loss of a pair: −log σ(r(x, y_w) − r(x, y_l)), the mean over a batch (Bradley–Terry).
    """

    def _set_signature_columns_if_needed(self):
        super()._set_signature_columns_if_needed()
        if self.args.length_column_name not in self._signature_columns:
            self._signature_columns = [*self._signature_columns, self.args.length_column_name]


def train_reward_pairs(training_run: TrainingRun) -> None:
    """The reward model from pairs: one output, Bradley–Terry loss; it is loaded and read like the one from votes."""
    arguments, model_config, config = parse(training_run, PairwiseRewardConfig)
    tokenizer = reward_tokenizer_of(model_config, config.max_length)
    data, counts = {}, {}
    for name, rows, limit, where in rows_of(arguments):
        pairs = reward_pair_dataset(first_rows(rows, limit), where)
        counts[f"{name}_pairs"] = len(pairs)
        if name == "train" and config.mismatched_prompts:
            pairs = with_mismatched_prompts(pairs, config.mismatched_prompts, config.seed, where)
            counts["mismatched_pairs"] = len(pairs) - counts["train_pairs"]
        made, counts[f"{name}_pairs_cut_at_max_length"] = tokenized(pairs, tokenizer, config)
        data[name] = differing(made, None)
        if len(data[name]) < len(made):
            counts[f"{name}_pairs_equal_after_cut"] = len(made) - len(data[name])
        if not len(data[name]):
            raise UserError(f"{where}: the two sides of every pair are equal (--max_length {config.max_length})")
    set_seed(config.seed)  # the head is drawn here; the trainer, which seeds too, comes later
    model = reward_model_of(model_config, config, tokenizer)
    trainer = PairwiseRewardTrainer(model=model, processing_class=tokenizer, **given_to_trainer(arguments, config, data))
    training_run.train(trainer, counts)


def tokenized(pairs: Dataset, tokenizer, config: PairwiseRewardConfig) -> tuple[Dataset, int]:
    """The pairs as the trainer takes them, ready-made so that it adds no token of its own, and how many were cut.

    Columns ``chosen_ids``, ``rejected_ids`` (at most ``max_length`` tokens, as
    :class:`~diversity_tuning.reward_model.RewardModel` cuts them) and the length of the longer side. TRL would drop longer
    pairs, and end plain texts with an end token.
    """
    limit = config.max_length or float("inf")

    def tokenize(batch):
        whole = {side: tokenizer(batch[side])["input_ids"] for side in ("chosen", "rejected")}
        longest = [max(map(len, both)) for both in zip(*whole.values(), strict=True)]
        if max(longest) > limit:  # cut by the tokenizer, on its side, as when the model scores
            whole = {side: tokenizer(batch[side], truncation=True, max_length=limit)["input_ids"] for side in whole}
        ids = {f"{side}_ids": rows for side, rows in whole.items()}
        return {**ids, config.length_column_name: [min(size, limit) for size in longest], "cut": [n > limit for n in longest]}

    rows = pairs.map(tokenize, batched=True, batch_size=200, remove_columns=pairs.column_names)
    return rows.remove_columns("cut"), sum(rows["cut"][:])
