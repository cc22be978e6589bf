"""A row of the table of stages as the command that runs: its words, its environment, and both as a line for a shell."""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from diversity_tuning.builtin import SMOLLM2
from diversity_tuning.errors import UserError
from diversity_tuning.objectives import weighted_pairs
from diversity_tuning.recipe import Recipe, read_recipe
from studies.reproduce.stages import Stage

# Copied whole or not at all, and once.
_COPY = '[ -d "$2" ] || { mkdir -p "$2.new" && cp "$1/samples.jsonl" "$1/sampling.json" "$2.new" && mv "$2.new" "$2"; }'
_SHARDED = ("fsdp", "deepspeed_zero3")
VENV_PYTHON = ".venv/bin/python"


@dataclass(frozen=True)
class Run:
    """One recipe with one seed in one folder, and how it is run; what the words in braces of the table are filled in from."""

    recipe: str
    seed: int
    folder: str
    split: str = ""  # of the evaluation; empty: the recipe's, which is test
    engine: str = "local"  # local or vllm
    suite: str = ""  # a suffix of the folder of evaluations
    main: str = ""  # the folder whose texts, base model and SFT adapter it shares; empty: its own
    source: str = ""  # the user's own data, of a recipe that has none
    size: str = ""  # the recipe's file of this name, if any, says what differs in it
    dtype: str = ""  # of a pretrained model in training and sampling; empty: as its recipe or its files have it
    train_flags: tuple[str, ...] = ()  # of the policies
    reward_flags: tuple[str, ...] = ()
    accelerate: str = "multi_gpu"  # a file of accelerate_configs/
    processes: str = ""  # another number of processes than that file's
    launcher_flags: str = ""
    root: Path = field(default=Path("."))

    def has(self, name: str) -> bool:
        """Whether the recipe has this YAML file."""
        return _recipe_file(name, self).is_file()

    @property
    def makes_model(self) -> bool:
        """Whether the base model is made here, on the CPU and without a network."""
        return self.has("base_model")

    @property
    def launch(self) -> str:
        """The launch configuration of the trainings."""
        return "cpu" if self.makes_model else self.accelerate

    @property
    def shared(self) -> str:
        """The folder of what several runs share: its own, or that of the main run."""
        return self.main or self.folder

    def evaluations(self) -> str:
        """The folder of scored runs."""
        return f"{self.folder}/eval{self.suite}{self.of_split}"

    @property
    def main_evaluations(self) -> str:
        """The folder of the main run's scored runs."""
        return f"{self.shared}/eval{self.of_split}"

    @property
    def of_split(self) -> str:
        """A suffix of folders that depend on the split."""
        return f"-{self.split}" if self.split else ""


@dataclass(frozen=True)
class Report:
    """What the last two stages are filled in from, besides the run whose folder keeps their logs."""

    output: str
    results: tuple[str, ...]  # folders of scored runs
    seeds: tuple[str, ...]  # folders of the seeds
    compare: tuple[str, ...] = tuple(":".join(pair) for pair in weighted_pairs())
    flags: tuple[str, ...] = ()


def command(stage: Stage, run: Run, report: Report | None = None) -> list[str]:
    """The words of a stage, before ``/*/`` and ``checkpoint@N`` are resolved."""
    words: list[str] = []
    lists, texts = _flags(stage, run, report), _places(run, report)
    for word in stage.command.split():
        words += lists[word] if word in lists else [word.format(**texts)]
    for name, value in _of_size(stage, run).items():
        if f"--{name}" not in words:  # a row's own flag is what the row is about
            words += [f"--{name}", str(value)]
    if words[0] == "copy_samples":
        return ["bash", "-c", _COPY, *words]
    return words


def settings(stage: Stage, run: Run) -> Recipe:
    """The recipe of a stage in the run's size."""
    recipe = read_recipe(_recipe_file(stage.needs, run))
    return Recipe({**recipe, **_of_size(stage, run)}, recipe.path)


def _of_size(stage: Stage, run: Run) -> dict:
    if not run.size or not run.has(run.size):
        return {}
    sizes = read_recipe(_recipe_file(run.size, run))
    with_settings = stage.command.startswith("{sampler}") or "{config}" in stage.command or stage.name.startswith("train_")
    return sizes.get(stage.name) or (sizes.get(stage.needs) if with_settings else None) or {}


def _recipe_file(name: str, run: Run) -> Path:
    return run.root / "recipes" / run.recipe / f"{name}.yaml"


def _places(run: Run, report: Report | None) -> dict[str, str]:
    places = {"run": run.folder, "main": run.shared, "seed": str(run.seed)}
    places |= {"model": f"{run.shared}/base" if run.makes_model else SMOLLM2}
    places |= {"vocabulary": f"{run.shared}/tokenizer" if run.has("tokenizer") else places["model"]}
    places |= {"eval": run.evaluations(), "main_eval": run.main_evaluations, "suffix": run.of_split}
    return places | {"test": run.split or "test", "report": report.output if report else ""}


def _flags(stage: Stage, run: Run, report: Report | None) -> dict[str, list[str]]:
    """Words of the table that expand to several flags, or to none."""
    shared, dtype = run.shared, _dtype(run)
    style = ["--style_model", f"builtin:stylometry:{shared}/stylometry"] if run.has("stylometry") else []
    flags = {
        "config": ["--config", f"recipes/{run.recipe}/{stage.needs}.yaml"],
        "source": _source(run),
        "tokenizer": ["--model_to_use", f"{shared}/tokenizer"] if run.has("tokenizer") else [],
        "encoders": [*style, "--embedding_cache", f"{shared}/embeddings"],
        "distinct": ["--distinct_threshold", f"{shared}/distinct"] if run.has("distinct_threshold") else [],
        "sft": ["--adapter", f"{shared}/generation"],
        "base": ["--model_name_or_path", f"{shared}/base"] if run.makes_model else [],
        "sampling_base": ["--base_model", f"{shared}/base"] if run.makes_model else [],
        "split": ["--split", run.split] if run.split else [],
        "dtype": dtype,
        "train_flags": [*dtype, *run.train_flags],
        "reward_flags": [
            *dtype,
            *(["--bf16", "true", "--use_cpu", "true"] if dtype else []),
            *run.reward_flags,
        ],  # its head stays float32
        "sampler": _sampler(stage, run),
    }
    if report:
        flags |= {
            "results": list(report.results),
            "seeds": list(report.seeds),
            "compare": list(report.compare),
            "report_flags": list(report.flags),
        }
    return {f"{{{name}}}": words for name, words in flags.items()}


def _dtype(run: Run) -> list[str]:
    return ["--dtype", run.dtype] if run.dtype else []


def _source(run: Run) -> list[str]:
    """The data that the first stage reads; none where its recipe file names them."""
    made = f"{run.folder}/world/source.jsonl.gz" if run.has("world") else ""
    return ["--source", run.source or made] if run.source or made else []


def _sampler(stage: Stage, run: Run) -> list[str]:
    """One process, or one on every GPU; samples from vLLM are there already, and one process scores them."""
    module, recipe = "scripts_eval.generation_eval1_1", f"recipes/{run.recipe}/{stage.needs}.yaml"
    if run.engine == "vllm":
        return ["python", "-m", module, "--config", recipe, "--engine", "vllm"]
    if run.launch in ("cpu", "single_gpu"):
        return ["python", "-m", module, "--config", recipe, *_dtype(run)]
    return ["bash", "accelerate_configs/launch.sh", module, stage.needs]


def environment(words: list[str], run: Run) -> dict[str, str]:
    """What a command needs in its environment to do in a fresh shell what it does here."""
    variables = {"HF_HUB_OFFLINE": "1"} if run.makes_model else {}
    if words[0] == "bash" and words[1] != "-c":
        samples = any(word.startswith("scripts_eval") for word in words[2:3])  # without weights to share: plain data parallel
        accelerate = "multi_gpu" if samples and run.launch in _SHARDED else run.launch
        variables |= {"MODEL": run.recipe, "ACCELERATE": accelerate}
        if not run.makes_model:
            variables |= {"PROCESSES": run.processes, "LAUNCHER_FLAGS": run.launcher_flags}
    return {name: value for name, value in variables.items() if value}


def as_shell(words: list[str], variables: dict[str, str]) -> str:
    """A line that a fresh shell in the repository's root runs as it is."""
    parts = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    return " ".join(
        [*parts, *map(_quoted, [VENV_PYTHON if word == "python" and i == 0 else word for i, word in enumerate(words)])]
    )


def _quoted(word: str) -> str:
    if word.endswith("/*/"):
        return shlex.quote(word[:-2]) + "*/"
    if match := re.fullmatch(r"(?:([\w.-]+)=)?(.*)/checkpoint@(\d+)", word):  # the last one is not among those to sample
        name, folder, place = match.groups()
        found = f'"$(ls -d {shlex.quote(folder)}/checkpoint-* | sort -V | sed -n {place}p)"'
        return f"{name}={found}" if name else found
    return shlex.quote(word)


def resolve(words: list[str], root: Path) -> list[str]:
    """The words with ``/*/`` and ``checkpoint@N`` replaced by the folders that are there."""
    resolved: list[str] = []
    for word in words:
        if word.endswith("/*/"):
            resolved += _folders(word[:-3], root) or [word]
        elif match := re.fullmatch(r"(.*/)checkpoint@(\d+)", word):
            resolved.append(_checkpoint(match[1], int(match[2]), root))
        else:
            resolved.append(word)
    return resolved


def _folders(parent: str, root: Path) -> list[str]:
    """The folders in ``parent``, a path from the root or an absolute one, as the words of a command."""
    found = sorted(path for path in (root / parent).glob("*") if path.is_dir() and not path.name.startswith("."))
    return [f"{parent}/{path.name}/" for path in found]


def _checkpoint(prefix: str, place: int, root: Path) -> str:
    name, equals, folder = prefix.rpartition("=")
    found = sorted((root / folder).glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    if place > len(found):
        raise UserError(
            f"{folder}: has {len(found)} checkpoints, the one number {place} is wanted; was its save_steps changed?"
        )
    return f"{name}{equals}{folder}{found[place - 1].name}"
