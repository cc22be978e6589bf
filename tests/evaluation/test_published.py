"""What results/ publishes: every mean, interval and p-value comes again from the per-prompt numbers beside it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diversity_tuning.evaluation.files import METRICS, PROMPTS
from diversity_tuning.evaluation.report import tables
from diversity_tuning.evaluation.report.runs import group_runs, read_run
from diversity_tuning.evaluation.statistics import mean_interval

RESULTS = Path(__file__).parents[2] / "results"
RUNS = sorted(path.parent for path in RESULTS.glob(f"*/runs/*/{PROMPTS}"))
STUDIES = sorted({run.parents[1] for run in RUNS if (run.parents[1] / "models.csv").is_file()})


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parents[1].name}/{run.name}")
def test_means_of_a_run(run):
    published = json.loads((run / METRICS).read_text())["means"]
    prompts = read_run(run).prompts
    for column in set(published) & set(prompts):
        found = mean_interval(prompts[column].to_numpy(dtype=float))
        expected = [np.nan if published[column][part] is None else published[column][part] for part in ("mean", "low", "high")]
        assert list(found.values()) == pytest.approx(expected, rel=1e-4, abs=1e-5, nan_ok=True), column


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_tables_of_a_study(study):
    models = group_runs([read_run(run) for run in RUNS if run.parents[1] == study])
    labels = {model.label: model for model in models}
    published = pd.read_csv(study / "models.csv", dtype={"seed": str})
    known = {name for model in models for run in model.runs for name in run.prompts}  # a study's own measures have no run
    columns = [name.removesuffix("_low") for name in published if name.endswith("_low")]
    columns = [name for name in columns if name in known and "equal_length" not in name]
    ours = tables.model_table(models, columns).astype({"seed": str})
    both = published.merge(ours, on=["model", "seed"], suffixes=("", "_ours"))
    assert len(both) == len(published)
    for name in (f"{column}_{part}" for column in columns for part in ("mean", "low", "high")):
        assert both[f"{name}_ours"].to_numpy() == pytest.approx(both[name].to_numpy(), rel=1e-4, abs=1e-5, nan_ok=True), name
    differences = pd.read_csv(study / "differences.csv", dtype={"seed": str})
    pairs = [[labels[label] for label in pair.split(" − ")] for pair in dict.fromkeys(differences["difference"])]
    again = tables.difference_table([tuple(pair) for pair in pairs], columns).astype({"seed": str})
    both = differences.merge(again, on=["difference", "seed", "metric"], suffixes=("", "_ours"))
    assert set(differences["metric"]) - set(both["metric"]) <= {
        name for name in differences["metric"] if "equal_length" in name or name not in known
    }
    for name in ("mean", "low", "high", "p", "t_low", "t_high"):
        assert both[f"{name}_ours"].to_numpy() == pytest.approx(both[name].to_numpy(), rel=1e-3, abs=1e-4, nan_ok=True), name
