"""What the horror report reads: constraints, diversity, accuracies and training histories of every model and seed."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diversity_tuning.errors import UserError
from studies.horror.constraint_rows import rates
from studies.horror.constraints import CONSTRAINTS
from studies.report import read_json, read_json_lines

STUDY = "horror"
MODELS = ("base", "sft", "dpo-easy", "ddpo-easy", "dpo-hard", "ddpo-hard")
TRAINED = ("generation", *MODELS[2:])  # folders of training runs
LEVELS = ("easy", "hard")
MEASURES = (*CONSTRAINTS, "all", "kept", "semantic", "words")


@dataclass
class Results:
    """Everything of one report. ``values[model][measure]`` is ``(seeds, specifications)``."""

    seeds: list[Path]
    values: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    accuracy: list[dict] = field(default_factory=list)  # per seed: model -> level -> figures
    separability: list[dict] = field(default_factory=list)
    histories: list[dict[str, list[dict]]] = field(default_factory=list)  # per seed: run -> rows of metrics.jsonl
    runs: list[dict[str, dict]] = field(default_factory=list)  # per seed: run -> its provenance
    stories: dict[str, list[dict]] = field(default_factory=dict)  # model -> rows of the first seed

    def frame(self):
        """Every measure per seed, model and specification: what all means and intervals are computed from; no texts."""
        import pandas as pd

        parts = [
            pd.DataFrame({"seed": seed.name, "model": model, **{name: values[name][place] for name in MEASURES}})
            for model, values in self.values.items()
            for place, seed in enumerate(self.seeds)
        ]
        for part in parts:
            part.insert(2, "specification", range(len(part)))
        return pd.concat(parts)


def read_results(seeds: list[str], split: str | None = None) -> Results:
    """Read the seed folders of the horror recipe's stages; what is missing is a :class:`UserError`."""
    suffix = f"-{split}" if split else ""
    results = Results([Path(seed) for seed in seeds])
    by_seed = []
    for folder in results.seeds:
        stories = {
            model: read_json_lines(folder / f"constraints{suffix}" / model / "constraints.jsonl", STUDY) for model in MODELS
        }
        by_seed.append(_values(stories, folder / f"diversity{suffix}"))
        results.stories = results.stories or stories
        accuracy: dict = {}
        for level in LEVELS:
            accuracy |= read_json(folder / f"accuracy{suffix}" / f"{level}.json", STUDY)["models"]
        results.accuracy.append(accuracy)
        results.separability.append(read_json(folder / "data" / "separability.json", STUDY))
        results.histories.append({run: read_json_lines(folder / run / "metrics.jsonl", STUDY) for run in TRAINED})
        results.runs.append({run: read_json(folder / run / "provenance.json", STUDY) for run in TRAINED})
    results.values = {
        model: {measure: _stack([one[model][measure] for one in by_seed]) for measure in MEASURES} for model in MODELS
    }
    return results


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
        for row in rows:
            kept = [row["constraints"][name] for name in CONSTRAINTS]
            row["constraints"] |= {"all": all(kept), "kept": float(np.mean(kept))}
        prompts = list(dict.fromkeys(row["prompt"] for row in rows))
        values[model] = {name: rates(rows, name) for name in (*CONSTRAINTS, "all", "kept")}
        values[model] |= {name: np.array([spread[model][name][prompt] for prompt in prompts]) for name in ("semantic", "words")}
    return values


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    if len({len(one) for one in arrays}) != 1:
        raise UserError("the seeds were sampled for different numbers of specifications; sample them alike")
    return np.stack(arrays)
