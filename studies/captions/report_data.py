"""What the captions report reads: measures of every seed, model and contest, and how well the rewards order real captions."""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diversity_tuning.errors import UserError
from studies.captions.fit import ACCURACY
from studies.captions.measure import MEASURES, TABLE
from studies.report import read_json, read_text

REWARDS = ("a", "b")


@dataclass
class Results:
    """``values[model][measure]`` is ``(seeds, contests)``, the contests of all seeds in one order."""

    seeds: list[str]
    contests: list[str] = field(default_factory=list)
    captions: int = 0  # of a model for a contest
    values: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    accuracy: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # "a" | "b" -> features -> (seeds, contests)
    votes: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))  # Spearman of δ and votes, (seeds, contests)

    def frames(self) -> dict:
        """``contests``: the measures per seed, model and contest; ``correlations`` with votes of a reward's part, or of δ."""
        import pandas as pd

        contests = [contest.strip() for contest in self.contests]
        found = {(which, part): values for which, parts in self.accuracy.items() for part, values in parts.items()}
        found |= {("deviation", "in training pairs"): self.votes}
        measured = [
            pd.DataFrame({"seed": seed, "model": model, "contest": contests, **{name: values[name][i] for name in MEASURES}})
            for model, values in self.values.items()
            for i, seed in enumerate(self.seeds)
        ]
        correlated = [
            pd.DataFrame({"seed": seed, "of": which, "part": part, "contest": contests, "spearman": values[i]})
            for (which, part), values in found.items()
            for i, seed in enumerate(self.seeds)
        ]
        return {"contests": pd.concat(measured), "correlations": pd.concat(correlated)}

    @property
    def resampled(self) -> str:
        """What the intervals are over."""
        return "contests and seeds" if len(self.seeds) > 1 else "contests"


def read_results(seeds: list[str], split: str | None = None) -> Results:
    """Read the seed folders; what is missing, or does not fit together, is a :class:`UserError`."""
    if len({Path(seed).resolve() for seed in seeds}) < len(seeds):
        raise UserError(f"--seeds {' '.join(map(str, seeds))}: a folder is there twice; give each once")
    suffix = f"-{split}" if split else ""
    results = Results([Path(seed).name for seed in seeds])
    files = [read_text(Path(seed) / f"measures{suffix}" / TABLE, "captions") for seed in seeds]
    tables = [list(csv.DictReader(io.StringIO(text, newline=""))) for text in files]
    first = tables[0]
    models = list(dict.fromkeys(row["model"] for row in first))
    results.contests = list(dict.fromkeys(row["contest"] for row in first))
    results.captions = max(int(row["captions"]) for row in first)
    cells = [{(row["model"], row["contest"]): row for row in table} for table in tables]
    if any(found.keys() != cells[0].keys() for found in cells):
        raise UserError("the seeds have different models or contests; measure them alike")
    for model in models:
        results.values[model] = {
            name: np.array([[float(found[model, contest][name]) for contest in results.contests] for found in cells])
            for name in MEASURES
        }
    for which in REWARDS:
        found = [read_json(Path(seed) / f"reward-{which}" / ACCURACY, "captions") for seed in seeds]
        kinds = found[0]["by_contest"]
        results.accuracy[which] = {
            kind: np.array([[one["by_contest"][kind][contest] for contest in results.contests] for one in found])
            for kind in kinds
        }
    results.votes = np.array([deviation_and_votes(Path(seed) / "data" / "pairs-real", results.contests) for seed in seeds])
    return results


def deviation_and_votes(folder: Path, contests: list[str]) -> list[float]:
    """Spearman's correlation of δ and votes over the captions in each contest's training pairs; NaN where there is none."""
    from diversity_tuning.data import schema
    from diversity_tuning.data.popularity import within_prompts
    from diversity_tuning.data.tables import read_split
    from diversity_tuning.data.weigh import prompt_of

    rows = read_split(str(folder), schema.TRAIN)
    sides = (
        (schema.CHOSEN, schema.DEVIATION_CHOSEN, schema.SCORE_CHOSEN),
        (schema.REJECTED, schema.DEVIATION_REJECTED, schema.SCORE_REJECTED),
    )
    values = [
        (prompt_of(messages), messages[-1]["content"], deviation, votes)
        for columns in sides
        for messages, deviation, votes in zip(*(rows[column] for column in columns), strict=True)
    ]
    found = within_prompts(*zip(*values, strict=True))
    return [found[contest][0] if contest in found else float("nan") for contest in contests]
