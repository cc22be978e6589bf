"""The stages in the order in which they run, from top to bottom: `reproduce.sh` runs this table, `--dry_run` prints it.

A row is ``Stage(name, recipe file, command)``. A recipe has a stage when it has the stage's file, so that what one recipe makes
itself (the miniature's data, base model and style features) another one downloads. Words in braces are filled in by
:mod:`commands`: ``{run}`` is ``runs/<recipe>/seed<N>``, ``{main}`` the same, and that folder also for a run below
it (--popularity), ``{config}`` is ``--config recipes/<recipe>/<recipe file>.yaml``, the others are flags that depend on the
recipe. ``Lanes`` are rows that run side by side on a CPU, and one after the other on GPUs.

A recipe with stages of its own (not the paper's) gets a :class:`Table` and an entry in :data:`TABLES`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from diversity_tuning.objectives import OBJECTIVES


@dataclass(frozen=True)
class Stage:
    """One command: the name of its log, the YAML file of the recipe that it needs, its words; ``only``: with which engine."""

    name: str
    needs: str
    command: str
    only: str | None = None
    trained: str | None = None  # the recipe file of the model that it is about, which must be there too


@dataclass(frozen=True)
class Lanes:
    """Sequences of stages that do not need each other."""

    lanes: tuple[tuple[Stage, ...], ...]


def lanes(*sequences) -> Lanes:
    return Lanes(tuple(tuple(sequence) for sequence in sequences))


def weigh(name: str, types: str, flags: str = "") -> Stage:
    """Stage 3 with these types of deviation: ``data/pairs`` to ``data/pairs-NAME``."""
    return Stage(
        f"3_weights_{name}",
        "3_data_prep_for_diversified_training",
        "python -m scripts_dataset_cleaner.3_data_prep_for_diversified_training {config} {encoders}"
        f" --source_pair {{run}}/data/pairs --data_path_pair_div {{run}}/data/pairs-{name} --score_process {types} {flags}",
    )


def train(name: str, recipe: str, data: str, flags: str = "") -> Stage:
    """A training: ``cm_RECIPE.sh``, or its launcher by name where it has none, on the folder ``DATA`` to ``NAME``."""
    by_name = recipe in OBJECTIVES and not OBJECTIVES[recipe].script
    launch = f"accelerate_configs/launch.sh diversity_tuning.training {recipe}" if by_name else f"cm_{recipe}.sh"
    more = "{reward_flags}" if recipe == "reward" else "{train_flags}"
    return Stage(
        f"train_{name}",
        recipe,
        f"bash {launch} {{base}} --source {{run}}/{data} {flags} --seed {{seed}} --output_dir {{run}}/{name} {more}",
    )


def sample(
    name: str, method: str | None = None, strength: str = "1", adapter: str | None = None, flags: str = "",
    needs: str | None = None, scores: str = "--reward_model {run}/reward {distinct}",
) -> Stage:  # fmt: skip
    """Sample and score one policy, with more ``flags`` of sampling; a report groups runs by method and strength.

    An empty ``adapter`` is the untouched model, in the words of the SFT model's chat template.

    ``needs``: the recipe file of its training, without which there is no such policy. ``scores``: what else scores it.
    """
    place = f"--adapter {adapter or '{run}/' + name}" if adapter != "" else "--chat_template_from {main}/generation"
    return Stage(
        f"eval_{name}",
        "eval1_1",
        "{sampler} {encoders} {split} --source {main}/data/filtered {sampling_base}"
        f" {place} {scores}"
        f" --seed {{seed}} --name {method or name} --method {method or name} --strength {strength} --output {{eval}}/{name}"
        f" {flags}",
        trained=needs,
    )


def serve(log: str, *policies: str, adapters: dict[str, str] | None = None, flags: str = "") -> Stage:
    """With vLLM: the samples of all these policies from one server, which the rows of ``sample`` then only score."""
    places = {name: f"{{run}}/{name}" for name in policies} | (adapters or {})
    return Stage(
        log,
        "eval1_1",
        "python -m scripts_eval.sample_adapters {config} {split} --source {main}/data/filtered {sampling_base} --seed {seed}"
        " --adapters " + " ".join(f"{name}={place}" for name, place in places.items()) + f" --output {{eval}} {flags}",
        only="vllm",
    )


SFT = "--adapter {main}/generation"
TOKENIZER = Stage(
    "tokenizer",
    "tokenizer",
    "python -m studies.miniature.tokenizer {config} --source {run}/data/scored --output {run}/tokenizer",
)
FILTERING = Stage(
    "1_filtering",
    "1_data_prep_filtering",
    "python -m scripts_dataset_cleaner.1_data_prep_filtering {config} {tokenizer} --source {run}/data/scored"
    " --data_path {run}/data/filtered",
)
BASE_MODEL = Stage(
    "base_model",
    "base_model",
    "python -m studies.miniature.base_model {config} --seed {seed} --source {run}/data/filtered"
    " --tokenizer {run}/tokenizer --output {run}/base",
)

_FROM_SFT = [one for one in OBJECTIVES.values() if one.from_adapter]
_FROM_BASE = [one for one in OBJECTIVES.values() if not one.from_adapter]
# One seed: everything that the paper's main figure needs.
SEED = (
    Stage("world", "world", "python -m studies.miniature.world {config} --seed {seed} --output {run}/world"),
    Stage(
        "0_scoring",
        "0_data_prep_scoring",
        "python -m scripts_dataset_cleaner.0_data_prep_scoring {config} {source} --data_path {run}/data/scored",
    ),
    TOKENIZER,
    FILTERING,
    Stage(
        "2_pairs",
        "2_data_prep_to_preference",
        "python -m scripts_dataset_cleaner.2_data_prep_to_preference {config} --source {run}/data/filtered"
        " --data_path_pair {run}/data/pairs --data_path_filtered {run}/data/unpaired",
    ),
    Stage(
        "stylometry",
        "stylometry",
        "python -m diversity_tuning.stylometry fit {config} --source {run}/data/filtered --output {run}/stylometry",
    ),
    lanes(
        [
            weigh("both", "semantic style"),
            Stage(
                "distinct",
                "distinct_threshold",
                "python -m scripts_eval.distinct_threshold {config} --source {run}/data/filtered"
                " --embedding_cache {run}/embeddings --output {run}/distinct",
            ),
        ],
        [BASE_MODEL],
    ),
    lanes(
        [
            train("generation", "generation", "data/filtered"),
            *(train(one.run, one.name, "data/pairs-both", SFT) for one in _FROM_SFT),
        ],
        [
            train("reward", "reward", "data/filtered"),
            *(train(one.run, one.name, "data/pairs-both") for one in _FROM_BASE),
        ],
    ),
    serve("samples", *(one.run for one in OBJECTIVES.values() if one.script), adapters={"sft": "{run}/generation"}),
    lanes(
        [sample("sft", adapter="{run}/generation"), *(sample(one.run, needs=one.name) for one in _FROM_SFT)],
        [
            Stage(
                "reward_check",
                "reward",
                "python -m scripts_reward_modeling.reward_model_perf_analysis --source {run}/data/filtered --split {test}"
                " --reward_model {run}/reward --output {eval}-reward",
            ),
            Stage(
                "eval_gold",
                "eval2",
                "python -m scripts_eval.generation_eval2 {config} {encoders} {split} --source {run}/data/filtered"
                " --reward_model {run}/reward --seed {seed} --training_seed {seed} {distinct}"
                " --output {eval}/gold",
            ),
            *(sample(one.run, needs=one.name) for one in _FROM_BASE),
        ],
    ),
)


def divpo_pairs(name: str, flags: str = "") -> Stage:
    """Stage 4 with the recipe's settings, or those in ``flags``: ``data/unpaired`` to ``data/pairs-NAME``."""
    return Stage(
        f"4_{name}",
        "4_data_prep_divpo",
        "python -m scripts_dataset_cleaner.4_data_prep_divpo {config} {encoders} --source {run}/data/unpaired"
        f" --data_path_pair {{run}}/data/pairs-{name} --score_process semantic style {flags}",
    )


DIVPO_PAIRS = divpo_pairs("divpo")
DIVPO = train("divpo", "dpo", "data/pairs-divpo", SFT)
RELEASED_DIVPO = {"max_pair_num": 2, "rho": 25}  # the released code's defaults


def earlier(checkpoints: dict[str, int]) -> list[tuple[str, str, str, str]]:
    """What :func:`sample` is given for the checkpoints on the way of these models.

    ``checkpoints``: how many a training leaves, equally far apart; the last one is the model itself.
    """
    return [
        (f"{model}-{100 * place // count:02d}", model, f"0.{100 * place // count:02d}", f"{{run}}/{model}/checkpoint@{place}")
        for model, count in checkpoints.items()
        for place in range(1, count)
    ]


def extras(checkpoints: dict[str, int], released_divpo: bool = False) -> tuple[Stage | Lanes, ...]:
    """--full, after SEED: one type of deviation alone, DivPO (``released_divpo``: with the released code's settings too, where
    the recipe has others), and the checkpoints on the way of the four methods."""
    stops, more = earlier(checkpoints), ["divpo-released"] if released_divpo else []
    return (
        weigh("semantic", "semantic"),
        weigh("style", "style"),
        DIVPO_PAIRS,
        *(divpo_pairs(name, "--max_pair_num {max_pair_num} --rho {rho}".format(**RELEASED_DIVPO)) for name in more),
        lanes(
            [train("ddpo-sem", "ddpo", "data/pairs-semantic", SFT), train("ddpo-sty", "ddpo", "data/pairs-style", SFT)],
            [DIVPO, *(train(name, "dpo", f"data/pairs-{name}", SFT) for name in more)],
        ),
        serve("samples_full", "ddpo-sem", "ddpo-sty", "divpo", *more, adapters={name: place for name, _, _, place in stops}),
        lanes([sample("ddpo-sem"), sample("ddpo-sty")], [*map(sample, ["divpo", *more]), *(sample(*words) for words in stops)]),
    )


FLOOR = "--min_score_non_zero --min_deviation 0.1"
_FEWER = ("4", "8")
_KINDS = [("minimum", "4"), ("minimum", "8"), ("sorted", "4"), ("sorted", "8"), ("minimum", "all")]

# --ablation, after SEED (paper, figure 3): DDPO on at most 4, 8 or all responses of a prompt, its weights plain, at least 0.1,
# or plain on the pairs whose chosen has the most votes; DPO on as many, and DivPO, beside them. Sorting changes nothing where
# nothing is cut.
ABLATION = (
    *(
        stage
        for most in _FEWER
        for stage in (
            weigh(f"both-{most}", "semantic style", f"--max_cutoff {most}"),
            weigh(f"minimum-{most}", "semantic style", f"--max_cutoff {most} {FLOOR}"),
            weigh(f"sorted-{most}", "semantic style", f"--max_cutoff {most} --sort_with_score"),
        )
    ),
    weigh("minimum-all", "semantic style", FLOOR),
    DIVPO_PAIRS,
    lanes(
        [
            stage
            for most in _FEWER
            for stage in (
                train(f"dpo-{most}", "dpo", f"data/pairs-both-{most}", SFT),
                train(f"ddpo-both-{most}", "ddpo", f"data/pairs-both-{most}", SFT),
            )
        ],
        [*(train(f"ddpo-{kind}-{most}", "ddpo", f"data/pairs-{kind}-{most}", SFT) for kind, most in _KINDS), DIVPO],
    ),
    serve(
        "samples_ablation",
        *(f"{model}-{most}" for most in _FEWER for model in ("dpo", "ddpo-both")),
        *(f"ddpo-{kind}-{most}" for kind, most in _KINDS),
        "divpo",
    ),
    lanes(
        [
            *(sample(f"{model}-{most}", model, most) for most in _FEWER for model in ("dpo", "ddpo-both")),
            *(
                stage
                for policy, name, method in (
                    ("dpo", "dpo-all", "dpo"),
                    ("ddpo-both", "ddpo-both-all", "ddpo-both"),
                    ("ddpo-both", "ddpo-sorted-all", "ddpo-sorted"),
                )
                for stage in (
                    Stage(f"copy_{name}", "eval1_1", f"copy_samples {{main_eval}}/{policy} {{eval}}/{name}"),
                    sample(name, method, "all", f"{{run}}/{policy}"),
                )
            ),
        ],
        [*(sample(f"ddpo-{kind}-{most}", f"ddpo-{kind}", most) for kind, most in _KINDS), sample("divpo")],
    ),
)

# The last two, over the folders of one or several seeds.
REPORT = (
    Stage("auxiliary", "eval1_1", "python -m scripts_eval.generation_eval1_2 --val_files {results}"),
    Stage(
        "report",
        "eval1_1",
        "python -m scripts_eval.report --runs {results} --output {report} --compare {compare} {report_flags}",
    ),
)


@dataclass(frozen=True)
class Table:
    """The rows of a recipe: of one seed, of its reports, and what --full and --ablation add.

    ``after``: commands to go on with when all has run, each with what it is for; ``{run}`` is the folder of the seed.
    The paper's --controls are in :mod:`~studies.reproduce.controls`.
    """

    seed: tuple[Stage | Lanes, ...]
    report: tuple[Stage, ...] = REPORT
    extras: Callable[[dict[str, int], bool], tuple[Stage | Lanes, ...]] | None = None
    ablation: tuple[Stage | Lanes, ...] | None = None
    after: tuple[tuple[str, str], ...] = (("less docs/RUN_8B.md", "how to compare with the paper's tables"),)
    own_data: bool = False  # works on the user's own data or copy of published data: --source
    laptop: bool = False  # runs on a CPU unless another ACCELERATE is named, in the sizes quick and full
    compare: tuple[str, ...] = ("ddpo-both:dpo", "dorpo-both:orpo")

    def stages(self, *names: str) -> list[Stage]:
        """The rows of one seed with these names."""
        rows = [stage for row in self.seed for lane in getattr(row, "lanes", [(row,)]) for stage in lane]
        return [next(stage for stage in rows if stage.name == name) for name in names]


PAPER = Table(SEED, REPORT, extras, ABLATION)
# Recipes whose order is not the paper's, by the name of the recipe.
TABLES: dict[str, Table] = {}
