"""What a training run goes on from: the newest whole checkpoint of the same run, or one line that says why it does not.

Nothing here loads torch, except to compare settings that are written in different ways.
"""

import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

from diversity_tuning.errors import UserError
from diversity_tuning.objectives import trainings
from diversity_tuning.outputs import read_json

STARTED = "launch.json"
# Settings that change no weight: a stopped run goes on with others.
_LOGGED = ("logging_", "hub_", "push_to_hub", "include_num_input_tokens_seen", "log_completions", "num_completions_to_print")
_SAVED = ("save_strategy", "save_steps", "save_total_limit", "save_only_model")
_OPTIMIZERS = ("optimizer.pt", "optimizer.bin", "optimizer_*")
_AGAIN = "give --overwrite true to begin again, or another --output_dir"


def same_values(stage: str, made: dict, asked: dict) -> dict:
    """``made`` as ``asked`` writes it: settings that mean the same to the training's parser, as a default does, are those."""
    if made == asked:
        return made
    parser = trainings()[stage].parser()
    flags = parser._option_string_actions
    old, new = (_parsed(parser, settings) for settings in (made, asked))
    names = {name: getattr(flags.get(f"--{name}"), "dest", None) for name in {*made, *asked}}
    same = {name for name, place in names.items() if place in old and old[place] == new.get(place)}
    return {key: value for key, value in made.items() if key not in same} | {key: asked[key] for key in same & asked.keys()}


def _parsed(parser, settings: dict) -> dict:
    """What the parser makes of settings; of those that it does not know or cannot read, nothing."""
    needed = [f"--{name}=x" for name in ("source", "model_name_or_path", "output_dir")]
    known = {name: action for name in settings if (action := parser._option_string_actions.get(f"--{name}")) is not None}
    words = {name: _words(f"--{name}", settings[name], action.nargs) for name, action in known.items()}
    found = vars(parser.parse_args(needed))
    for name, given in words.items():
        try:
            found[known[name].dest] = vars(parser.parse_args([*needed, *given]))[known[name].dest]
        except UserError:
            found.pop(known[name].dest, None)
    return found


def _words(flag: str, value: object, takes: object) -> list[str]:
    if takes == 0:
        return [flag]
    if isinstance(value, list):
        return [flag, *map(str, value)]
    return [f"{flag}={json.dumps(value) if isinstance(value, dict) else value}"]


def changed(made: dict, asked: dict) -> list[str]:
    """The names of what decides the weights and differs between two records of a run, inputs included."""
    free = (*_LOGGED, *(() if _keeps_best(made) or _keeps_best(asked) else _SAVED))
    old, new = made.get("arguments") or {}, asked["arguments"]
    if different := _different(old, new, free):
        different = _different(same_values(asked["stage"], old, new), new, free)
    return [*different, *_different(made.get("inputs") or {}, asked["inputs"], ())]


def _keeps_best(record: dict) -> bool:
    """Whether the best checkpoint is what the run hands on: how often one is saved then decides which."""
    return bool((record.get("arguments") or {}).get("load_best_model_at_end"))


def _different(old: dict, new: dict, free: tuple[str, ...]) -> list[str]:
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name) and not (free and name.startswith(free)))


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, newest first."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.split("-")[1].isdigit()]
    return sorted(found, key=lambda path: -int(path.name.split("-")[1]))


def has_state(checkpoint: Path) -> bool:
    """Whether optimizer, learning rate and random numbers of all processes are saved with it."""
    if not any(checkpoint.glob("rng_state*.pth")):
        return False
    optimizer = any(path for name in _OPTIMIZERS for path in checkpoint.glob(name))
    return any(checkpoint.glob("global_step*")) or (optimizer and (checkpoint / "scheduler.pt").is_file())


def damage(checkpoint: Path) -> str | None:
    """The first file of a checkpoint that cannot be read, or that is missing; None for a whole one."""
    if not (checkpoint / "trainer_state.json").is_file():
        return "trainer_state.json is missing"
    weights = (*checkpoint.glob("*.safetensors"), *checkpoint.glob("global_step*"), *checkpoint.glob("pytorch_model_fsdp*"))
    if not weights:
        return "its weights are missing"
    from safetensors import safe_open

    for file in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
        try:
            if file.suffix == ".json":
                json.loads(file.read_text(encoding="utf-8"))
            elif file.suffix == ".safetensors":
                with safe_open(file, framework="np"):
                    pass
            elif file.suffix in (".pt", ".pth", ".bin"):
                with zipfile.ZipFile(file) as archive:
                    if archive.testzip() is not None:
                        return file.relative_to(checkpoint).as_posix()
        except Exception:  # damaged, each in its own way
            return file.relative_to(checkpoint).as_posix()
    return None


def newest(output: Path, found: Iterable[Path]) -> tuple[Path | None, list[Path]]:
    """The newest whole checkpoint of those, newest first, and the damaged ones before it, each of which is told.

    A :class:`UserError` where there is none only because no optimizer was saved: the learning rate would begin anew.
    """
    damaged: list[Path] = []
    bare: Path | None = None
    for path in found:
        if (wrong := damage(path)) is not None:
            damaged.append(path)
            tell(f"{output}: {path.name} is damaged ({wrong}) and not gone on from")
        elif has_state(path):
            if bare:
                tell(f"{output}: {bare.name} holds no optimizer, schedule or random state and is not gone on from")
            return path, damaged
        else:
            bare = bare or path
    if bare and not damaged:
        raise UserError(f"{output}: was stopped, and {without_state(bare)}; {_AGAIN}")
    if any((path / "trainer_state.json").is_file() for path in damaged):  # written last: without it the save was cut short
        raise UserError(f"{output}: was stopped, and none of its checkpoints is whole; they are kept: {_AGAIN}")
    return None, damaged


def without_state(checkpoint: Path) -> str:
    return f"{checkpoint.name} holds no optimizer, so that the learning rate would begin anew (--save_only_model)"


def check_same_run(output: Path, started: dict | None, record: dict, processes: int) -> None:
    """Raise a :class:`UserError` unless a stopped run is this one: settings, inputs and number of processes."""
    if started is None:
        raise UserError(f"{output}: a stopped run's checkpoints lie beside it and do not say what run they are of; {_AGAIN}")
    if names := changed(started, record):
        raise UserError(
            f"{output}: was stopped while it was made otherwise ({', '.join(names)}), and its checkpoints are kept: give the"
            f" same settings to go on, {_AGAIN.removeprefix('give ')}"
        )
    check_processes_of(output, started.get("processes", processes), processes)


def check_processes_of(where: object, made: int, processes: int) -> None:
    """Raise a :class:`UserError` where another number of processes would train some examples twice and some never."""
    if made != processes:
        raise UserError(
            f"{where}: was trained by {made} process{'es' * (made > 1)}, and {processes} would go on with other batches: start"
            f" {made} again, or {_AGAIN}"
        )


def read_started(folder: Path) -> dict | None:
    """What the run in a training folder was started with."""
    return read_json(folder / STARTED) or None


def processes_of(checkpoint: Path) -> int:
    """How many processes saved a checkpoint: each saves its random numbers."""
    return len(list(checkpoint.glob("rng_state_*.pth"))) or 1


def tell(line: str) -> None:
    """Print a line, of several processes on the first."""
    if os.environ.get("RANK", "0") == "0":
        print(line, flush=True)
