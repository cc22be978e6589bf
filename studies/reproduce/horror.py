"""The stages of the horror recipe (docs/HORROR.md): SFT, DPO and DDPO on pairs of two levels, samples, constraints, report."""

import dataclasses

from studies.reproduce.stages import SFT, Lanes, Stage, Table, lanes, train

LEVELS = ("easy", "hard")
# At the recipe's rate the easy pairs, which words alone tell apart, cost the setting (docs/LOG.md).
FLAGS = {"easy": "--learning_rate 5e-4", "hard": ""}


def weigh(level: str) -> Stage:
    """Stage 3 on the pairs of a level, by meaning alone."""
    return Stage(
        f"weights_{level}",
        "3_data_prep_for_diversified_training",
        "python -m scripts_dataset_cleaner.3_data_prep_for_diversified_training {config} --embedding_cache {run}/embeddings"
        f" --source_pair {{run}}/data/{level} --data_path_pair_div {{run}}/pairs-{level}",
    )


def sample(name: str, adapter: str | None = None) -> tuple[Stage, Stage]:
    """Sample a policy, the base model without an adapter, and check the constraints of its stories."""
    folder = "{run}/samples{suffix}/" + name
    flag = f" --adapter {adapter}" if adapter else ""
    return (
        Stage(
            f"sample_{name}",
            "sample",
            f"python -m scripts_eval.sample {{config}} {{split}} --source {{run}}/data/sft {{sampling_base}}{flag}"
            f" --seed {{seed}} --output {folder}",
        ),
        Stage(
            f"constraints_{name}",
            "sample",
            f"python -m scripts_eval.constraint_eval --source {folder}/samples.jsonl"
            f" --output {{run}}/constraints{{suffix}}/{name}",
        ),
    )


def measure(lane: str, *names: str) -> tuple[Stage, Stage]:
    """Diversity of the samples of some policies, and their accuracy on held-out pairs of both levels."""
    adapters = {"base": "", "sft": "{run}/generation"}
    folders = " ".join(f"{{run}}/samples{{suffix}}/{name}" for name in names)
    policies = " ".join(f"--policy {name}={adapters.get(name, f'{{run}}/{name}')}" for name in names)
    pairs = " ".join(f"--pairs {level}={{run}}/data/{level}" for level in LEVELS)
    return (
        Stage(
            f"diversity_{lane}",
            "sample",
            f"python -m studies.horror.diversity --samples {folders} --output {{run}}/diversity{{suffix}}/{lane}.json",
        ),
        Stage(
            f"accuracy_{lane}",
            "sample",
            "python -m studies.horror.preference_accuracy --base_model {run}/base --reference {run}/generation"
            f" {policies} {pairs} --split {{test}} --output {{run}}/accuracy{{suffix}}/{lane}.json",
        ),
    )


def prefer(level: str) -> tuple[Stage, ...]:
    """DPO and DDPO on the pairs of a level, sampled."""
    names = (f"dpo-{level}", f"ddpo-{level}")
    trained = (train(name, name.partition("-")[0], f"pairs-{level}", f"{SFT} {FLAGS[level]}") for name in names)
    return (*trained, *(stage for name in names for stage in sample(name, "{run}/" + name)))


HORROR = Table(
    seed=(
        Stage(
            "specifications",
            "specifications",
            "python -m studies.horror.specifications {config} --seed {seed} --output {run}/data",
        ),
        Stage(
            "tokenizer",
            "tokenizer",
            "python -m studies.miniature.tokenizer {config} --source {run}/data/pretraining --output {run}/tokenizer",
        ),
        lanes(
            [
                Stage(
                    "base_model",
                    "base_model",
                    "python -m studies.horror.base_model {config} --seed {seed} --source {run}/data/pretraining"
                    " --tokenizer {run}/tokenizer --output {run}/base",
                ),
                train("generation", "generation", "data/sft"),
            ],
            [
                Stage(
                    "boundaries",
                    "specifications",
                    "python -m studies.horror.boundaries --data {run}/data --tokenizer {run}/tokenizer"
                    " --output {run}/boundaries.json",
                ),
                *(weigh(level) for level in LEVELS),
            ],
        ),
        lanes(
            [*prefer("easy"), *sample("sft", "{run}/generation"), *measure("easy", "sft", "dpo-easy", "ddpo-easy")],
            [*sample("base"), *prefer("hard"), *measure("hard", "base", "dpo-hard", "ddpo-hard")],
        ),
    ),
    report=(Stage("report", "sample", "python -m studies.horror.report --seeds {seeds} {split} --output {report}"),),
    after=(
        (".venv/bin/python -m scripts_eval.play_model --adapter {run}/dpo-hard", "write with it"),
        ("less docs/HORROR.md", "what the figures say"),
    ),
)


def _on_smollm2(row: Stage | Lanes) -> Stage | Lanes:
    """The row with the pretrained model in the place of the one that the recipe horror makes, and rates of its own recipe."""
    if isinstance(row, Lanes):
        return Lanes(tuple(tuple(map(_on_smollm2, lane)) for lane in row.lanes))
    words = row.command.replace("{run}/base", "builtin:smollm2").replace("{run}/tokenizer", "builtin:smollm2")
    words = words.replace("scripts_eval.sample {config}", "scripts_eval.sample {config} {dtype}")
    return dataclasses.replace(row, command=words.replace(f" {FLAGS['easy']}", ""))


HORROR_SMOLLM2 = dataclasses.replace(HORROR, seed=tuple(map(_on_smollm2, HORROR.seed)), laptop=True)
