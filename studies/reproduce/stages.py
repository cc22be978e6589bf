"""The stages in the order in which they run: `reproduce.sh` runs a plan of ``data/``, `--dry_run` prints it.

A plan is a list of rows, from top to bottom. A row is the word that ``data/stages.yaml`` calls a command by, or :func:`train`,
:func:`sample`, :func:`serve`, and then its words; a list of lists is lanes, which run side by side on a CPU and one after the
other on GPUs. ``each from_adapter ROW`` (or ``from_base``) is a row for every objective of that kind, its ``<run>`` and
``<name>`` put in.

A recipe has a stage when it has the stage's file, so that what one recipe makes itself (the miniature's data, base model and
style features) another one downloads. Words in braces are filled in by :mod:`commands`: ``{run}`` is
``runs/<recipe>/seed<N>``, ``{main}`` the same, and that folder also for a run below it (--popularity), ``{config}`` is
``--config recipes/<recipe>/<recipe file>.yaml``, the others are flags that depend on the recipe.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from diversity_tuning.objectives import OBJECTIVES
from studies.pools import read_pools

SFT = "{sft}"  # as the start of a training
RELEASED_DIVPO = {"max_pair_num": 2, "rho": 25}  # the released code's defaults
_COMMANDS = read_pools(__file__, "stages")
_OBJECTIVES = {
    "published": [one for one in OBJECTIVES.values() if one.script],
    "from_adapter": [one for one in OBJECTIVES.values() if one.from_adapter],
    "from_base": [one for one in OBJECTIVES.values() if not one.from_adapter],
}


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


Rows = tuple[Stage | Lanes, ...]


def lanes(*sequences) -> Lanes:
    return Lanes(tuple(tuple(sequence) for sequence in sequences))


def stage(kind: str, *words: str) -> Stage:
    """A command of ``data/stages.yaml`` with these words in the places of its ``args``; those left out are empty."""
    about = _COMMANDS[kind]
    names = about.get("args", "").split()
    values = dict.fromkeys(names, "") | dict(zip(names, words, strict=False))
    name, command = (_filled(text, values) for text in (about.get("name", kind), about["command"]))
    return Stage(name, about["needs"], command)


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"<(\w+)>", lambda found: values[found[1]], text)


def weigh(name: str, types: str, flags: str = "") -> Stage:
    """Stage 3 with these types of deviation: ``data/pairs`` to ``data/pairs-NAME``."""
    return stage("weigh", name, types, flags)


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


def read_rows(rows: list) -> Rows:
    """The rows of a plan's file."""
    return tuple(
        made for row in rows for made in (_stages(row) if isinstance(row, str) else [lanes(*(read_rows(lane) for lane in row))])
    )


def _stages(row: str) -> Iterator[Stage]:
    """The stages of one row: one, or one for every objective."""
    maker, *words = shlex.split(row.replace("<published>", " ".join(one.run for one in _OBJECTIVES["published"])))
    if maker == "each":
        for one in _OBJECTIVES[words[0]]:
            yield from _stages(_filled(row.split(maxsplit=2)[2], {"run": one.run, "name": one.name}))
        return
    named = dict(word.split("=", 1) for word in words if re.match(r"\w+=", word))
    words = [word for word in words if not re.match(r"\w+=", word)]
    if maker == "serve":
        yield serve(*words, adapters=named)
    elif maker in ("train", "sample"):
        yield {"train": train, "sample": sample}[maker](*words, **named)
    else:
        yield stage(maker, *words)


def earlier(checkpoints: dict[str, int]) -> list[tuple[str, str, str, str]]:
    """What :func:`sample` is given for the checkpoints on the way of these models.

    ``checkpoints``: how many a training leaves, equally far apart; the last one is the model itself.
    """
    return [
        (f"{model}-{100 * place // count:02d}", model, f"0.{100 * place // count:02d}", f"{{run}}/{model}/checkpoint@{place}")
        for model, count in checkpoints.items()
        for place in range(1, count)
    ]


def extras(checkpoints: dict[str, int], released_divpo: bool = False) -> Rows:
    """--full, after the paper's plan: one type of deviation alone, DivPO (``released_divpo``: with the released code's settings
    too, where the recipe has others), and the checkpoints on the way of the four methods."""
    stops, more = earlier(checkpoints), ["divpo-released"] if released_divpo else []
    return (
        weigh("semantic", "semantic"),
        weigh("style", "style"),
        stage("divpo_pairs", "divpo"),
        *(stage("divpo_pairs", name, "--max_pair_num {max_pair_num} --rho {rho}".format(**RELEASED_DIVPO)) for name in more),
        lanes(
            [train("ddpo-sem", "ddpo", "data/pairs-semantic", SFT), train("ddpo-sty", "ddpo", "data/pairs-style", SFT)],
            [train(name, "dpo", f"data/pairs-{name}", SFT) for name in ["divpo", *more]],
        ),
        serve("samples_full", "ddpo-sem", "ddpo-sty", "divpo", *more, adapters={name: place for name, _, _, place in stops}),
        lanes([sample("ddpo-sem"), sample("ddpo-sty")], [*map(sample, ["divpo", *more]), *(sample(*words) for words in stops)]),
    )


@dataclass(frozen=True)
class Table:
    """A plan: the rows of one seed and of its reports, and those of --ablation and of --folds with --methods or --rlaif.

    ``after``: commands to go on with when all has run, each with what it is for; ``{run}`` is the folder of the seed.
    """

    seed: Rows
    report: Rows
    ablation: Rows = ()
    methods: Rows = ()
    rlaif: Rows = ()
    after: tuple[tuple[str, str], ...] = ()
    own_data: bool = False  # works on the user's own data or copy of published data: --source
    laptop: bool = False  # runs on a CPU unless another ACCELERATE is named, in the sizes quick and full
    compare: tuple[str, ...] = ("ddpo-both:dpo", "dorpo-both:orpo")

    def stages(self, *names: str) -> list[Stage]:
        """The rows of one seed with these names."""
        rows = [stage for row in self.seed for lane in getattr(row, "lanes", [(row,)]) for stage in lane]
        return [next(stage for stage in rows if stage.name == name) for name in names]


_ROWS = ("seed", "report", "ablation", "methods", "rlaif")  # the fields of rows


def read_table(name: str) -> Table:
    """The plan of ``data/NAME.yaml``."""
    content = read_pools(__file__, name)
    return Table(**content | {part: read_rows(content.get(part, [])) for part in _ROWS})


PAPER, FOLDS = read_table("paper"), read_table("folds")
# Recipes whose plan is not the paper's, by the name of the recipe.
TABLES = {name: read_table(name) for name in ("horror", "horror-smollm2", "captions", "smollm2")}
