"""Supervised fine-tuning (SFT) on responses: those that stage 1 kept, or prompts with completions."""

from dataclasses import dataclass

import trl

from diversity_tuning.data.examples import desired, prompt_completions
from diversity_tuning.ranges import TrainingRanges
from diversity_tuning.trainers.batches import ResumableOrderMixin
from diversity_tuning.trainers.head_choice import CheckedHeadMixin
from diversity_tuning.trainers.portable import check_chat_template
from diversity_tuning.trainers.precision import FullPrecisionMixin
from diversity_tuning.training.arguments import callbacks_of, check_examples_left, first_rows, parse, rows_of, source_counts
from diversity_tuning.training.life_cycle import TrainingRun
from diversity_tuning.training.models import base_model_of, new_adapter_of, tokenizer_of


@dataclass
class SFTConfig(TrainingRanges, trl.SFTConfig):
    """TRL's arguments of supervised fine-tuning."""


class ResumableSFTTrainer(FullPrecisionMixin, ResumableOrderMixin, CheckedHeadMixin, trl.SFTTrainer):
    """TRL's trainer; a resumed run keeps the order of its batches."""

    def _prepare_dataset(self, dataset, processing_class, *arguments, **options):
        check_chat_template(dataset, processing_class)
        return super()._prepare_dataset(dataset, processing_class, *arguments, **options)


def train_sft(training_run: TrainingRun) -> None:
    """Supervised fine-tuning on every response; the loss is on response tokens only."""
    arguments, model_config, config = parse(training_run, SFTConfig)
    data, counts = {}, source_counts(arguments)
    for name, rows, limit, where in rows_of(arguments):
        wanted = desired(rows, where)
        data[name] = first_rows(prompt_completions(wanted, where), limit)
        counts |= {f"{name}_examples": len(data[name])}
        if len(wanted) < len(rows):
            counts[f"{name}_rows_labelled_false"] = len(rows) - len(wanted)
    tokenizer = tokenizer_of(arguments, model_config, config)
    model = base_model_of(model_config, config, training_run)
    trainer = ResumableSFTTrainer(
        model=model,
        args=config,
        train_dataset=data["train"],
        eval_dataset=data.get("eval"),
        processing_class=tokenizer,
        peft_config=new_adapter_of(model_config, model, tokenizer),
        callbacks=callbacks_of(arguments, config),
    )
    check_examples_left(trainer, arguments)
    trainer.train(resume_from_checkpoint=training_run.open())
    training_run.close(trainer, counts)
