"""The stages of the captions recipe (docs/CAPTIONS.md): real captions with real votes, two rewards, SFT, DPO, DDPO, report."""

from studies.reproduce.stages import BASE_MODEL, FILTERING, SFT, TOKENIZER, Stage, Table, lanes, train

EMBEDDINGS = "--embedding_cache {run}/../embeddings"  # of all seeds: the captions are the same
# Model -> policy and flags of sampling. Top-k and top-p are the recipe's.
SAMPLED = {
    "sft": ("generation", ""),
    "sft-t0.7": ("generation", "--temperature 0.7"),
    "sft-t1.3": ("generation", "--temperature 1.3"),
    "dpo": ("dpo", ""),
    "dpo-t0.7": ("dpo", "--temperature 0.7"),
    "dpo-t1.3": ("dpo", "--temperature 1.3"),
    "ddpo": ("ddpo", ""),
    "ddpo-permuted": ("ddpo-permuted", ""),
}


def weigh(name: str, flags: str = "") -> Stage:
    """Stage 3 by meaning alone, to ``data/NAME``."""
    return Stage(
        f"3_{name}",
        "3_data_prep_for_diversified_training",
        f"python -m scripts_dataset_cleaner.3_data_prep_for_diversified_training {{config}} {EMBEDDINGS}"
        f" --source_pair {{run}}/data/pairs --data_path_pair_div {{run}}/data/{name} {flags}",
    )


def reward(name: str, source: str) -> Stage:
    """A caption reward fitted to a half, and measured on the test part."""
    return Stage(
        f"reward_{name}",
        "reward",
        f"python -m studies.captions.fit {{config}} {EMBEDDINGS} --source {{run}}/data/{source}"
        f" --held_out {{run}}/data/scored --output {{run}}/reward-{name}",
    )


def sample(name: str) -> Stage:
    """Captions of one model for every contest."""
    policy, flags = SAMPLED[name]
    return Stage(
        f"sample_{name}",
        "sample",
        "python -m scripts_eval.sample {config} {split} --source {run}/data/filtered {sampling_base}"
        f" --adapter {{run}}/{policy} --seed {{seed}} --output {{run}}/samples{{suffix}}/{name} {flags}",
    )


CAPTIONS = Table(
    seed=(
        Stage(
            "split",
            "split",
            "python -m studies.captions.split {config} {source} --seed {seed} --output {run}/data",
        ),
        TOKENIZER,
        FILTERING,
        Stage(
            "2_pairs",
            "2_data_prep_to_preference",
            "python -m scripts_dataset_cleaner.2_data_prep_to_preference {config} --source {run}/data/filtered"
            " --data_path_pair {run}/data/pairs",
        ),
        lanes(
            [BASE_MODEL, train("generation", "generation", "data/filtered")],
            [
                reward("a", "scored"),
                reward("b", "other"),
                weigh("pairs-real"),
                weigh("pairs-permuted", "--permute prompt --permute_seed {seed}"),
            ],
        ),
        lanes(
            [
                train("dpo", "dpo", "data/pairs-real", SFT),
                *(sample(name) for name in ("sft", "sft-t0.7", "sft-t1.3", "dpo", "dpo-t0.7", "dpo-t1.3")),
            ],
            [
                train("ddpo", "ddpo", "data/pairs-real", SFT),
                train("ddpo-permuted", "ddpo", "data/pairs-permuted", SFT),
                *(sample(name) for name in ("ddpo", "ddpo-permuted")),
            ],
        ),
        Stage(
            "measures",
            "reward",
            f"python -m studies.captions.measure {{config}} {EMBEDDINGS} --source {{run}}/data/filtered"
            " --split {test} --samples " + " ".join(f"{{run}}/samples{{suffix}}/{name}" for name in SAMPLED) + " --seed {seed}"
            " --reward_a {run}/reward-a --reward_b {run}/reward-b --output {run}/measures{suffix}",
        ),
    ),
    report=(Stage("report", "sample", "python -m studies.captions.report --seeds {seeds} {split} --output {report}"),),
    after=(("less docs/CAPTIONS.md", "what the figures say, and whose captions these are"),),
    own_data=True,
)
