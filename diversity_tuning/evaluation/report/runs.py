"""Scored runs, read back and grouped: the same name, method and strength is one model trained with several seeds.

A published study, as the repository's results/ has them, is a table of per-prompt values of all runs, and a record of each.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.data.schema import PROMPT, REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.csvfiles import read_csv
from diversity_tuning.evaluation.diagnostics import KEY, Registered, by_record, shown_name
from diversity_tuning.evaluation.files import DIGEST, METRICS, PROMPTS, read_metrics
from diversity_tuning.evaluation.statistics import at_equal_length, mean_interval
from diversity_tuning.outputs import PROVENANCE, read_provenance

TABLE = "prompts.csv.gz"
SAMPLES_TABLE = "samples.csv.gz"  # reward and labels of every sample, without texts; of runs that were scored with diagnostics
STAGE = "published"
RUN, COMMON = "run", "every_run"  # in provenance.json: name of a run, and what the records of all have in common
LABELS = ("name", "method", "strength", "seed")  # of a run: in its record, and in every row of the table
_ALWAYS = (REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY)  # columns of every run, with values or without
_FIRST = ("base", "sft")  # what the other models start from: first in every table and figure


@dataclass
class Run:
    """One scored run folder, or one run of a published study.

    ``prompts`` has one row per prompt, indexed by the prompt's text, or its digest where the run was published without
    texts; a prompt again, as "… (2)". ``registered``: by its diagnostics module.
    """

    folder: Path
    name: str
    method: str
    strength: str | None
    seed: int | None
    counts: dict
    prompts: pd.DataFrame
    registered: Registered = field(default_factory=Registered)


@dataclass
class RunGroup:
    """Runs that differ in the seed only, ordered by it."""

    label: str
    method: str
    strength: str | None
    runs: list[Run]

    @property
    def nested(self) -> bool:
        """Whether every seed has prompts of its own, so that intervals draw prompts within seeds."""
        return isinstance(self.shared_prompts(), list)

    def matrix(self, column: str, prompts: pd.Index | list[pd.Index] | None = None) -> np.ndarray:
        """Values ``(seeds, prompts)`` of a column, for the prompts given or :meth:`shared_prompts`; NaN where it is missing.

        Prompts as a list are those of each seed; rows of fewer prompts are filled up with NaN.
        """
        prompts = self.shared_prompts() if prompts is None else prompts
        of_runs = prompts if isinstance(prompts, list) else [prompts] * len(self.runs)
        matrix = np.full((len(self.runs), max(map(len, of_runs))), np.nan)
        for row, run, own in zip(matrix, self.runs, of_runs, strict=True):
            if column in run.prompts:
                row[: len(own)] = run.prompts[column].loc[own]
        return matrix

    def has(self, column: str) -> bool:
        """Whether there is any value: diversity has none where every prompt has one response, reward none without a model."""
        return any(column in run.prompts and run.prompts[column].notna().any() for run in self.runs)

    def mean(self, column: str) -> dict[str, float]:
        """Mean and 95% interval of a column (:func:`~.statistics.mean_interval`)."""
        return mean_interval(self.matrix(column), nested=self.nested)

    def shared_prompts(self) -> pd.Index | list[pd.Index]:
        """The prompts that every run of this model has (:func:`shared_prompts`)."""
        return shared_prompts([self])


def shared_prompts(groups: list[RunGroup]) -> pd.Index | list[pd.Index]:
    """The prompts that all runs of these models have; where the seeds have none in common, those of each seed."""
    common = common_prompts([run for group in groups for run in group.runs])
    seeds = {len(group.runs) for group in groups}
    if len(common) or len(seeds) > 1 or seeds == {1}:
        return common
    each = [common_prompts(list(runs)) for runs in zip(*(group.runs for group in groups), strict=True)]
    return each if any(map(len, each)) else common


def number_of(prompts: pd.Index | list[pd.Index]) -> int:
    """How many prompts there are, over all seeds where each has its own."""
    return sum(map(len, prompts)) if isinstance(prompts, list) else len(prompts)


def common_prompts(runs: list[Run]) -> pd.Index:
    """Prompts that all runs have, in the order of the first."""
    shared = runs[0].prompts.index
    for run in runs[1:]:
        if not len(shared):
            break
        if not shared.equals(run.prompts.index):
            shared = shared[shared.isin(run.prompts.index)]
    return shared


def check_seeds(runs: list[Run]) -> None:
    """Say so where seeds share no prompt (each made its own data): prompts are then drawn within seeds.

    A run that shares no prompt with the others of its seed is a :class:`UserError`.
    """
    members = {seed: [run for run in runs if run.seed == seed] for seed in dict.fromkeys(run.seed for run in runs)}
    members.pop(None, None)  # not trained, so not one of several seeds
    repeated = set.intersection(*({_label(run) for run in own} for own in members.values())) if len(members) > 1 else set()
    same = [run for run in runs if run.seed in members and _label(run) in repeated]
    if not same or len(common_prompts(same)):
        return
    print("the seeds share no prompt: runs are compared within a seed, by the prompt's text", flush=True)
    for seed, own in members.items():
        shared = common_prompts([run for run in own if _label(run) in repeated])
        for run in own:
            if not run.prompts.index.isin(shared).any():
                raise UserError(f"{run.folder}: shares no prompt with the other runs of seed {seed}; leave it out")


def _label(run: Run) -> tuple:
    return run.name, run.method, run.strength


def find_runs(results: str | Path) -> list[Path]:
    """Every run folder below a folder."""
    found = [path.parent for path in Path(results).rglob(METRICS) if (path.parent / PROMPTS).is_file()]
    # A hidden folder is an old run that is being replaced.
    folders = sorted(folder for folder in found if not folder.name.startswith("."))
    if not folders:
        raise UserError(f"{results}: no scored run below it ({METRICS} and {PROMPTS})")
    return folders


def read_run(folder: str | Path) -> Run:
    """Read metrics.json and prompts.csv of one run folder."""
    folder = Path(folder)
    content = read_metrics(folder)
    labels = {key: content[key] for key in ("name", "method", "strength", "seed", "counts")}
    registered = by_record(content.get(KEY), folder / METRICS)
    labels["name"] = shown_name(labels, registered)
    prompts = read_csv(folder / PROMPTS, [PROMPT, REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY])
    return Run(folder, **labels, prompts=_indexed(prompts, PROMPT), registered=registered)


def read_runs(folder: str | Path) -> list[Run]:
    """All runs of a published study (:func:`read_study`), in the order of its provenance; or the one of a run folder."""
    folder = Path(folder)
    if not is_study(folder):
        return [read_run(folder)]
    table = read_table(folder)
    return [
        Run(
            folder / record["run"],
            *(record[name] for name in LABELS),
            counts=record["counts"],
            prompts=_indexed(prompts_of(table, record["run"]), DIGEST),
            registered=by_record(record.get(KEY), folder / PROVENANCE),
        )
        for record in read_study(folder)["runs"]
    ]


def is_study(folder: Path) -> bool:
    """Whether a folder holds a published study."""
    return (folder / TABLE).is_file() and read_provenance(folder).get("stage") == STAGE


def read_study(folder: Path) -> dict:
    """The provenance of a study, ``runs`` (a record a run) and ``reports`` (place -> what was asked for) in it.

    A study that is not there yet is empty. :class:`UserError` where the folder holds anything else.
    """
    made = read_provenance(folder)
    if made.get("stage") != STAGE and folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder}: not empty, and no study that scripts_eval.leaderboard wrote; choose another folder")
    made = made if made.get("stage") == STAGE else {}
    common = made.pop(COMMON, {})
    made["runs"] = [common | record for record in made.get("runs", [])]
    return {"stage": STAGE, "reports": {}, **made}


def read_table(folder: Path, name: str = TABLE) -> pd.DataFrame:
    """The values of a study, per prompt or per sample, and the run of each row; without rows where there are none."""
    if not (folder / name).is_file():
        return pd.DataFrame(columns=[RUN])
    table = read_csv(folder / name, [RUN, DIGEST], (RUN, *LABELS, DIGEST))
    return table.drop(columns=list(LABELS), errors="ignore")


def prompts_of(table: pd.DataFrame, run: str) -> pd.DataFrame:
    """The rows of one run, with the columns that it has."""
    own = table[table[RUN] == run].drop(columns=RUN)
    kept = [name for name in own if name in _ALWAYS or own[name].notna().any()]
    return own[kept].reset_index(drop=True)


def _indexed(prompts: pd.DataFrame, key: str) -> pd.DataFrame:
    again = prompts.groupby(key).cumcount()
    prompts[key] = prompts[key].where(again == 0, prompts[key] + " (" + (again + 1).astype(str) + ")")
    return prompts.set_index(key)


def run_names(runs: list[Run]) -> list[dict]:
    """What tells the models apart, and the seeds of each, for a record of what a report was made of."""
    seeds: dict[tuple, list] = {}
    for run in runs:
        seeds.setdefault(_label(run), []).append(run.seed)
    keys = ("name", "method", "strength")
    return [dict(zip(keys, label, strict=True)) | {"seeds": own} for label, own in seeds.items()]


def group_runs(runs: list[Run]) -> list[RunGroup]:
    """Base and SFT models, then the others in the order of their first run.

    Two runs with the same name, method, strength and seed are a :class:`UserError`.
    """
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        group = groups.setdefault(_label(run), [])
        twin = next((other for other in group if other.seed == run.seed), None)
        if twin:
            raise UserError(f"{run.folder} and {twin.folder}: the same name, method, strength and seed; leave one out")
        group.append(run)
    several = {name for name, *_ in groups if sum(key[0] == name for key in groups) > 1}
    models = []
    for (name, method, strength), members in groups.items():
        label = f"{name} ({strength})" if name in several and strength else name
        models.append(RunGroup(label, method, strength, sorted(members, key=lambda run: (run.seed is not None, run.seed))))
    return sorted(models, key=lambda model: _FIRST.index(model.method) if model.method in _FIRST else len(_FIRST))


def prompt_warning(runs: list[Run]) -> str | None:
    """What to say where runs that are compared differ in prompts; None where all have the same.

    Where the seeds have no prompt in common, each having made its own data, runs are compared within a seed."""
    groups = [runs]
    if not len(common_prompts(runs)):
        seeds = dict.fromkeys(run.seed for run in runs if run.seed is not None)
        groups = [[run for run in runs if run.seed in (seed, None)] for seed in seeds] or [runs]
    parts = []
    for group in groups:
        shared = len(common_prompts(group))
        if any(len(run.prompts) > shared for run in group):
            counts = Counter(f"{run.name} {len(run.prompts)}" for run in group)
            listed = [f"{text} ({times} runs)" if times > 1 else text for text, times in counts.items()]
            more = f" and {len(listed) - 8} more" if len(listed) > 8 else ""
            parts.append(f"{shared} prompts in common ({', '.join(listed[:8])}{more})")
    if not parts:
        return None
    return (
        f"the runs do not have the same prompts: {'; '.join(parts)}. Means are over each model's own prompts, differences over"
        " those that both models have"
    )


def add_equal_length(runs: list[Run]) -> dict[str, float]:
    """Add each run's diversity at the runs' common length (:func:`~.statistics.at_equal_length`); slope per column."""
    slopes = {}
    runs = [run for run in runs if "words" in run.prompts]
    for column, adjusted in registry.equal_length().items() if runs else ():
        values, slopes[adjusted] = at_equal_length(
            [run.prompts[column].to_numpy(dtype=float) for run in runs], [run.prompts["words"].to_numpy() for run in runs]
        )
        for run, new in zip(runs, values, strict=True):
            run.prompts[adjusted] = new
    return slopes
