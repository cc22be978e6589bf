"""Preference training on pairs, by any objective."""

import json

from datasets import Dataset

from diversity_tuning.data.examples import read_pairs
from diversity_tuning.objectives import OBJECTIVES
from diversity_tuning.policy import attach_adapter
from diversity_tuning.training.arguments import callbacks_of, check_examples_left, first_rows, parse, rows_of, source_counts
from diversity_tuning.training.equal_pairs import drop_equal_pairs
from diversity_tuning.training.life_cycle import TrainingRun
from diversity_tuning.training.models import base_model_of, new_adapter_of, tokenizer_of


def train_preference(training_run: TrainingRun) -> None:
    """An entry of :data:`.objectives.OBJECTIVES`; with ``--adapter`` from there, else from the base or instruct model itself.

    The pairs are those of stage 2, 3 or 4, or any that :func:`diversity_tuning.data.examples.preference_pairs` reads.
    """
    objective = OBJECTIVES[training_run.stage]
    arguments, model_config, config = parse(training_run, objective.config)
    weights = getattr(config, "weight_column", None)
    data = {name: read_pairs(first_rows(rows, limit), weights, where=where) for name, rows, limit, where in rows_of(arguments)}
    tokenizer = tokenizer_of(arguments, model_config, config)
    model = base_model_of(model_config, config, training_run)
    if arguments.adapter:
        model = attach_adapter(model, arguments.adapter, model_config.model_name_or_path, is_trainable=True)
    trainer = objective.trainer(
        model=model,
        args=config,
        train_dataset=data["train"],
        eval_dataset=data.get("eval"),
        processing_class=tokenizer,
        peft_config=None if arguments.adapter else new_adapter_of(model_config, model, tokenizer),
        callbacks=callbacks_of(arguments, config),
    )
    check_examples_left(trainer, arguments)
    equal = drop_equal_pairs(trainer)
    counts = {"pairs": len(data["train"]), "trained_pairs": len(trainer.train_dataset), **equal}
    counts |= source_counts(arguments)
    counts["pairs_cut_at_max_length"] = _count_cut(trainer.train_dataset, config.max_length)
    if trainer.is_world_process_zero():
        print(json.dumps(counts), flush=True)
    trainer.train(resume_from_checkpoint=training_run.open())
    training_run.close(trainer, counts)


def _count_cut(pairs: Dataset, max_length: int | None) -> int:
    """How many pairs have a side longer than ``max_length`` tokens."""
    if max_length is None:
        return 0
    lengths = pairs.select_columns(["prompt_ids", "chosen_ids", "rejected_ids"]).with_format("arrow")

    def too_long(batch):
        prompt, chosen, rejected = (batch[name].combine_chunks() for name in ("prompt_ids", "chosen_ids", "rejected_ids"))
        import pyarrow.compute as pc

        longest = pc.max_element_wise(pc.list_value_length(chosen), pc.list_value_length(rejected))
        return pc.sum(pc.greater(pc.add(pc.list_value_length(prompt), longest), max_length)).as_py() or 0

    return sum(too_long(batch) for batch in lengths.iter(batch_size=1000))
