"""Training of the reward model: one output, L1 loss on the transformed votes."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments, set_seed
from trl import get_peft_config

from diversity_tuning.policy import from_pretrained
from diversity_tuning.reward import MAX_LENGTH, new_reward_model, reward_dataset
from diversity_tuning.trainers.batches import ResumableOrderMixin
from diversity_tuning.trainers.precision import FullPrecisionMixin
from diversity_tuning.training.arguments import callbacks_of, first_rows, parse, rows_of, source_counts
from diversity_tuning.training.life_cycle import TrainingRun
from diversity_tuning.training.models import trusts_remote_code


class ResumableTrainer(FullPrecisionMixin, ResumableOrderMixin, Trainer):
    """Transformers' trainer; a run that was killed goes on in the order that it would have had."""


@dataclass
class RewardConfig(TrainingArguments):
    """Training arguments of the reward model."""

    max_length: int = field(default=MAX_LENGTH, metadata={"help": "Longest prompt + response in tokens."})


def train_reward(training_run: TrainingRun) -> None:
    """The reward model: one output, L1 loss on the transformed votes."""
    arguments, model_config, config = parse(training_run, RewardConfig)
    tokenizer = from_pretrained(AutoTokenizer, model_config.model_name_or_path, revision=model_config.model_revision)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    data = {}
    for name, rows, limit, where in rows_of(arguments):
        data[name] = first_rows(reward_dataset(rows, tokenizer, config.max_length, where=where), limit)
    set_seed(config.seed)  # the head is drawn here; the trainer, which seeds too, comes later
    model = new_reward_model(
        model_config.model_name_or_path, tokenizer, model_config.dtype, trusts_remote_code(config),
        revision=model_config.model_revision, attn_implementation=model_config.attn_implementation,
    )  # fmt: skip
    model_config.lora_task_type = "SEQ_CLS"  # the head is trained and saved with the adapter
    peft_config = get_peft_config(model_config)
    if peft_config is not None:
        from peft import get_peft_model

        sharded = config.deepspeed_plugin is not None  # its parameters are of one type; float32 copies of them it keeps itself
        model = get_peft_model(model, peft_config, autocast_adapter_dtype=not sharded)
        if (config.bf16 or config.fp16) and not sharded:
            # PEFT does so with its own layers only. In half precision most steps of the head would round to nothing.
            for parameter in model.parameters():
                parameter.data = parameter.data.float() if parameter.requires_grad else parameter.data
    trainer = ResumableTrainer(
        model=model,
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
