"""Supervised fine-tuning (SFT) on responses: those that stage 1 kept, or prompts with completions."""

from dataclasses import dataclass

import trl

from diversity_tuning.data.examples import desired, prompt_completions
from diversity_tuning.ranges import TrainingRanges
from diversity_tuning.trainers.batches import ResumableOrderMixin
from diversity_tuning.trainers.head_choice import CheckedHeadMixin, ChosenHeadMixin, LMHeadArguments
from diversity_tuning.trainers.portable import check_chat_template
from diversity_tuning.trainers.precision import FullPrecisionMixin
from diversity_tuning.training.arguments import check_examples_left, first_rows, given_to_trainer, parse, rows_of
from diversity_tuning.training.life_cycle import TrainingRun
from diversity_tuning.training.models import policy_of


@dataclass
class SFTConfig(TrainingRanges, LMHeadArguments, trl.SFTConfig):
    """:class:`trl.SFTConfig` plus the choice of the LM head."""


class ResumableSFTTrainer(FullPrecisionMixin, ResumableOrderMixin, ChosenHeadMixin, CheckedHeadMixin, trl.SFTTrainer):
    """TRL's trainer; a resumed run keeps the order of its batches."""

    def _prepare_dataset(self, dataset, processing_class, *arguments, **options):
        check_chat_template(dataset, processing_class)
        return super()._prepare_dataset(dataset, processing_class, *arguments, **options)


def train_sft(training_run: TrainingRun) -> None:
    """Supervised fine-tuning on every response; the loss is on response tokens only."""
    arguments, model_config, config = parse(training_run, SFTConfig)
    data, counts = {}, {}
    for name, rows, limit, where in rows_of(arguments):
        wanted = desired(rows, where)
        data[name] = first_rows(prompt_completions(wanted, where), limit)
        counts[f"{name}_examples"] = len(data[name])
        if len(wanted) < len(rows):
            counts[f"{name}_rows_labelled_false"] = len(rows) - len(wanted)
    policy = policy_of(arguments, model_config, config, training_run)
    trainer = ResumableSFTTrainer(**policy, **given_to_trainer(arguments, config, data))
    check_examples_left(trainer, arguments)
    training_run.train(trainer, counts, say=False)
