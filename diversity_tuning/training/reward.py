"""Training of the reward model: one output, L1 loss on the transformed votes."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments, set_seed

from diversity_tuning.ranges import TrainingRanges
from diversity_tuning.reward import MAX_LENGTH, reward_dataset
from diversity_tuning.trainers.batches import ResumableOrderMixin
from diversity_tuning.trainers.precision import FullPrecisionMixin
from diversity_tuning.training.arguments import callbacks_of, first_rows, parse, rows_of, source_counts
from diversity_tuning.training.life_cycle import TrainingRun
from diversity_tuning.training.models import reward_model_of, reward_tokenizer_of


class ResumableTrainer(FullPrecisionMixin, ResumableOrderMixin, Trainer):
    """Transformers' trainer; a resumed run keeps the order of its batches."""


@dataclass
class RewardConfig(TrainingRanges, TrainingArguments):
    """Training arguments of the reward model."""

    max_length: int = field(default=MAX_LENGTH, metadata={"help": "Longest prompt + response in tokens."})


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
        args=config,
        train_dataset=data["train"],
        eval_dataset=data.get("eval"),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_loss_func=l1_loss,
        callbacks=callbacks_of(arguments, config),
    )
    trainer.train(resume_from_checkpoint=training_run.open())
    counts = {f"{name}_responses": len(rows) for name, rows in data.items()}
    training_run.close(trainer, counts | source_counts(arguments))


def l1_loss(outputs, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None) -> torch.Tensor:
    """Mean |reward − transformed votes|; ``num_items_in_batch`` is the count over accumulated batches and processes."""
    total = F.l1_loss(outputs.logits.squeeze(-1).float(), labels.float(), reduction="sum")
    return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)
