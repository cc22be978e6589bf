"""The life cycle of a training run: skip it if finished, resume it from a checkpoint, publish its folder atomically.

A run trains in a hidden sibling of its output folder, with checkpoints, and is renamed into place when it is whole. A killed
run resumes from its last checkpoint when the same command is given again.
"""

import functools
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from diversity_tuning.data.tables import check_source_name
from diversity_tuning.errors import UserError
from diversity_tuning.locks import real
from diversity_tuning.missing import advice
from diversity_tuning.names import nearest
from diversity_tuning.next_steps import print_next
from diversity_tuning.public import masked
from diversity_tuning.recipe import explicit_settings, truth
from diversity_tuning.runs import (
    file_digest,
    git_commit,
    is_finished,
    library_versions,
    provenance,
    put_in_place,
    write_provenance,
    write_text,
)
from diversity_tuning.training.curves import plot_curves
from diversity_tuning.training.model_card import model_card
from diversity_tuning.training.resume import (
    STARTED,
    check_processes_of,
    check_same_run,
    checkpoints,
    damage,
    has_state,
    newest,
    processes_of,
    read_started,
    same_values,
    tell,
    without_state,
)

INPUTS = ("source", "model_name_or_path", "adapter")
# What may differ between two launches of the same run.
_NOT_SETTINGS = (
    *("output_dir", "config", "overwrite", "resume_from_checkpoint", "report_to", "disable_tqdm", "logging_dir", "run_name"),
    *("log_level", "log_level_replica", "log_on_each_node", "project", "trackio_space_id", "ddp_timeout", "dataset_num_proc"),
    *("dataloader_num_workers", "dataloader_pin_memory", "dataloader_prefetch_factor", "dataloader_persistent_workers"),
)
_LAST, _NEVER = ("auto", "true"), ("false", "none", "never")  # what --resume_from_checkpoint takes besides a path
# Of transformers, of FSDP, of DeepSpeed.
_RESUME_STATE = (
    *("optimizer.pt", "scheduler.pt", "scaler.pt", "training_args.bin", "rng_state*"),
    *("optimizer.bin", "optimizer_[0-9]*", "pytorch_model_fsdp*", "global_step*", "latest", "zero_to_fp32.py"),
)


class TrainingRun:
    """A training run, known from its flags alone, so that a finished one is skipped before torch is loaded.

    ``text`` is the command's docstring. ``further`` takes the settings and returns those to record and, by name, the paths of
    inputs besides :data:`INPUTS`. A run that is asked for ``--help`` only is never finished; the parser answers.
    """

    def __init__(
        self, stage: str, argv: list[str], text: str | None = None,
        further: Callable[[dict], tuple[dict, dict]] | None = None,
    ):  # fmt: skip
        self.stage, self.argv, self.text = stage, argv, text
        self.asks_for_help = bool({"-h", "--help"} & set(argv))
        if self.asks_for_help:
            return
        settings = explicit_settings(argv)
        missing = [name for name in ("source", "model_name_or_path", "output_dir") if name not in settings]
        if missing:
            typed = nearest(missing[0], settings).replace("did you mean", "is it meant by --")
            raise UserError(f"{stage}: --{missing[0]} is missing, in the flags and in the recipe{typed.replace('-- ', '--')}")
        self.base_model = str(settings.get("model_name_or_path", ""))
        self.output = Path(str(settings.get("output_dir", ".")))
        self.overwrite = truth(settings.get("overwrite", False)) or False
        self.resume = str(settings.get("resume_from_checkpoint", "auto"))
        if settings.get("source"):
            check_source_name(settings["source"], f"{stage}'s --source")
        named = self.resume.lower() not in (*_LAST, *_NEVER)
        if named and not (Path(self.resume) / "trainer_state.json").is_file():
            raise UserError(f"--resume_from_checkpoint {self.resume}: no checkpoint there (no trainer_state.json)")
        inputs = {name: settings.get(name) for name in INPUTS}
        if further is not None:
            settings, more = further(settings)
            inputs |= more
        kept = {key: value for key, value in settings.items() if key not in _NOT_SETTINGS}
        self.record = provenance(stage, kept, inputs)
        self.built: tuple = ()  # the dataclasses that recipe and flags became, beside the trainer's own
        self.processes = int(os.environ.get("WORLD_SIZE", "1"))  # that train together; of devices, where one has several
        self._damaged: list[Path] = []

    @property
    def folder(self) -> Path:
        """Where the run trains until it is whole."""
        output = real(self.output)
        return output.with_name(f".{output.name}.training")

    def is_finished(self) -> bool:
        def as_asked(made: dict) -> dict:
            return same_values(self.stage, made, self.record["arguments"])

        return not self.asks_for_help and is_finished(self.output, self.record, self.overwrite, as_asked=as_asked)

    def checkpoint(self) -> str | None:
        """The checkpoint to resume from: the newest whole one of this same run, unless a flag names another.

        A :class:`UserError` where there are checkpoints and the run cannot go on from them as it was.
        """
        return self._checkpoint

    @functools.cached_property
    def _checkpoint(self) -> str | None:
        if self.resume.lower() in _NEVER:
            return None
        found, started = checkpoints(self.folder), read_started(self.folder)
        if self.resume.lower() not in _LAST:
            named = Path(self.resume)
            if wrong := damage(named):
                raise UserError(f"--resume_from_checkpoint {named}: is damaged ({wrong}); give another checkpoint")
            if not has_state(named):
                raise UserError(f"--resume_from_checkpoint {named}: {without_state(named)}")
            check_processes_of(f"--resume_from_checkpoint {named}", processes_of(named), int(os.environ.get("WORLD_SIZE", "1")))
            if found and not self.overwrite and named.resolve().parent != self.folder.resolve():
                check_same_run(self.output, started, self.record, self.processes)
            return self.resume
        if not found:
            return None
        try:
            check_same_run(self.output, started, self.record, self.processes)
            newest_one, self._damaged = newest(self.output, found)
        except UserError:
            if not self.overwrite:
                raise
            return None
        return newest_one and str(newest_one)

    def open(self) -> str | None:
        """Make the training folder and return the checkpoint to resume from. Call on every process."""
        checkpoint = self.checkpoint()
        if int(os.environ.get("RANK", "0")) == 0:
            if checkpoint is None and checkpoints(self.folder):
                print(f"{self.output}: begins again; the checkpoints of the run that was stopped are deleted", flush=True)
            if checkpoint is None:
                shutil.rmtree(self.folder, ignore_errors=True)
            for place in self._damaged:
                if not (place / "trainer_state.json").is_file():  # a save that was cut short; a damaged one is kept
                    shutil.rmtree(place, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.folder / STARTED, json.dumps({**self.record, "processes": self.processes}))
        if checkpoint:
            tell(f"{self.output}: resuming from {Path(checkpoint).name}")
        return checkpoint

    def train(self, trainer, counts: dict, say: bool = True) -> None:
        """Train, from the checkpoint that there is, and :meth:`close`; ``counts``, printed unless told not to, are recorded."""
        commit = self.built[0].source_revision  # of a hub data set, which has no fingerprint here
        counts = counts | ({"source_commit": commit} if commit else {})
        if say and trainer.is_world_process_zero():
            print(json.dumps(counts), flush=True)
        trainer.train(resume_from_checkpoint=self.open())
        self.close(trainer, counts)

    def close(self, trainer, counts: dict) -> None:
        """Save what the run leaves behind and rename the folder into place. Call on every process."""
        pushes, trainer.args.push_to_hub = trainer.args.push_to_hub, False  # what is whole and checked is pushed, below
        trainer.save_model(str(self.folder))
        trainer.args.push_to_hub = pushes
        trainer.accelerator.wait_for_everyone()
        if trainer.accelerator.is_main_process:
            from diversity_tuning.opening import check_finite, weights_of  # loads torch
            from diversity_tuning.training.read_again import check_saved

            check_finite(self.folder)
            check_saved(trainer, self)
            history = trainer.state.log_history
            write_text(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in history))
            together = {key: value for part in self.built for key, value in vars(part).items()} | trainer.args.to_dict()
            plain = json.dumps(together, default=lambda value: getattr(value, "value", None) or str(value))
            configuration = masked(json.loads(plain))  # as it was built and used, which is what a recipe's key has become
            resolved = json.dumps(configuration, indent=2, sort_keys=True)
            write_text(self.folder / "resolved_config.json", resolved + "\n")
            self._draw(history)
            asked = {key: configuration[key] for key in self.record["arguments"] if key in configuration}
            record = {**self.record, "request": self.record["arguments"], "arguments": asked}
            self._write_cards(record, history, counts)
            best = trainer.state.best_model_checkpoint
            kept = {"best_checkpoint": Path(best).name, "best_metric": trainer.state.best_metric} if best else {}
            weights = {file.name: file_digest(file) for file in weights_of(self.folder)}
            write_provenance(self.folder, record, counts=counts, metrics=last_values(history), weights=weights, **kept)
            _forget_resume_state(self.folder)
            put_in_place(self.folder, self.output)
            if pushes:
                push(self.output, trainer.hub_model_id, trainer.args.hub_revision)
            print_next(self.stage, self.output)
        trainer.accelerator.wait_for_everyone()

    def _draw(self, history: list[dict]) -> None:
        """The curves. A figure that cannot be drawn costs no model: it is left out, with one line that says why."""
        path = self.folder / "curves.png"
        try:
            plot_curves(history, path, self.output.name)
        except ModuleNotFoundError as error:
            print(f"{self.output}: no curves.png: {advice(error.name).removeprefix('error: ')}", flush=True)
        except Exception as error:  # matplotlib's cache, fonts and backends each fail in their own way
            path.unlink(missing_ok=True)
            print(f"{self.output}: no curves.png: {' '.join(str(error).split())[:200]}", flush=True)

    def _write_cards(self, record: dict, history: list[dict], counts: dict) -> None:
        """A README for the model and for every checkpoint, in place of the one that the trainer or PEFT wrote."""
        files = [name for name in ("resolved_config.json", "metrics.jsonl", "curves.png") if (self.folder / name).is_file()]
        for folder in [self.folder, *self.folder.glob("checkpoint-*")]:
            step = int(folder.name.split("-")[1]) if folder != self.folder else float("inf")
            card = model_card(
                record, counts, last_values(row for row in history if row["step"] <= step),
                base=self.base_model, place=self.output / folder.relative_to(self.folder),
                adapter=(folder / "adapter_config.json").is_file(), versions=library_versions(), commit=git_commit(),
                files=[name if folder == self.folder else f"../{name}" for name in files],
            )  # fmt: skip
            write_text(folder / "README.md", card)


def push(output: Path, repository: str, revision: str | None) -> None:
    """Upload a finished run, without its checkpoints, to the hub."""
    from huggingface_hub import HfApi

    try:
        HfApi().upload_folder(
            repo_id=repository, folder_path=output, revision=revision, ignore_patterns=["checkpoint-*"],
            commit_message="End of training",
        )  # fmt: skip
    except Exception as error:  # of the network, of the hub, of rights
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{output}: is whole, but could not be pushed to {repository} ({reason}): hf upload {repository} {output}"
        ) from None


def last_values(history: Iterable[dict]) -> dict:
    """The last value of every number that was logged."""
    return {key: value for row in history for key, value in row.items() if isinstance(value, int | float)}


def _forget_resume_state(folder: Path) -> None:
    """A finished run needs no optimizer state; nothing that is unpickled stays, nor the frozen copy of the adapter."""
    for place in [folder, *folder.glob("checkpoint-*")]:
        forget_checkpoint_state(place)
    (folder / STARTED).unlink()


def forget_checkpoint_state(place: Path) -> None:
    """Remove what only resuming needs from a checkpoint; the adapter or model stays."""
    for path in [place / "ref", *(found for pattern in _RESUME_STATE for found in place.glob(pattern))]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
