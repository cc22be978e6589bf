"""The README of a trained model: what it is, what it learned from, how well it did, how to load it."""

import shlex
from pathlib import Path

from diversity_tuning.objectives import Training, trainings
from diversity_tuning.public import as_text

_POLICY = """\
from diversity_tuning.policy import load_policy

model, tokenizer = load_policy({base!r}, {place!r})
"""
_WHOLE_POLICY = """\
from diversity_tuning.policy import load_policy

model, tokenizer = load_policy({place!r})
"""
_MERGE = """
The adapter merged into its base model, for tools that know no adapters:

```bash
python -m diversity_tuning.policy merge --base_model {base} --adapter {place} --output merged
```
"""
_REWARD = """\
from diversity_tuning.reward import load_reward_model

rewards = load_reward_model({place!r}).score(["a prompt"], ["a response"])
"""


def model_card(
    record: dict, counts: dict, metrics: dict, base: str, place: str | Path, adapter: bool, versions: dict, commit: str | None
) -> str:
    """The card of the model in ``place`` as Markdown with the header that model hubs read.

    ``record`` is what :func:`diversity_tuning.runs.provenance` makes: stage, settings of recipe and flags, and the SHA-256 of
    every input. ``counts`` are numbers of examples, ``metrics`` the last value of everything that was logged, ``base`` the base
    model's name or folder, ``adapter`` whether only an adapter is saved.
    """
    training, place = trainings()[record["stage"]], str(place)
    if training.makes == "reward":
        load, merge = _REWARD.format(place=place), ""
    elif adapter:
        load = _POLICY.format(base=base, place=place)
        merge = _MERGE.format(base=shlex.quote(base), place=shlex.quote(place))
    else:
        load, merge = _WHOLE_POLICY.format(place=place), ""
    kind = "A LoRA adapter for" if adapter else "Trained from"
    parts = [
        _header(training, base, adapter, record),
        f"# {as_text(Path(place).name)}\n\n{kind} `{base}`: {training.card}.\n",
        f"## How to load it\n\n```python\n{load}```\n{merge}",
        "An adapter on another base model, or with missing or unexpected weights, is refused.\n" if adapter else "",
        _table("Data", ("what", "value"), {**counts, **{f"SHA-256 of {k}": v for k, v in record["inputs"].items()}}),
        _table("Recipe", ("setting", "value"), record["arguments"]),
        "All other settings, as the trainer resolved them: `resolved_config.json`.\n",
        _table("Metrics", ("last logged", "value"), metrics),
        "The whole history: `metrics.jsonl`, `curves.png`.\n",
        _table("Versions", ("library", "version"), {**versions, "git commit": commit}),
    ]
    return "\n".join(part for part in parts if part)


def _header(training: Training, base: str, adapter: bool, record: dict) -> str:
    lines = ["---", f"library_name: {'peft' if adapter else 'transformers'}"]
    linked = record["inputs"].get("model_name_or_path", "").startswith("hub:") and not base.startswith("builtin:")
    if linked:  # a folder is nothing that a hub could link to
        lines.append(f"base_model: {base}")
    lines += [f"pipeline_tag: {'text-classification' if training.makes == 'reward' else 'text-generation'}"]
    lines += ["tags:", "- diversity-tuning", f"- {training.name}", *(["- lora"] if adapter else []), "---", ""]
    return "\n".join(lines)


def _table(title: str, head: tuple[str, str], rows: dict) -> str:
    def cell(value) -> str:
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        return " ".join(as_text(text).replace("|", "\\|").split())

    lines = [f"## {title}\n", f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {cell(key)} | {cell(value)} |" for key, value in rows.items()), ""])
