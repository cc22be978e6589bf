"""The life of a training run: is it done, does it go on, what does it leave behind.

A run trains in a hidden sibling of its output folder, with checkpoints, and is renamed into place when it is whole. A killed
run goes on from its last checkpoint when the same command is given again.
"""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from diversity_tuning.errors import UserError
from diversity_tuning.model_card import model_card
from diversity_tuning.runs import (
    explicit_settings,
    git_commit,
    is_finished,
    library_versions,
    provenance,
    put_in_place,
    write_provenance,
    write_text,
)

INPUTS = ("source", "model_name_or_path", "adapter")
# What may differ between two launches of the same run.
_NOT_SETTINGS = ("output_dir", "config", "overwrite", "resume_from_checkpoint", "report_to", "disable_tqdm", "logging_dir")
_LAST, _NEVER = ("auto", "true"), ("false", "none", "never")  # what --resume_from_checkpoint takes besides a path
# Of transformers, of FSDP, of DeepSpeed.
_RESUME_STATE = (
    *("optimizer.pt", "scheduler.pt", "scaler.pt", "training_args.bin", "rng_state*"),
    *("optimizer.bin", "optimizer_[0-9]*", "pytorch_model_fsdp*", "global_step*", "latest", "zero_to_fp32.py"),
)


@dataclass
class RunArguments:
    """Data in, folder out."""

    source: str = field(metadata={"help": "Folder with the data: a stage's output."})
    adapter: str | None = field(
        default=None, metadata={"help": "LoRA adapter to go on training; also the reference of DPO and DDPO. SFT's output."}
    )
    chat_template_from: str | None = field(
        default=None, metadata={"help": "Take the tokenizer with its chat template from here. Default: the Instruct sibling."}
    )
    train_split: str = field(default="train", metadata={"help": "Split to train on."})
    eval_split: str | None = field(default=None, metadata={"help": "Split for the evaluation loss; none by default."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Use the first N training examples only."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Use the first N evaluation examples only."})
    early_stopping_patience: int = field(
        default=3,
        metadata={"help": "With --load_best_model_at_end: stop after so many evaluations without a better one; 0 never stops."},
    )
    overwrite: bool = field(default=False, metadata={"help": "Replace an output folder that was made otherwise."})


class Launch:
    """One launch of a run, known from its flags alone, so that a finished run is skipped before torch is loaded."""

    def __init__(self, stage: str, argv: list[str]):
        settings = explicit_settings(argv)
        missing = [name for name in ("source", "model_name_or_path", "output_dir") if name not in settings]
        if missing and not {"help", "h"} & set(settings):
            raise UserError(f"{stage}: --{missing[0]} is missing, in the flags and in the recipe")
        self.stage, self.argv = stage, argv
        self.base_model = settings.get("model_name_or_path", "")
        self.output = Path(settings.get("output_dir", "."))
        self.overwrite = settings.get("overwrite", "False").lower() == "true"
        self.resume = settings.get("resume_from_checkpoint", "auto")
        if settings.get("source") and not Path(settings["source"]).exists():
            raise UserError(f"{settings['source']}: not there ({stage}'s --source); run the stage that makes it first")
        named = self.resume.lower() not in (*_LAST, *_NEVER)
        if named and not (Path(self.resume) / "trainer_state.json").is_file():
            raise UserError(f"--resume_from_checkpoint {self.resume}: no checkpoint there (no trainer_state.json)")
        kept = {key: value for key, value in settings.items() if key not in _NOT_SETTINGS}
        self.record = provenance(stage, kept, {name: settings.get(name) for name in INPUTS})

    @property
    def folder(self) -> Path:
        """Where the run trains until it is whole."""
        return self.output.with_name(f".{self.output.name}.training")

    def is_finished(self) -> bool:
        return is_finished(self.output, self.record, self.overwrite)

    def checkpoint(self) -> str | None:
        """The checkpoint to go on from: the last one of this same run, unless a flag says otherwise."""
        if self.resume.lower() not in _LAST:
            return None if self.resume.lower() in _NEVER else self.resume
        try:
            started = json.loads((self.folder / "launch.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        complete = [path for path in self.folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
        if started != self.record or not complete:
            return None
        return str(max(complete, key=lambda path: int(path.name.split("-")[1])))

    def open(self) -> str | None:
        """Make the training folder and return the checkpoint to resume from. Call on every process."""
        checkpoint = self.checkpoint()
        if int(os.environ.get("RANK", "0")) == 0:
            if checkpoint is None:
                shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.folder / "launch.json", json.dumps(self.record))
        if checkpoint:
            print(f"{self.output}: going on from {Path(checkpoint).name}", flush=True)
        return checkpoint

    def close(self, trainer, counts: dict) -> None:
        """Save what the run leaves behind and rename the folder into place. Call on every process."""
        trainer.save_model(str(self.folder))
        trainer.accelerator.wait_for_everyone()
        if trainer.accelerator.is_main_process:
            history = trainer.state.log_history
            write_text(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in history))
            resolved = json.dumps(trainer.args.to_sanitized_dict(), indent=2, sort_keys=True, default=str)
            write_text(self.folder / "resolved_config.json", resolved + "\n")
            draw_curves(history, self.folder / "curves.png", self.output.name)
            self._write_cards(history, counts)
            best = trainer.state.best_model_checkpoint
            kept = {"best_checkpoint": Path(best).name, "best_metric": trainer.state.best_metric} if best else {}
            write_provenance(self.folder, self.record, counts=counts, metrics=last_values(history), **kept)
            _forget_resume_state(self.folder)
            put_in_place(self.folder, self.output)
        trainer.accelerator.wait_for_everyone()

    def _write_cards(self, history: list[dict], counts: dict) -> None:
        """A README for the model and for every checkpoint, in place of the one that the trainer or PEFT wrote."""
        for folder in [self.folder, *self.folder.glob("checkpoint-*")]:
            step = int(folder.name.split("-")[1]) if folder != self.folder else float("inf")
            card = model_card(
                self.record, counts, last_values(row for row in history if row["step"] <= step),
                base=self.base_model, place=self.output / folder.relative_to(self.folder),
                adapter=(folder / "adapter_config.json").is_file(), versions=library_versions(), commit=git_commit(),
            )  # fmt: skip
            write_text(folder / "README.md", card)


def last_values(history: Iterable[dict]) -> dict:
    """The last value of every number that was logged."""
    return {key: value for row in history for key, value in row.items() if isinstance(value, int | float)}


def _forget_resume_state(folder: Path) -> None:
    """A finished run needs no optimizer state; nothing that is unpickled stays, nor the frozen copy of the adapter."""
    for place in [folder, *folder.glob("checkpoint-*")]:
        for path in [place / "ref", *(found for pattern in _RESUME_STATE for found in place.glob(pattern))]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    (folder / "launch.json").unlink()


def load_split(source: str, split: str, columns: tuple[str, ...], limit: int | None = None):
    """One split of a stage's output, with the columns it must have."""
    from datasets import DatasetDict, load_from_disk

    try:
        data = load_from_disk(source)
    except (FileNotFoundError, ValueError, OSError):
        raise UserError(f"{source}: no dataset here; run the data stages first") from None
    if not isinstance(data, DatasetDict):
        raise UserError(f"{source}: one split; give the folder of the stage, which holds all splits")
    if split not in data:
        raise UserError(f"{source}: no split '{split}', only {', '.join(data)}")
    rows = data[split]
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise UserError(f"{source}, split '{split}': no column '{missing[0]}'; it has {', '.join(rows.column_names)}")
    if len(rows) == 0:
        raise UserError(f"{source}, split '{split}': empty")
    return rows if limit is None else rows.select(range(min(limit, len(rows))))


def draw_curves(history: list[dict], path: Path, title: str) -> None:
    """Loss, rewards, accuracy and weights against steps, one panel for each kind that was logged (:func:`curve_panels`)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = curve_panels(history)
    if not panels:
        return
    figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 3), squeeze=False, layout="constrained")
    for axis, (name, curves) in zip(axes[0], panels.items(), strict=True):
        for label, points in curves.items():
            axis.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 20 else None)
        axis.set(xlabel="step", title=name)
        axis.legend(fontsize=7)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def curve_panels(history: list[dict]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Panel -> curve -> (step, value), for what was logged. Token accuracy only where no pairs are compared."""
    panels = {
        "loss": {"loss": "training", "eval_loss": "evaluation", "nll_loss": "NLL of chosen"},
        "reward": {"rewards/chosen": "chosen", "rewards/rejected": "rejected"},
        "margin": {"rewards/margins": "training", "eval_rewards/margins": "evaluation"},
        "accuracy": {"rewards/accuracies": "pairs, training", "eval_rewards/accuracies": "pairs, evaluation"},
        "token accuracy": {"mean_token_accuracy": "training", "eval_mean_token_accuracy": "evaluation"},
        "δ": {"weights/mean": "mean", "weights/effective_share": "effective share of pairs"},
    }
    found = {
        name: {
            label: [(row["step"], row[key]) for row in history if key in row]
            for key, label in curves.items()
            if any(key in row for row in history)
        }
        for name, curves in panels.items()
    }
    if found["accuracy"]:
        found["token accuracy"] = {}
    return {name: curves for name, curves in found.items() if curves}
