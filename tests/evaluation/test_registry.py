"""The registry of metrics, and the example in CONTRIBUTING.md of how one is added."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from diversity_tuning.evaluation import metrics, registry
from diversity_tuning.evaluation.report import figures
from diversity_tuning.evaluation.report.runs import read_study
from scripts_eval import generation_eval1_2, leaderboard, report
from tests.evaluation.synthetic import write_run

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"
NEW = "opening_variety"


def test_entries_are_complete():
    columns = [metric.column for metric in registry.METRICS]
    assert len(set(columns)) == len(columns)
    assert len({metric.heading for metric in registry.METRICS}) == len(columns)  # headings lead to the glossary
    for metric in registry.METRICS:
        assert re.fullmatch(r"[A-Z][^\n]+\.", metric.definition)
        assert metric.unit
        assert (metric.better is None) or metric.table != "counts"


def test_the_published_auxiliary_columns_and_their_variants():
    assert registry.columns(registry.computed()) == ["compression_ratio", "homogenization_score", "ngram_diversity_score"]
    responses = ["a b", "a c", "a c"]
    released = registry.find("homogenization_score").released
    assert released(responses) == metrics.homogenization_score(responses, "released")


def test_a_taken_column_is_refused(monkeypatch):
    monkeypatch.setattr(registry, "METRICS", list(registry.METRICS))
    with pytest.raises(ValueError, match="'good' is registered already"):
        registry.register(registry.Metric("good", "x", "X.", "x", "further"))


@pytest.fixture
def added(monkeypatch):
    """Run the two blocks of "Adding a metric" as if they stood where the document says."""
    section = CONTRIBUTING.read_text(encoding="utf-8").split("## Adding a metric")[1].split("\n## ")[0]
    function, entry = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    for line, path in (
        (function, "diversity_tuning/evaluation/metrics.py"),
        (entry, "diversity_tuning/evaluation/registry.py"),
    ):
        assert line.startswith(f"# {path}")
    scope = dict(vars(metrics))
    exec(function, scope)
    monkeypatch.setattr(metrics, NEW, scope[NEW], raising=False)
    metric = eval(entry, dict(vars(registry)))
    monkeypatch.setattr(registry, "METRICS", [*registry.METRICS, metric])
    return metric


def make_runs(folder):
    for method, texts in (("dpo", ["Once upon a time.", "Once upon a hill."]), ("ddpo-both", ["Rain fell.", "He ran."])):
        run = write_run(folder / method, method, None, 0, 0.5, 0.3)
        prompts = pd.read_csv(run / "prompts.csv")
        rows = prompts[["prompt_id", "prompt", "reddit_reward", "semantic_diversity", "style_diversity"]]
        pd.concat([rows.assign(response=text) for text in texts]).to_csv(run / "scores.csv", index=False)
    return [str(folder / method) for method in ("dpo", "ddpo-both")]


def test_the_example_is_enough(added, tmp_path, monkeypatch):
    runs, drawn = make_runs(tmp_path / "runs"), []
    keep = figures.save_figure
    monkeypatch.setattr(figures, "save_figure", lambda figure, *more: drawn.append(figure) or keep(figure, *more))
    generation_eval1_2.main(["--val_files", *runs])
    assert set(pd.read_csv(Path(runs[0]) / "prompts.csv")[NEW]) == {0.5}
    assert json.loads((Path(runs[1]) / "metrics.json").read_text())["means"][NEW]["mean"] == 1.0
    report.main(["--runs", *runs, "--output", str(tmp_path / "out"), "--compare", "ddpo-both:dpo"])
    assert added.label in (tmp_path / "out" / "models-auxiliary.tex").read_text()
    assert NEW in set(pd.read_csv(tmp_path / "out" / "differences.csv")["metric"])
    assert added.label in {axis.get_title() for figure in drawn for axis in figure.axes}
    page = (tmp_path / "out" / "report.html").read_text()
    assert f'<abbr title="{added.definition}">' in page
    assert f'<dt id="metric-{NEW}">{added.label}' in page
    leaderboard.main(["--study", "mine", "--results", str(tmp_path / "results"), "--runs", *runs])
    records = read_study(tmp_path / "results" / "mine")["runs"]
    assert next(record for record in records if record["run"] == "seed0-dpo")["means"][NEW]["mean"] == 0.5


def test_a_main_metric_opens_the_report_and_the_results(added, tmp_path, monkeypatch):
    main = registry.Metric(**{**vars(added), "table": "main"})
    monkeypatch.setattr(registry, "METRICS", [*registry.METRICS[:-1], main])
    runs = make_runs(tmp_path / "runs")
    generation_eval1_2.main(["--val_files", *runs])
    report.main(["--runs", *runs, "--output", str(tmp_path / "out"), "--no-figure", "--samples=0"])
    assert main.heading in (tmp_path / "out" / "summary.txt").read_text().splitlines()[0]
    leaderboard.main(["--study", "mine", "--results", str(tmp_path / "results"), "--runs", *runs])
    assert f"| {main.label} |" in (tmp_path / "results" / "README.md").read_text()
