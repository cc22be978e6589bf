"""The whole command: files in, report out."""

import csv
import json

import numpy as np
import pytest

from diversity_tuning.human_eval.simulation import Design, simulate_answers
from scripts_eval import report
from scripts_eval.human_eval_analysis import main
from tests.evaluation.synthetic import write_run
from tests.human_eval.helpers import write_state

STORY = {"Set A": "A-2", "Set B": "B-4", "hard to decide": "hard to decide"}


@pytest.fixture
def study(tmp_path):
    """A simulated study in Potato's files: 40 items, a strong preference for one condition in both questions."""
    answers = simulate_answers(Design(items=40, preference=0.85, items_per_annotator=20), np.random.default_rng(5))
    decided = answers[answers["side"].notna()]
    one_is_a = dict(zip(decided["id"], (decided["side"] == "A") == (decided["choice"] == "one"), strict=True))
    with (tmp_path / "key.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["id", "prompt_id", "prompt", "set_a", "set_b", "samples_a", "samples_b"])
        for number, item in enumerate(sorted(set(answers["id"]))):
            sets = ["one|<b>", "other_$"] if one_is_a.get(item) else ["other_$", "one|<b>"]
            table.writerow([item, number, "p", *sets, "0 1 2 3", "0 1 2 3"])
    for annotator, own in answers.groupby("annotator"):
        given = {
            item: {"diversity": answer, "quality": STORY[answer]} for item, answer in zip(own["id"], own["answer"], strict=True)
        }
        write_state(tmp_path / "annotations", f"5f{annotator}secret", given, dict(zip(own["id"], own["seconds"], strict=True)))
    return tmp_path


def analyse(study, *flags):
    main(["--annotations", str(study / "annotations"), "--key", str(study / "key.csv"), "--output", str(study / "out"), *flags])
    return json.loads((study / "out" / "human.json").read_text())


def test_report(study, capsys):
    results = analyse(study)
    assert [result["question"] for result in results] == ["quality", "diversity"]
    for result in results:
        wins = result["wins"]
        assert wins["items"] == 40
        assert wins["one"] > 3 * wins["other"]
        assert wins["one"] + wins["other"] + wins["undecided"] == 40
        assert wins["p"] < 1e-4
        assert result["net"]["low"] > 0
        assert result["position"]["p"] > 0.001
        assert -1 < result["alpha"]["low"] < result["alpha"]["mean"] < result["alpha"]["high"] < 1
        assert 0.4 < result["agree"] < 0.9
    names = {"report.md", "wins.csv", "wins.tex", "annotators.csv", "answers.csv", "human.json", "wins.png", "wins.pdf"}
    names.add("provenance.json")
    assert {path.name for path in (study / "out").iterdir()} == names
    report = (study / "out" / "report.md").read_text()
    assert "6 annotators, 40 items, 120 pages answered" in report
    assert "one\\|&lt;b> against other_$" in report
    assert "seconds per page: median" in report
    assert "secret" not in "".join(
        path.read_text() for path in (study / "out").iterdir() if path.suffix not in (".png", ".pdf")
    )
    assert "one|<b> against other_$" in capsys.readouterr().out


def test_tables_name_the_conditions_and_count_their_wins(study):
    results = analyse(study)
    for file, counts in (("wins.csv", [r["wins"] for r in results]), ("annotators.csv", [r["by_annotator"] for r in results])):
        with (study / "out" / file).open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert {(row["one"], row["other"]) for row in rows} == {("one|<b>", "other_$")}
        flat = [row for found in counts for row in (found if isinstance(found, list) else [found])]
        assert [(int(row["one_wins"]), int(row["other_wins"])) for row in rows] == [(r["one"], r["other"]) for r in flat]


def test_the_same_files_give_the_same_report(study):
    analyse(study)
    first = {path.name: path.read_bytes() for path in (study / "out").iterdir()}
    analyse(study)
    assert first == {path.name: path.read_bytes() for path in (study / "out").iterdir()}


def test_part_of_a_study(study):
    """One annotator, some items, one question: what is not defined is a dash, not a crash."""
    first = study / "annotations" / "5f1secret"
    for path in list((study / "annotations").iterdir()):
        if path != first:
            (path / "user_state.json").unlink()
    state = json.loads((first / "user_state.json").read_text())
    given = state["instance_id_to_label_to_value"]
    state["instance_id_to_label_to_value"] = {item: labels[:1] for item, labels in list(given.items())[:3]}
    state["instance_id_to_behavioral_data"] = {}
    (first / "user_state.json").write_text(json.dumps(state))
    (result,) = analyse(study)
    assert result["alpha"]["mean"] is None
    report = (study / "out" / "report.md").read_text()
    assert "3 questions were left without an answer" in report
    assert "seconds per page" not in report
    assert "nan" not in report.lower().replace("annot", "")


def test_errors_are_one_line(study, capsys):
    (study / "annotations" / "5f2secret" / "user_state.json").write_text("{")
    with pytest.raises(SystemExit) as stop:
        analyse(study)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "5f2secret/user_state.json: not an annotator's file" in error
    assert error.count("\n") == 1
    assert not (study / "out").exists()


def test_its_tables_stand_in_a_report_too(study, tmp_path, capsys):
    analyse(study)
    runs = [str(write_run(tmp_path / "runs" / name, name, None, 0, 0.5, 0.3)) for name in ("dpo", "ddpo")]
    flags = ["--runs", *runs, "--output", str(tmp_path / "report"), "--no-figure", "--human"]
    report.main([*flags, str(study / "out")])
    text, own = ((folder / "report.md").read_text() for folder in (tmp_path / "report", study / "out"))
    for title in ("Win rates", "Annotators, agreement and position"):
        section = own.split(f"## {title}")[1].split("\n## ")[0].strip()
        assert section in text
    assert (tmp_path / "report" / "human.tex").read_text() == (study / "out" / "wins.tex").read_text()
    with pytest.raises(SystemExit):
        report.main([*flags, str(tmp_path)])
    assert "no human.json written by" in capsys.readouterr().err
