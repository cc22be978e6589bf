"""What results/ publishes: every mean, interval and p-value comes again from the per-prompt numbers beside it."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.files import PROMPTS
from diversity_tuning.evaluation.report import tables
from diversity_tuning.evaluation.report.runs import (
    RUN,
    TABLE,
    group_runs,
    is_study,
    read_runs,
    read_study,
    read_table,
    shared_prompts,
)
from diversity_tuning.evaluation.report.tables import align
from diversity_tuning.evaluation.statistics import mean_interval
from diversity_tuning.outputs import PROVENANCE, files_in
from scripts_eval import leaderboard, report
from studies.results.again import frames_again, make_again, published_reports
from studies.results.publish import write_study
from studies.results.statistics import share_of_gain
from tests.evaluation.synthetic import write_run

RESULTS = Path(__file__).parents[2] / "results"
TABLES = sorted(path.parent for path in RESULTS.rglob(PROVENANCE) if is_study(path.parent))
REPORTS = published_reports(RESULTS)
# Reports that do not say what they were asked for.
STUDIES = sorted({study for study in TABLES if (study / "models.csv").is_file()} - set(REPORTS))
_LOOSER = {"p": 2e-4, "covered": 2e-3}  # counts of draws, where ties may fall to either side


@pytest.mark.parametrize("study", TABLES, ids=lambda study: study.relative_to(RESULTS).as_posix())
def test_means_of_the_runs(study):
    records, runs = read_study(study)["runs"], read_runs(study)
    assert len(records) == len(runs) == read_table(study)[RUN].nunique()
    for record, run in zip(records, runs, strict=True):
        published, compared = record["means"], set(record["means"]) & set(run.prompts)
        assert len(compared) >= 6
        for column in compared:
            found = mean_interval(run.prompts[column].to_numpy(dtype=float))
            expected = [np.nan if (value := published[column][part]) is None else value for part in ("mean", "low", "high")]
            assert list(found.values()) == pytest.approx(expected, rel=1e-4, abs=1e-5, nan_ok=True), (record[RUN], column)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_tables_of_a_study(study):
    models = group_runs(read_runs(study))
    labels = {model.label: model for model in models}
    published = pd.read_csv(study / "models.csv", dtype={"seed": str})
    known = {name for model in models for run in model.runs for name in run.prompts}  # a study's own measures have no run
    columns = [name.removesuffix("_low") for name in published if name.endswith("_low")]
    columns = [name for name in columns if name in known and "equal_length" not in name]
    exact = set(registry.columns(registry.METRICS))  # others are rounded: equal sums may not be
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
        both = both[both["metric"].isin(exact)] if name == "p" else both
        assert both[f"{name}_ours"].to_numpy() == pytest.approx(both[name].to_numpy(), rel=1e-3, abs=1e-4, nan_ok=True), name


def test_shares_of_the_variants():
    """What each keeps of DPO's gain in craft over SFT, and of DDPO's in plots and voices over DPO."""
    study = RESULTS / "miniature" / "variants"
    models = {model.label: model for model in group_runs(read_runs(study))}
    published = pd.read_csv(study / "gain_kept.csv", dtype={"seed": str})
    published = published.set_index(["model", "seed", "metric"])[["share", "low", "high"]]
    again = {}
    for label, model in models.items():
        for seed, (one, sft, dpo, ddpo) in align([model, *(models[name] for name in ("sft", "dpo", "ddpo-both"))]):
            for metric, full, base in (("craft", dpo, sft), ("distinct_direction", ddpo, dpo), ("distinct_voice", ddpo, dpo)):
                prompts = shared_prompts([one, full, base])
                values = (side.matrix(metric, prompts) for side in (one, full, base))
                again[label, str(seed), metric] = share_of_gain(*values, nested=isinstance(prompts, list))
    assert set(again) == set(published.index)
    for place, found in again.items():
        assert list(found.values()) == pytest.approx(published.loc[place].tolist(), abs=1e-5, nan_ok=True), place


@pytest.mark.parametrize("popularity", [0, 0.5, 1, 1.5])
def test_the_sweep_of_popularity(popularity):
    """Differences from the prompts' numbers, and the correlations they stand against from those of single prompts."""
    study = RESULTS / "miniature-popularity"
    prompts, published, rho = (pd.read_csv(study / name) for name in ("prompts.csv.gz", "popularity.csv", "correlations.csv"))
    prompts, published, rho = (rows[rows["popularity"] == popularity] for rows in (prompts, published, rho))
    by_model = prompts.set_index(["seed", "prompt_id"]).groupby("model")
    rho = [values.tolist() for _, values in rho.groupby("seed")["rho"]]
    assert published["seed"].nunique() == 1 + len(rho)
    for (label, seed, metric), rows in published.groupby(["difference", "seed", "metric"]):
        one, other = (by_model.get_group(name)[metric] for name in label.split(" − "))
        values = [own.tolist() for _, own in (one - other).groupby("seed")]
        chosen = slice(None) if seed == "all" else slice(int(seed), int(seed) + 1)
        for prefix, found in (("", values[chosen]), ("correlation_", rho[chosen])):
            again = mean_interval(pd.DataFrame(found).to_numpy(dtype=float), nested=True)
            expected = rows.iloc[0][[f"{prefix}{part}" for part in again]].tolist()
            assert list(again.values()) == pytest.approx(expected, rel=1e-4, abs=1e-5), (label, seed, metric)


def check_again(folder):
    """Every number of a report's tables comes again from the published runs."""
    for name, again in frames_again(folder).items():
        path = folder / f"{name}.csv"
        assert path.is_file() == bool(len(again)), path
        if not path.is_file():
            continue
        published = pd.read_csv(path)
        assert list(published) == list(again), path
        assert len(published) == len(again), path
        for column in again:
            where = f"{path}: {column}"
            numbers = pd.to_numeric(again[column], errors="coerce").astype(float)
            if numbers.notna().any():
                tolerance = {"rel": 1e-4, "abs": _LOOSER.get(column, 1e-5), "nan_ok": True}
                found = pd.to_numeric(published[column], errors="coerce").astype(float)
                assert found.to_numpy() == pytest.approx(numbers.to_numpy(), **tolerance), where
            else:
                assert published[column].fillna("").astype(str).tolist() == again[column].fillna("").astype(str).tolist(), where


def test_the_main_reports_are_among_them():
    """Else nothing would be compared."""
    assert {RESULTS / "miniature", RESULTS / "miniature" / "controls", RESULTS / "miniature" / "deviations"} <= set(REPORTS)
    assert RESULTS / "miniature-rlaif" in STUDIES


@pytest.mark.parametrize("folder", REPORTS, ids=lambda folder: folder.relative_to(RESULTS).as_posix())
def test_a_report_again_from_its_published_runs(folder):
    check_again(folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A report of runs with controls and craft, published with its runs."""
    root = tmp_path_factory.mktemp("published")
    for seed in (0, 1, 2):
        runs = [("gold", None, 0.1, 0.36), ("sft", None, 0.2, 0.37), ("dpo", "0.5", 0.5, 0.34), ("dpo", "1", 0.7, 0.30)]
        for method, strength, reward, diversity in (*runs, ("ddpo-both", "1", 0.6, 0.35), ("constant", "1", 0.65, 0.31)):
            folder = write_run(root / f"seed{seed}" / f"{method}-{strength}", method, strength, seed, reward, diversity)
            prompts = pd.read_csv(folder / PROMPTS)
            prompts["craft"] = 2 + reward + np.random.default_rng(seed).normal(0, 0.3, len(prompts))
            prompts.assign(prompt=prompts["prompt"] + f" of seed {seed}").to_csv(folder / PROMPTS, index=False)
    flags = ["--compare", "ddpo-both:dpo", "--anchor", "sft", "--controls", "constant", "dpo", "--baselines", "dpo"]
    folders = [str(path) for path in sorted(root.glob("seed*/*"))]
    report.main(["--runs", *folders, f"--output={root / 'report'}", *flags, "--no-figure"])
    leaderboard.main([f"--results={root / 'results'}", "--study=study", f"--report={root / 'report'}", "--part=controls"])
    return root / "results" / "study" / "controls"


def test_all_intervals_come_again_from_the_published_runs(study):
    check_again(study)
    controls = pd.read_csv(study / "controls-fronts.csv")
    assert set(controls["quality"]) == {"reddit_reward", "craft"}
    assert "constant" in set(controls["model"])
    assert pd.read_csv(study / "controls.csv")["t_low"].notna().any()


@pytest.mark.parametrize(("name", "column"), [("models", "craft_high"), ("controls", "t_low"), ("controls-fronts", "high")])
def test_an_edited_number_is_found(study, name, column):
    path = study / f"{name}.csv"
    before = path.read_text()
    table = pd.read_csv(path)
    row = table[column].last_valid_index()
    table.loc[row, column] += 0.001
    table.to_csv(path, index=False)
    with pytest.raises(AssertionError):
        check_again(study)
    path.write_text(before)


def test_an_edited_prompt_is_found(study):
    before, table = (study.parent / TABLE).read_bytes(), read_table(study.parent)
    table.loc[table.index[table[RUN] == "seed1-ddpo-both-1"][0], "reddit_reward"] += 0.1
    write_study(study.parent, read_study(study.parent), table)
    with pytest.raises(AssertionError):
        check_again(study)
    (study.parent / TABLE).write_bytes(before)


def test_a_report_made_again_from_published_runs(study):
    make_again(study)
    check_again(study)
    assert "## Controls: differences to dpo (1)" in (study / "report.md").read_text()


def test_what_is_published_of_a_report(study):
    """Two files for all runs, no texts, no LaTeX; publishing it again gives the same bytes."""
    root = study.parents[2]
    names = files_in(study.parent)
    assert [name for name in names if "/" not in name] == ["prompts.csv.gz", "provenance.json"]
    tables = {f"controls/{name}.csv" for name in ("models", "differences", "fronts", "controls", "controls-fronts")}
    assert set(names) == {"prompts.csv.gz", "provenance.json", "controls/report.md", *tables}
    before = []
    for _ in range(2):
        leaderboard.main([f"--results={root / 'results'}", "--study=study", f"--report={root / 'report'}", "--part=controls"])
        before.append({name: (study.parent / name).read_bytes() for name in files_in(study.parent)})
    assert before[0] == before[1]
    assert b" of seed 1" not in gzip.decompress(before[0]["prompts.csv.gz"])


def test_a_published_study_is_read_as_its_runs(study, tmp_path):
    """``--runs`` takes the folder of the study."""
    flags = ["--compare", "ddpo-both:dpo", "--no-figure", "--samples=0"]
    report.main(["--runs", str(study.parent), f"--output={tmp_path / 'again'}", *flags])
    found, published = (pd.read_csv(place / "models.csv").set_index(["model", "seed"]) for place in (tmp_path / "again", study))
    assert set(found.index) == set(published.index)
    for column in ("craft_low", "reddit_reward_high"):
        assert found[column].to_dict() == pytest.approx(published[column].to_dict(), rel=1e-4)
