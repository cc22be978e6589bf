"""The README of a trained model: what it is, what it learned from, how well it did, how to load it."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import ModelCardData

from diversity_tuning.builtin import SMOLLM2, SMOLLM2_HUB_ID
from diversity_tuning.objectives import Training, trainings
from diversity_tuning.public import as_text, table_lines

_FILES = {
    "resolved_config.json": "All other settings, as the trainer resolved them",
    "metrics.jsonl": "The whole history of what was logged",
    "curves.png": "The same as curves",
}
_POLICY = """\
from diversity_tuning.policy import load_policy

model, tokenizer = load_policy({model})
"""
_MERGE = """
The adapter merged into its base model, for tools that know no adapters:

```bash
python -m diversity_tuning.policy merge --base_model {base} --adapter {place} --output merged
```
"""
_REWARD = """\
from diversity_tuning.reward_model import load_reward_model

rewards = load_reward_model({place!r}).score(["a prompt"], ["a response"])
"""


def model_card(
    record: dict, counts: dict, metrics: dict, base: str, place: str | Path, adapter: bool, versions: dict, commit: str | None,
    files: Sequence[str] = ("resolved_config.json", "metrics.jsonl"),
) -> str:  # fmt: skip
    """The card of the model in ``place`` as Markdown with the header that model hubs read.

    ``record`` is what :func:`diversity_tuning.runs.provenance` makes: stage, settings of recipe and flags, and the SHA-256 of
    every input. ``counts`` are numbers of examples, ``metrics`` the last value of everything that was logged, ``base`` the base
    model's name or folder, ``adapter`` whether only an adapter is saved, ``files`` what else the run left.
    """
    training, place = trainings()[record["stage"]], str(place)
    if training.makes == "reward":
        load, merge = _REWARD.format(place=place), ""
    elif adapter:
        load = _POLICY.format(model=f"{base!r}, {place!r}")
        merge = _MERGE.format(base=shlex.quote(base), place=shlex.quote(place))
    else:
        load, merge = _POLICY.format(model=repr(place)), ""
    kind = "A LoRA adapter for" if adapter else "Trained from"
    parts = [
        _header(training, base, adapter, record),
        f"# {as_text(Path(place).name)}\n\n{kind} `{base}`: {training.card}.\n",
        f"## How to load it\n\n```python\n{load}```\n{merge}",
        "An adapter on another base model, or with missing or unexpected weights, is refused.\n" if adapter else "",
        _table("Data", ("what", "value"), {**counts, **{f"SHA-256 of {k}": v for k, v in record["inputs"].items()}}),
        _table("Recipe", ("setting", "value"), record["arguments"]),
        _table("Metrics", ("last logged", "value"), metrics),
        "".join(f"- {_FILES[Path(name).name]}: `{name}`\n" for name in files),
        _table("Versions", ("library", "version"), {**versions, "git commit": commit}),
    ]
    return "\n".join(part for part in parts if part)


def _header(training: Training, base: str, adapter: bool, record: dict) -> str:
    data = ModelCardData(
        library_name="peft" if adapter else "transformers",
        base_model=linked_base(base, record["inputs"].get("model_name_or_path", "")),
        pipeline_tag="text-classification" if training.makes == "reward" else "text-generation",
        tags=["diversity-tuning", training.name, *(["lora"] if adapter else [])],
    )  # fmt: skip
    return f"---\n{data.to_yaml()}\n---\n"


def linked_base(base: str, fingerprint: str) -> str | None:
    """The hub id of a base model; of a folder, which no hub could link to, the base model that its own card names."""
    if base == SMOLLM2:
        return SMOLLM2_HUB_ID
    if fingerprint.startswith("hub:"):
        return base
    card = Path(base) / "README.md"
    header = card.read_text(encoding="utf-8", errors="replace").split("\n---")[0] if card.is_file() else ""
    named = re.search(r"^base_model: *([\w.-]+/[\w.-]+) *$", header, re.MULTILINE)
    return named[1] if named and header.startswith("---") else None


def _table(title: str, head: tuple[str, str], rows: dict) -> str:
    def cell(value) -> str:
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        return " ".join(as_text(text).replace("|", "\\|").split())

    return "\n".join([f"## {title}\n", *table_lines(head, (map(cell, row) for row in rows.items())), ""])
