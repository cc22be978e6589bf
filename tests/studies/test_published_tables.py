"""Studies with tables of their own: published differences, and what Holm leaves of them, come again from published rows."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diversity_tuning.evaluation.rendering import markdown
from studies.captions import report_data as captions
from studies.captions import report_tables as captions_tables
from studies.horror import report_data as horror
from studies.horror import report_tables as horror_tables
from studies.miniature.popularity import tables as popularity
from studies.real import report as real
from studies.results.statistics import family

RESULTS = Path(__file__).parents[2] / "results"


def values_of(table, measures):
    """Model -> measure -> ``(seeds, rows)``, filled up with NaN; a model that a seed does not have has no values there."""
    seeds = sorted(set(table["seed"]))
    size = max(len(rows) for _, rows in table.groupby(["seed", "model"]))
    empty = np.full(size, np.nan)
    found = {}
    for model, own in table.groupby("model", sort=False):
        by_seed = dict(list(own.groupby("seed")))
        for name in measures:
            rows = [by_seed[seed][name].to_numpy(dtype=float) if seed in by_seed else empty for seed in seeds]
            padded = [np.pad(row, (0, size - len(row)), constant_values=np.nan) for row in rows]
            found.setdefault(model, {})[name] = np.array(padded)
    return found


def horror_table():
    rows = pd.read_csv(RESULTS / "horror" / "prompts.csv.gz")
    results = horror.Results([Path(seed) for seed in sorted(set(rows["seed"]))], values_of(rows, horror.MEASURES))
    return horror_tables.differences(results)


def captions_table():
    rows = pd.read_csv(RESULTS / "captions" / "contests.csv")
    values = values_of(rows, captions_tables.MEASURES)
    return captions_tables.differences(captions.Results(sorted(set(rows["seed"])), values=values))


@pytest.mark.parametrize(("study", "table"), [("horror", horror_table), ("captions", captions_table)])
def test_differences_of_a_study(study, table):
    made = table()
    with (RESULTS / study / f"{made.name}.csv").open(encoding="utf-8", newline="") as stream:
        assert list(csv.reader(stream)) == [made.header, *made.rows]
    assert "after Holm over all of them" in made.note
    assert markdown(made) in (RESULTS / study / "report.md").read_text(encoding="utf-8")


def test_differences_and_hull_on_real_votes(monkeypatch):
    rows = pd.read_csv(RESULTS / "real" / "prompts.csv")
    measured = {key: name for key, name in real.MEASURES.items() if key in rows}
    assert real.MEASURES.keys() - measured == {"seq_rep_4", "reward_ridge"}, "measured since; no texts are published"
    monkeypatch.setattr(real, "MEASURES", measured)
    values = values_of(rows, measured)
    again = real.figures({"ocsai": {"values": values, "folders": []}})
    for name in ("differences", "hull"):
        published = pd.read_csv(RESULTS / "real" / f"{name}.csv")
        both = published.merge(again[name], on=["regime", "measure", *published.columns[2:3]], suffixes=("", "_again"))
        assert len(both) == len(published) == len(again[name])
        for part in set(published.columns[3:]) - {"p"}:
            assert both[f"{part}_again"].to_numpy() == pytest.approx(both[part].to_numpy(), rel=1e-3, abs=2e-4), (name, part)
    folds = [fold for _, fold in rows.groupby("seed")]
    accuracy = [{"reward": [0.0], "length": [0.0], "ridge": [0.0]}]
    report = (RESULTS / "real" / "report.md").read_text(encoding="utf-8")
    made = real.tables(
        "ocsai", {"values": values, "folders": [], "tables": folds, "prompts": rows["prompt"].nunique(), "accuracy": accuracy}
    )
    for table in made[1:]:
        assert markdown(table) in report


def test_differences_of_the_sweep_have_t():
    rows = pd.read_csv(RESULTS / "miniature-popularity" / "popularity.csv", dtype={"seed": str})
    report = (RESULTS / "miniature-popularity" / "report.md").read_text(encoding="utf-8")
    for table in popularity.difference_tables(rows)[:3]:
        assert "; t [" in table.rows[0][2]
        # The heading of a metric is another where a study has registered it, as in other tests.
        assert all(line in report for line in markdown(table).splitlines() if "[" in line and line.startswith("|"))


def test_a_family_by_hand():
    """Two differences of three seeds: means 1, 2, 3 have t = 2 / (1 / √3) = 3.464, p = .0742; 10, 10.1, 10.2 p = 3e-5."""
    small, large = (np.array([[one], [two], [three]]) for one, two, three in ((1, 2, 3), (10, 10.1, 10.2)))
    assert family([small, large]) == " Of 2 differences t excludes 0 in 1; after Holm over all of them, in 1."
    nearly = np.array([[1.0], [1.5], [2.0]])  # t = 5.196, p = .0351: alone it stands, as one of two it does not
    assert "in 1; after Holm over all of them, in 1." in family([nearly])
    assert "in 2; after Holm over all of them, in 0." in family([nearly, nearly + 0.01])
    assert "in 0; after" in family([np.ones((3, 1))]), "the same in every seed: no t"
    assert family([np.ones((1, 5))]) == ""
