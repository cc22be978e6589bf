"""Preference training on pairs, by any objective."""

import pyarrow.compute as pc
from datasets import Dataset

from diversity_tuning.data.examples import read_pairs
from diversity_tuning.objectives import OBJECTIVES
from diversity_tuning.trainers.pairs import drop_equal_pairs
from diversity_tuning.training.arguments import check_examples_left, first_rows, given_to_trainer, parse, rows_of
from diversity_tuning.training.life_cycle import TrainingRun
from diversity_tuning.training.models import policy_of


def train_preference(training_run: TrainingRun) -> None:
    """An entry of :data:`.objectives.OBJECTIVES`; with ``--adapter`` from there, else from the base or instruct model itself.

    The pairs are those of stage 2, 3 or 4, or any that :func:`diversity_tuning.data.examples.preference_pairs` reads.
    """
    objective = OBJECTIVES[training_run.stage]
    arguments, model_config, config = parse(training_run, objective.config)
    weights = getattr(config, "weight_column", None)
    data = {name: read_pairs(first_rows(rows, limit), weights, where=where) for name, rows, limit, where in rows_of(arguments)}
    policy = policy_of(arguments, model_config, config, training_run)
    trainer = objective.trainer(**policy, **given_to_trainer(arguments, config, data))
    check_examples_left(trainer, arguments)
    equal = drop_equal_pairs(trainer)
    counts = {"pairs": len(data["train"]), "trained_pairs": len(trainer.train_dataset), **equal}
    counts["pairs_cut_at_max_length"] = _count_cut(trainer.train_dataset, config.max_length)
    training_run.train(trainer, counts)


def _count_cut(pairs: Dataset, max_length: int | None) -> int:
    """How many pairs have a side longer than ``max_length`` tokens."""
    if max_length is None:
        return 0
    lengths = pairs.select_columns(["prompt_ids", "chosen_ids", "rejected_ids"]).with_format("arrow")

    def too_long(batch):
        prompt, chosen, rejected = (batch[name].combine_chunks() for name in ("prompt_ids", "chosen_ids", "rejected_ids"))
        longest = pc.max_element_wise(pc.list_value_length(chosen), pc.list_value_length(rejected))
        return pc.sum(pc.greater(pc.add(pc.list_value_length(prompt), longest), max_length)).as_py() or 0

    return sum(too_long(batch) for batch in lengths.iter(batch_size=1000))
