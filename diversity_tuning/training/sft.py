"""Supervised fine-tuning (SFT) on the kept responses of stage 1."""

from datasets import Dataset
from trl import SFTConfig, SFTTrainer, get_peft_config

from diversity_tuning.data import schema
from diversity_tuning.data.read import read_split
from diversity_tuning.trainers.batches import ResumableOrderMixin
from diversity_tuning.training.arguments import callbacks_of, parse, splits_of
from diversity_tuning.training.life_cycle import TrainingRun
from diversity_tuning.training.models import base_model_of, tokenizer_of


class ResumableSFTTrainer(ResumableOrderMixin, SFTTrainer):
    """TRL's trainer; a run that was killed goes on in the order that it would have had."""


def train_sft(training_run: TrainingRun) -> None:
    """Supervised fine-tuning on every kept response; the loss is on response tokens only."""
    arguments, model_config, config = parse(training_run, SFTConfig)
    columns = (schema.POST_TITLE, schema.POST_TEXT, schema.FILTERED_COMMENT_TEXTS)
    data = {
        name: prompt_completions(read_split(arguments.source, split, columns), limit)
        for name, split, limit in splits_of(arguments)
    }  # fmt: skip
    tokenizer = tokenizer_of(arguments, model_config, config)
    trainer = ResumableSFTTrainer(
        model=base_model_of(model_config, config),
        args=config,
        train_dataset=data["train"],
        eval_dataset=data.get("eval"),
        processing_class=tokenizer,
        peft_config=get_peft_config(model_config),
        callbacks=callbacks_of(arguments, config),
    )
    trainer.train(resume_from_checkpoint=training_run.open())
    training_run.close(trainer, {f"{name}_examples": len(rows) for name, rows in data.items()})


def prompt_completions(rows: Dataset, limit: int | None = None) -> Dataset:
    """One conversational prompt-completion example per kept response."""

    def explode(batch):
        prompts, completions = [], []
        columns = (schema.POST_TITLE, schema.POST_TEXT, schema.FILTERED_COMMENT_TEXTS)
        for title, text, responses in zip(*(batch[name] for name in columns), strict=True):
            for response in responses:
                user, assistant = schema.to_messages(schema.prompt_text(title, text), response)
                prompts.append([user])
                completions.append([assistant])
        return {"prompt": prompts, "completion": completions}

    examples = rows.map(explode, batched=True, batch_size=100, remove_columns=rows.column_names)
    return examples if limit is None else examples.select(range(min(limit, len(examples))))
