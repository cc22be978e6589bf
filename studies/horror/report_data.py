"""What the horror report reads: constraints, diversity, accuracies and training histories of every model and seed."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diversity_tuning.errors import UserError
from studies.horror.constraint_rows import rates
from studies.horror.constraints import CONSTRAINTS
from studies.horror.specification import GROUPS, group
from studies.report import read_json, read_json_lines

STUDY = "horror"
MODELS = ("base", "sft", "dpo-easy", "ddpo-easy", "dpo-hard", "ddpo-hard")
TRAINED = ("generation", *MODELS[2:])  # folders of training runs
LEVELS = ("easy", "hard")
OBEDIENCE = (*CONSTRAINTS, "all", "kept")
MEASURES = (*OBEDIENCE, "semantic", "words")


@dataclass
class Results:
    """Everything of one report. ``values[model][measure]`` is ``(seeds, specifications)``, of those inside the pools.

    ``obedience[model, group][constraint]`` is the same for each of :data:`.GROUPS` that is there; its models are those of
    :data:`MODELS` and whatever else lies beside them in the folders of constraints. Empty where ``values`` holds all of it.
    """

    seeds: list[Path]
    values: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    obedience: dict[tuple[str, str], dict[str, np.ndarray]] = field(default_factory=dict)
    accuracy: list[dict] = field(default_factory=list)  # per seed: model -> level -> figures
    separability: list[dict] = field(default_factory=list)
    histories: list[dict[str, list[dict]]] = field(default_factory=list)  # per seed: run -> rows of metrics.jsonl
    runs: list[dict[str, dict]] = field(default_factory=list)  # per seed: run -> its provenance
    stories: dict[str, list[dict]] = field(default_factory=dict)  # model -> rows of the first seed

    def frames(self) -> dict:
        """Every measure per seed, model, group and specification: what all means and intervals are computed from; no texts."""
        found = {"prompts": self._frame(self.values, MEASURES, ["model"])} if self.values else {}
        return found | ({"obedience": self._frame(self.obedience, OBEDIENCE, ["model", "group"])} if self.obedience else {})

    def _frame(self, found: dict, measures: tuple[str, ...], names: list[str]):
        import pandas as pd

        parts = [
            pd.DataFrame(
                {"seed": seed.name, **dict(zip(names, [key] if isinstance(key, str) else key, strict=True)),
                 "specification": range(len(values["all"][place])), **{name: values[name][place] for name in measures}}
            )
            for key, values in found.items()
            for place, seed in enumerate(self.seeds)
        ]  # fmt: skip
        return pd.concat(parts)


def read_results(seeds: list[str], split: str | None = None) -> Results:
    """Read the seed folders of the horror recipe's stages; what is missing is a :class:`UserError`."""
    suffix = f"-{split}" if split else ""
    results = Results([Path(seed) for seed in seeds])
    by_seed, obedience = [], []
    models = _models([folder / f"constraints{suffix}" for folder in results.seeds])
    for folder in results.seeds:
        stories = _stories(folder / f"constraints{suffix}", models)
        grouped = _grouped(stories)
        by_seed.append(_values({model: grouped[model, GROUPS[0]] for model in MODELS}, folder / f"diversity{suffix}"))
        obedience.append(_obedience(grouped))
        results.stories = results.stories or stories
        accuracy: dict = {}
        for level in LEVELS:
            accuracy |= read_json(folder / f"accuracy{suffix}" / f"{level}.json", STUDY)["models"]
        results.accuracy.append(accuracy)
        results.separability.append(read_json(folder / "data" / "separability.json", STUDY))
        results.histories.append({run: read_json_lines(folder / run / "metrics.jsonl", STUDY) for run in TRAINED})
        results.runs.append({run: read_json(folder / run / "provenance.json", STUDY) for run in TRAINED})
    results.values = _stacked(by_seed)
    if any(one.keys() != {(model, GROUPS[0]) for model in MODELS} for one in obedience):
        results.obedience = _stacked(obedience)
    return results


def read_obedience(seeds: list[str], split: str | None = None) -> Results:
    """What the checked stories alone say, of all models that are there, ``sft`` among them; needs no preference training."""
    folders = [Path(seed) / (f"constraints-{split}" if split else "constraints") for seed in seeds]
    present = _present(folders)
    models = [*(model for model in MODELS if model in present | {"sft"}), *sorted(present - set(MODELS))]
    by_seed = [_stories(folder, models) for folder in folders]
    obedience = _stacked([_obedience(_grouped(stories)) for stories in by_seed])
    return Results([Path(seed) for seed in seeds], obedience=obedience, stories=by_seed[0])


def _grouped(stories: dict[str, list[dict]]) -> dict[tuple[str, str], list[dict]]:
    return {
        (model, one): [row for row in rows if group(row["specification"]) == one]
        for model, rows in stories.items()
        for one in GROUPS
    }


def _obedience(grouped: dict[tuple[str, str], list[dict]]) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    return {key: {name: rates(rows, name) for name in OBEDIENCE} for key, rows in grouped.items() if rows}


def _models(folders: list[Path]) -> list[str]:
    """The recipe's models, and others whose stories were checked into the same folders."""
    return [*MODELS, *sorted(_present(folders) - set(MODELS))]


def _present(folders: list[Path]) -> set[str]:
    """The models with checked stories; one that the recipe does not make must have them in every folder."""
    there = {folder: {path.parent.name for path in folder.glob("*/constraints.jsonl")} for folder in folders}
    present = set().union(*there.values())
    for model in sorted(present - set(MODELS)):
        if lacking := [str(folder / model / "constraints.jsonl") for folder in folders if model not in there[folder]]:
            raise UserError(f"{', '.join(lacking)}: not there, but for other seeds; sample and check {model} for all of them")
    return present


def _stories(folder: Path, models: list[str]) -> dict[str, list[dict]]:
    """Model -> its rows, with ``all`` and ``kept`` among the constraints; every model must answer the same prompts."""
    stories = {model: read_json_lines(folder / model / "constraints.jsonl", STUDY) for model in models}
    asked = {row["prompt"] for row in stories["sft"]}
    for model, rows in stories.items():
        if {row["prompt"] for row in rows} != asked:
            raise UserError(f"{folder / model}: other prompts than sft's; sample it with the same --source and --num_prompts")
        for row in rows:
            kept = [row["constraints"][name] for name in CONSTRAINTS]
            row["constraints"] |= {"all": all(kept), "kept": float(np.mean(kept))}
    return stories


def spread(values: np.ndarray) -> dict[str, float]:
    """``{"mean", "low", "high"}`` of ``(seeds, specifications)``: 95% bootstrap over seeds, then over each one's own."""
    from diversity_tuning.evaluation.statistics import mean_interval

    return mean_interval(values, nested=True)


def _values(stories: dict[str, list[dict]], diversity: Path) -> dict[str, dict[str, np.ndarray]]:
    """Model -> measure -> value per specification, the specifications of all models in the same order."""
    spread: dict = {}
    for level in LEVELS:
        spread |= read_json(diversity / f"{level}.json", STUDY)["models"]
    values = {}
    for model, rows in stories.items():
        prompts = list(dict.fromkeys(row["prompt"] for row in rows))
        values[model] = {name: rates(rows, name) for name in OBEDIENCE}
        values[model] |= {name: np.array([spread[model][name][prompt] for prompt in prompts]) for name in ("semantic", "words")}
    return values


def _stacked(by_seed: list[dict[Any, dict[str, np.ndarray]]]) -> dict[Any, dict[str, np.ndarray]]:
    """Key -> measure -> ``(seeds, specifications)``, from the same of each seed."""
    if len({frozenset(one) for one in by_seed}) != 1:
        raise UserError("the seeds were sampled for different kinds of specifications; sample them alike")
    first = by_seed[0]
    return {key: {name: _stack([one[key][name] for one in by_seed]) for name in first[key]} for key in first}


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    if len({len(one) for one in arrays}) != 1:
        raise UserError("the seeds were sampled for different numbers of specifications; sample them alike")
    return np.stack(arrays)
