"""The stages of --folds (docs/REAL.md): does weighting by deviation help on real votes, on prompts that were never trained on?

Every seed is a fold: the prompts of one part are held out. The other half of everybody's responses is for reward B, against
which nothing is trained. The control is made in the first fold alone.
"""

from studies.reproduce.captions import EMBEDDINGS
from studies.reproduce.stages import PAPER, SFT, Lanes, Stage, lanes, train, weigh

# Model -> its folder (none: the model as it is) and flags of sampling; the rest is the recipe's.
SAMPLED = {
    "untouched": ("", ""),
    "sft": ("generation", ""),
    "sft-t1.1": ("generation", "--temperature 1.1"),
    "dpo": ("dpo", ""),
    "dpo-t1.1": ("dpo", "--temperature 1.1"),
    "ddpo": ("ddpo", ""),
    "ddpo-permuted": ("ddpo-permuted", ""),
}
_PAIRS, _STYLOMETRY = PAPER.stages("2_pairs", "stylometry")


_DATA = (
    Stage("split", "split", "python -m studies.captions.split {config} {source} --seed {seed} --output {run}/data"),
    Stage(
        "1_filtering",
        "1_data_prep_filtering",
        "python -m scripts_dataset_cleaner.1_data_prep_filtering {config} --source {run}/data/policy"
        " --data_path {run}/data/filtered",
    ),
    _PAIRS,
    _STYLOMETRY,
    weigh("both", "semantic style"),
    Stage(
        "reward_b",
        "judge",
        f"python -m studies.captions.fit {{config}} {EMBEDDINGS} --source {{run}}/data/other --held_out {{run}}/data/scored"
        " --output {run}/reward-b",
    ),
)


def sample(name: str) -> Stage:
    """Samples of one model for the held-out prompts."""
    folder, flags = SAMPLED[name]
    place = f"--adapter {{run}}/{folder}" if folder else "--chat_template_from {run}/generation"
    return Stage(
        f"sample_{name}",
        "sample",
        "python -m scripts_eval.sample {config} {dtype} {split} --source {run}/data/filtered --base_model builtin:smollm2"
        f" {place} --seed {{seed}} --output {{run}}/samples{{suffix}}/{name} {flags}",
    )


def rows(control: bool) -> tuple[Stage | Lanes, ...]:
    """The stages of a fold; ``control``: with DDPO whose δ are permuted within prompts."""
    controls = ["ddpo-permuted"] if control else []
    names = [name for name in SAMPLED if name in controls or name != "ddpo-permuted"]
    return (
        *_DATA,
        *([weigh("permuted", "semantic style", "--permute prompt --permute_seed {seed}")] if control else []),
        lanes([train("generation", "generation", "data/filtered")], [train("reward", "reward", "data/filtered")]),
        lanes(
            [train("dpo", "dpo", "data/pairs-both", SFT), *map(sample, ("untouched", "sft", "sft-t1.1", "dpo", "dpo-t1.1"))],
            [
                train("ddpo", "ddpo", "data/pairs-both", SFT),
                *(train(name, "ddpo", "data/pairs-permuted", SFT) for name in controls),
                *map(sample, ("ddpo", *controls)),
            ],
        ),
        Stage(
            "measure",
            "measure",
            f"python -m studies.real.measure {{config}} {{dtype}} {EMBEDDINGS} --source {{run}}/data/filtered --split {{test}}"
            " --samples " + " ".join(f"{{run}}/samples{{suffix}}/{name}" for name in names) + " --seed {seed}"
            " --reward_a {run}/reward --reward_b {run}/reward-b --output {run}/measures{suffix}",
        ),
    )


REPORT = (Stage("report", "measure", "python -m studies.real.report --seeds {seeds} {split} --output {report}"),)
