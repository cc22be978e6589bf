"""Supervised fine-tuning (SFT) on responses: those that stage 1 kept, or prompts with completions."""

from trl import SFTConfig, SFTTrainer

from diversity_tuning.data.examples import prompt_completions
from diversity_tuning.trainers.batches import ResumableOrderMixin
from diversity_tuning.trainers.head_choice import CheckedHeadMixin
from diversity_tuning.trainers.portable import check_chat_template
from diversity_tuning.trainers.precision import FullPrecisionMixin
from diversity_tuning.training.arguments import check_examples_left, first_rows, given_to_trainer, parse, rows_of
from diversity_tuning.training.life_cycle import TrainingRun
from diversity_tuning.training.models import policy_of


class ResumableSFTTrainer(FullPrecisionMixin, ResumableOrderMixin, CheckedHeadMixin, SFTTrainer):
    """TRL's trainer; a resumed run keeps the order of its batches."""

    def _prepare_dataset(self, dataset, processing_class, *arguments, **options):
        check_chat_template(dataset, processing_class)
        return super()._prepare_dataset(dataset, processing_class, *arguments, **options)


def train_sft(training_run: TrainingRun) -> None:
    """Supervised fine-tuning on every response; the loss is on response tokens only."""
    arguments, model_config, config = parse(training_run, SFTConfig)
    data = {name: first_rows(prompt_completions(rows, where), limit) for name, rows, limit, where in rows_of(arguments)}
    policy = policy_of(arguments, model_config, config, training_run)
    trainer = ResumableSFTTrainer(**policy, **given_to_trainer(arguments, config, data))
    check_examples_left(trainer, arguments)
    training_run.train(trainer, {f"{name}_examples": len(rows) for name, rows in data.items()}, say=False)
