"""What GRPO logged on its way, read back from the training folders of several seeds."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.evaluation.rendering import NONE, Table
from studies.report import titled

LOGGED = {
    "finished/reward": "reward in training", "truncated/share": "cut completions", "length/characters": "characters",
    "openings/distinct": "distinct openings", "diversity/stylometry": "style, in a group",
    "groups/without_signal": "groups without signal",
}  # fmt: skip
_LAST = 10  # steps
_TIME = "train_runtime"


def read_curves(seeds: list[str], policies: set[str]) -> pd.DataFrame:
    """One row per policy, seed and step with the columns :data:`LOGGED`, of these seeds; and the seconds.

    Policies are named by their folder; other plans leave folders there too. ``seconds``: of the whole training, without its
    start, the same in each of its rows.
    """
    rows = []
    for place, seed in enumerate(seeds):
        found = sorted(Path(seed).glob("grpo*/metrics.jsonl"))
        for path in (path for path in found if path.parent.name in policies):
            history = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            seconds = next((row[_TIME] for row in history if _TIME in row), float("nan"))
            steps = [row for row in history if "finished/reward" in row]
            label = {"policy": path.parent.name, "seed": place, "seconds": seconds}
            rows += [{**label, "step": row["step"], **{name: row.get(name, np.nan) for name in LOGGED}} for row in steps]
    return pd.DataFrame(rows)


def training_table(curves: pd.DataFrame) -> Table | None:
    """Each policy's first and last ten steps, the most that was cut, and seconds a step; means over seeds."""
    if not len(curves):
        return None
    cells = []
    for policy, rows in curves.groupby("policy", sort=False):
        steps = int(rows["step"].max())
        first, last = rows[rows["step"] <= _LAST], rows[rows["step"] > steps - _LAST]
        values = [f"{_number(first[name].mean())} → {_number(last[name].mean())}" for name in LOGGED]
        seconds = rows.groupby("seed")["seconds"].first().mean() / steps
        cells.append([policy, rows["seed"].nunique(), steps, *values, _number(rows["truncated/share"].max()), f"{seconds:.1f}"])
    header = ["policy", "seeds", "steps", *LOGGED.values(), "most cut in a step", "seconds a step"]
    return titled(__file__, "training", header, cells, steps=_LAST)


OWN_PROMPT = "own-prompt.json"  # of a seed's folder, by :mod:`.own_prompt`


def reward_table(seeds: list[str]) -> Table | None:
    """Whether each reward reads the prompt: means over the seeds that were asked."""
    rows = []
    for seed in seeds:
        path = Path(seed) / OWN_PROMPT
        if path.is_file():
            rows += [{"reward": name, **shares} for name, shares in json.loads(path.read_text(encoding="utf-8")).items()]
    if not rows:
        return None
    columns = {"own": "own prompt", "other": "another prompt", "wins": "own above other", "untied": "pairs that differ",
               "wins_untied": "own above other among them"}  # fmt: skip
    found = pd.DataFrame(rows).groupby("reward", sort=False)
    cells = [[name, len(own), *(_number(own[column].mean()) for column in columns)] for name, own in found]
    return titled(__file__, "rewards", ["reward", "seeds", *columns.values()], cells)


def _number(value: float) -> str:
    return NONE if pd.isna(value) else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3f}"
