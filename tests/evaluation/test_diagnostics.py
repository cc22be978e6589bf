"""A study of one's own: its module registers metrics, and reports show them without any change to the library."""

import json
import re
import subprocess
import sys

import pandas as pd
import pytest

from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.diagnostics import KEY
from diversity_tuning.evaluation.report.runs import read_runs
from scripts_eval import leaderboard, report, score_texts

MODULE = """
from diversity_tuning.evaluation.registry import Metric

DATA, REFERENCES = "recorded rhymes", "poets"
METRICS = [
    Metric("distinct_meter", "meters", "Different meters among the responses to one prompt.", "meters", "other", "higher",
           figure="meters_drawn"),
    Metric("rhymes", "rhymes", "Lines of a response that rhyme.", "lines", "further", "higher", gain="better", quality=True),
    Metric("last_letters", "last letters", "Different last letters among the responses to one prompt.", "letters", "other",
           "higher", function=lambda responses: len({text[-1] for text in responses})),
]


def diagnose(prompts, responses):
    return {"meter": [text.split()[0] for text in responses], "rhymes": [len(text.split()) for text in responses]}
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a study's module in a folder of its own."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "my_rhymes.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setattr(registry, "_OF_STUDIES", {})
    yield "my_rhymes"
    sys.modules.pop("my_rhymes", None)


def scored(root, module):
    """Two runs and the data's own responses, scored with the module; their folder."""
    texts = {"dpo": ("iamb a", "iamb a"), "ddpo-both": ("iamb a", "dactyl b c"), "gold": ("spondee a", "trochee d e f")}
    for name, responses in texts.items():
        rows = [{"prompt": f"prompt {i}", "response": f"{text} {i}x"} for i in range(4) for text in responses]
        table = root / f"{name}.jsonl"
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
        flags = ["--semantic_model=builtin:minilm", "--style_model=none", f"--diagnostics={module}", f"--method={name}"]
        score_texts.main([f"--texts={table}", f"--output={root / 'runs' / name}", f"--name={name}", *flags])
    return root / "runs"


def test_its_metrics_are_in_metrics_table_figure_and_report(module, tmp_path):
    runs = scored(tmp_path, module)
    content = json.loads((runs / "ddpo-both" / "metrics.json").read_text())
    assert content["means"]["distinct_meter"]["mean"] == 2
    assert content["means"]["last_letters"]["mean"] == 1
    assert [metric["column"] for metric in content[KEY]["metrics"]] == ["distinct_meter", "rhymes", "last_letters"]
    registry._OF_STUDIES.clear()
    sys.modules.pop(module)
    report.main([f"--results={runs}", f"--output={tmp_path / 'out'}", "--compare=ddpo-both:dpo", "--samples=0"])
    assert module not in sys.modules, "a report is made without the study's code"
    out = tmp_path / "out"
    assert "rhymes ↑" in (out / "models-further.tex").read_text().replace(r"$\uparrow$", "↑")
    assert "meters" in (out / "models-other.tex").read_text()
    assert {"distinct_meter", "rhymes", "last_letters"} <= set(pd.read_csv(out / "differences.csv")["metric"])
    assert (out / "meters_drawn.png").stat().st_size > 1000
    assert not (out / "plots_voices.png").exists()
    text, page = (out / "report.md").read_text(), (out / "report.html").read_text()
    assert "![Rhymes against meters](meters_drawn.png)" in text
    assert "poets" in text
    assert "**meters** (`distinct_meter`): Different meters among the responses to one prompt." in text
    assert '<dt id="metric-rhymes">rhymes' in page
    assert json.loads((out / "provenance.json").read_text())["settings"]["note"] == "recorded rhymes"
    registry._OF_STUDIES.clear()
    leaderboard.main(["--study=mine", f"--results={tmp_path / 'results'}", f"--report={out}"])
    study = tmp_path / "results" / "mine"
    assert "distinct_meter" in pd.read_csv(study / "prompts.csv.gz")
    again = read_runs(study)
    assert [run.registered.references for run in again] == ["poets"] * 3
    assert "poets" in {run.name for run in again}
    assert registry.label("distinct_meter") == "meters"
    assert (study / "meters_drawn.png").is_file()


def test_a_report_over_another_leaves_no_figure_of_it(module, tmp_path):
    runs, out = scored(tmp_path, module), tmp_path / "out"
    report.main([f"--results={runs}", f"--output={out}", "--samples=0"])
    assert (out / "meters_drawn.png").is_file()
    registry._OF_STUDIES.clear()
    for path in runs.glob("*/metrics.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), KEY: {"metrics": [], "data": None, "references": None}}))
    report.main([f"--results={runs}", f"--output={out}", "--samples=0"])
    assert not (out / "meters_drawn.png").exists()
    assert "| references |" in (out / "report.md").read_text()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("distinct_meter", "distinct_k"), r"--diagnostics my_rhymes: column 'distinct_k' is a metric of the library; give"),
        (("meters_drawn", "../drawn"), "column and figure are letters, digits and _"),
        (('"meters", "other"', '"meters", "others"'), "metric 'distinct_meter': table is one of .* not 'others'"),
        (("meters_drawn", "further"), "figure 'further' is another figure of the report"),
    ],
)
def test_what_cannot_be_registered_is_refused_before_anything_is_scored(module, tmp_path, capsys, change, told):
    path = tmp_path / "modules" / "my_rhymes.py"
    path.write_text(MODULE.replace(*change))
    with pytest.raises(SystemExit):
        scored(tmp_path, module)
    assert re.search(told, capsys.readouterr().err)
    assert not (tmp_path / "runs").exists()


def test_one_column_of_two_meanings_is_refused(module, tmp_path, capsys):
    runs = scored(tmp_path, module)
    path = runs / "dpo" / "metrics.json"
    path.write_text(path.read_text().replace("Lines of a response that rhyme.", "Something else."))
    with pytest.raises(SystemExit):
        report.main([f"--results={runs}", f"--output={tmp_path / 'out'}", "--samples=0"])
    assert "they mean different things by 'rhymes'" in capsys.readouterr().err


@pytest.mark.parametrize("record", ["3", '{"metrics": [{"colum": "x"}], "data": null, "references": null}', '{"metrics": []}'])
def test_a_record_that_is_none_is_one_line(module, tmp_path, capsys, record):
    runs = scored(tmp_path, module)
    path = runs / "dpo" / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), KEY: json.loads(record)}))
    capsys.readouterr()
    with pytest.raises(SystemExit):
        report.main([f"--results={runs}", f"--output={tmp_path / 'out'}", "--samples=0"])
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert "metrics.json: 'registered' was not written by scripts_eval" in error[0]


def test_the_library_alone_names_no_study():
    """In a process of its own: what other tests have read would be in the registry of this one."""
    said = "from diversity_tuning.evaluation import registry as r; print([m.column for m in r.every()], list(r.tradeoffs()))"
    found = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout
    assert "reward_diversity" in found
    assert not re.search("direction|voice|plot|craft", found)
