"""The report of made-up seed folders: means, paired differences, one page that needs nothing else."""

import csv
import json
import shutil

import numpy as np
import pytest

from diversity_tuning.evaluation.statistics import mean_interval
from studies.horror import report
from studies.horror.constraints import CONSTRAINTS
from studies.horror.report_data import LEVELS, MODELS, TRAINED, read_results, spread
from studies.horror.specification import OUTSIDE

RATES = {"base": 0.0, "sft": 0.5, "dpo-easy": 0.5, "ddpo-easy": 0.5, "dpo-hard": 1.0, "ddpo-hard": 1.0}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def accuracy(rate):
    return {"rate": rate, "low": rate, "high": rate, "by_fault": {"end flat": {"rate": rate, "n": 4}}}


def make_seed(folder):
    """Four specifications, two stories each; the title is kept at the model's rate, all else always."""
    for model, rate in RATES.items():
        rows = []
        for i in range(4):
            for sample in range(2):
                kept = dict.fromkeys(CONSTRAINTS, True) | {"title": (i * 2 + sample) < 8 * rate}
                rows.append(
                    {"prompt": f"p\nTitle: <b>{i}</b>", "specification": {"title": str(i)}, "story": f"<i>{model} & {i}</i>",
                     "constraints": kept, "prompt_id": i, "sample": sample}
                )  # fmt: skip
        write(folder / "constraints" / model / "constraints.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    for level in LEVELS:
        models = [model for model in MODELS if model.endswith(level) or (level == "easy" and "-" not in model)]
        spread = {f"p\nTitle: <b>{i}</b>": 0.25 for i in range(4)}
        write(folder / "diversity" / f"{level}.json", {"models": {m: {"semantic": spread, "words": spread} for m in models}})
        measured = {"pairs": 4, "likelihood": accuracy(0.75)}
        found = {
            model: {one: measured | ({} if model == "sft" else {"reward": accuracy(1.0)}) for one in LEVELS} for model in models
        }
        write(folder / "accuracy" / f"{level}.json", {"models": found})
    write(folder / "data" / "separability.json", {level: {"pairs": 4, "bag_of_words_accuracy": 0.5} for level in LEVELS})
    write(folder / "boundaries.json", {})
    for run in TRAINED:
        history = [
            {"step": 1, "loss": 0.7, "rewards/chosen": 0.1, "rewards/rejected": -0.1, "rewards/margins": 0.2},
            {"step": 2, "eval_loss": 0.6, "eval_rewards/margins": 0.3, "eval_rewards/accuracies": 0.9},
            {"step": 2, "train_runtime": 12.0},
        ]
        write(folder / run / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in history))
        write(folder / run / "provenance.json", {"counts": {"trained_pairs": 4}, "best_checkpoint": "checkpoint-2"})
    return folder


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    root = tmp_path_factory.mktemp("seeds")
    return [str(make_seed(root / f"seed{i}")) for i in range(2)]


def hold_out(folder, toy=True):
    """Beside them one specification of the poster and two outside the pools, whose protagonist SFT keeps in a quarter."""
    for path in sorted((folder / "constraints").glob("*/constraints.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for i, title in enumerate(("The Door That Wasn't There", "o1", "o2")):
            for sample in range(2):
                kept = dict.fromkeys(CONSTRAINTS, True) | {"protagonist": path.parent.name != "sft" or i + sample == 1}
                spec = {"title": title, "protagonist": "Mina" if i == 0 else OUTSIDE["female"][0]}
                story = f"{path.parent.name} tells {title}"
                rows.append({"prompt": f"p\nTitle: {title}", "specification": spec, "story": story, "constraints": kept})
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    if toy:
        shutil.copytree(folder / "constraints" / "base", folder / "constraints" / "toy-base")
    return folder


def rows_of(path):
    with path.open(encoding="utf-8") as stream:
        return {row[0]: row[1:] for row in csv.reader(stream)}


def test_the_report_holds_means_differences_and_figures(seeds, tmp_path):
    output = tmp_path / "report"
    assert report.main(["--seeds", *seeds, "--output", str(output)]) == 0
    constraints = rows_of(output / "constraints.csv")
    assert constraints["constraint"] == list(MODELS)
    assert [cell.split()[0] for cell in constraints["title"]] == ["0.000", "0.500", "0.500", "0.500", "1.000", "1.000"]
    assert constraints["object"][0] == "1.000 [1.000, 1.000]"
    assert constraints["all fifteen kept"][1].startswith("0.500")
    differences = rows_of(output / "differences.csv")
    place = differences["constraint"].index("dpo-hard − sft")
    assert differences["title"][place].startswith("+0.500")
    assert differences["object"][place] == "+0.000 [+0.000, +0.000]; t [+0.000, +0.000]"
    accuracies = rows_of(output / "accuracy.csv")
    assert accuracies["sft"][:2] == ["0.750 [0.750, 0.750]", "–"]
    assert accuracies["dpo-hard"][1].startswith("1.000")
    with (output / "seeds.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[3] == ["all fifteen kept", "seed0", "0.000", "0.500", "0.500", "0.500", "1.000", "1.000"]
    assert len(rows) == 5
    assert rows_of(output / "faults.csv")["end flat"][:2] == ["8", "1.000"]
    with (output / "prompts.csv").open(encoding="utf-8") as stream:
        values = list(csv.DictReader(stream))
    assert len(values) == 2 * len(MODELS) * 4
    assert sum(float(row["title"]) for row in values if row["model"] == "sft") == 4
    page = (output / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 4
    assert page.count("<script") == 1, "the library's own, allowed by its digest"
    assert "http" not in page.replace("http-equiv", "")
    assert "&lt;i&gt;sft &amp; 0&lt;/i&gt;" in page
    assert "<b>" not in page
    assert report.main(["--seeds", seeds[0], "--output", str(output)]) == 0, "a report may be made anew"


def test_obedience_inside_and_outside_the_pools_stands_side_by_side(seeds, tmp_path):
    report.main(["--seeds", *seeds, "--output", str(tmp_path / "plain")])
    assert not {"groups.csv", "obedience.csv"} & {path.name for path in (tmp_path / "plain").iterdir()}
    held = [str(hold_out(make_seed(tmp_path / f"seed{i}"))) for i in range(2)]
    output = tmp_path / "report"
    assert report.main(["--seeds", *held, "--output", str(output)]) == 0
    with (output / "groups.csv").open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["constraint", "specifications", *MODELS, "toy-base"]
    found = {(row[0], row[1]): dict(zip(header, row, strict=True)) for row in rows}
    assert found["protagonist", "inside"]["sft"] == "1.000 [1.000, 1.000]; t [1.000, 1.000]"
    assert found["protagonist", "outside"]["sft"].startswith("0.250 [0.000, ")
    assert found["protagonist", "outside"]["toy-base"] == "1.000 [1.000, 1.000]; t [1.000, 1.000]"
    assert found["protagonist", "poster"]["sft"] == "0.500"
    assert found["title", "inside"]["toy-base"].startswith("0.000")
    text = (output / "report.md").read_text(encoding="utf-8")
    assert "4 inside, 2 outside, 1 poster" in text
    assert "4 test specifications each, 2 stories a specification" in text
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "<h4>toy-base " in page
    assert page.count(">base tells The Door That Wasn") == 2, "the base's, and the toy's, which has the same stories"
    assert rows_of(output / "constraints.csv") == rows_of(tmp_path / "plain" / "constraints.csv"), "of what is inside"
    with (output / "obedience.csv").open(encoding="utf-8", newline="") as stream:
        values = list(csv.DictReader(stream))
    assert sum(float(row["protagonist"]) for row in values if (row["model"], row["group"]) == ("sft", "outside")) == 2 * 0.5


def test_obedience_alone_is_told_before_any_preference_training(tmp_path, capsys):
    held = [hold_out(make_seed(tmp_path / f"seed{i}")) for i in range(3)]
    for folder in held:
        for path in folder.iterdir():
            if path.name != "constraints":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in (folder / "constraints").glob("*dpo*"):
            shutil.rmtree(path)
    output = tmp_path / "obedience"
    with pytest.raises(SystemExit, match="2"):
        report.main(["--seeds", *map(str, held), "--output", str(output)])  # the whole report needs every model
    assert report.main(["--seeds", *map(str, held), "--obedience", "--output", str(output)]) == 0
    with (output / "groups.csv").open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["constraint", "specifications", "base", "sft", "toy-base"]
    found = {(row[0], row[1]): dict(zip(header, row, strict=True)) for row in rows}
    assert found["protagonist", "outside"]["sft"].endswith("; t [0.250, 0.250]"), "the same in all three seeds"
    assert {path.name for path in output.iterdir()} == {
        "groups.csv",
        "groups.png",
        "obedience.csv",
        "provenance.json",
        "report.html",
        "report.md",
    }
    shutil.rmtree(held[1] / "constraints" / "toy-base")
    with pytest.raises(SystemExit, match="2"):
        report.main(["--seeds", *map(str, held), "--obedience", "--output", str(output)])
    assert (
        f"{held[1] / 'constraints' / 'toy-base'}/constraints.jsonl: not there, but for other seeds; sample"
        in capsys.readouterr().err
    )
    for folder in (held[0], held[2]):
        shutil.rmtree(folder / "constraints" / "toy-base")
    shutil.rmtree(held[2] / "constraints" / "sft")
    with pytest.raises(SystemExit, match="2"):
        report.main(["--seeds", *map(str, held), "--obedience", "--output", str(output)])
    assert "sft" in capsys.readouterr().err


def test_models_of_other_prompts_and_seeds_without_held_out_ones_are_refused(seeds, tmp_path, capsys):
    alone = hold_out(make_seed(tmp_path / "alone"), toy=False)
    write(alone / "constraints" / "toy" / "constraints.jsonl", json.dumps({"prompt": "other", "constraints": {}}) + "\n")
    for seed_folders, told in (
        ([str(alone)], "constraints/toy: other prompts than sft's"),
        ([seeds[0], str(hold_out(make_seed(tmp_path / "held"), toy=False))], "sample them alike"),
        ([seeds[0], str(hold_out(make_seed(tmp_path / "toy")))], "constraints/toy-base/constraints.jsonl: not there"),
    ):
        with pytest.raises(SystemExit):
            report.main(["--seeds", *seed_folders, "--output", str(tmp_path / "out")])
        assert told in capsys.readouterr().err


def test_what_is_missing_is_named(seeds, tmp_path, capsys):
    with pytest.raises(SystemExit):
        report.main(["--seeds", str(tmp_path), "--output", str(tmp_path / "out")])
    assert "base/constraints.jsonl: not there" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(SystemExit):
        report.main(["--seeds", seeds[0], "--output", str(tmp_path / "mine")])
    assert "choose another folder" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").is_file()


def test_values_are_per_seed_and_specification(seeds):
    results = read_results(seeds)
    assert results.values["sft"]["title"].shape == (2, 4)
    assert results.values["sft"]["kept"].mean() == pytest.approx((14 + 0.5) / 15)


def test_the_legend_lies_beside_the_rates(seeds, tmp_path, monkeypatch):
    from studies.horror import report_figures

    kept = {}
    monkeypatch.setattr(report_figures, "_save", lambda figure, path: kept.setdefault("figure", figure))
    report_figures.draw_constraints(read_results(seeds), tmp_path)
    figure = kept["figure"]
    figure.canvas.draw()
    axis, legend = figure.axes[0], (figure.legends or [figure.axes[0].get_legend()])[0]
    assert not legend.get_window_extent().overlaps(axis.get_window_extent())
    report_figures.pyplot().close(figure)


def test_intervals_draw_seeds_then_the_specifications_of_each():
    """Every specification of the first seed is kept, none of the second: the seeds decide the interval, and all of it."""
    values = np.array([[1.0] * 20, [0.0] * 20])
    assert spread(values) == {"mean": 0.5, "low": 0.0, "high": 1.0}
    uneven = np.random.default_rng(0).random((3, 20)) * [[1], [2], [3]]
    found = spread(uneven)
    assert found == mean_interval(uneven, nested=True)
    assert found != mean_interval(uneven)


def judged(folder, seed, scores):
    """A folder of judge_samples: the title of each of SFT's eight stories, by the judge."""
    rows = [
        {"run": f"{seed}/samples/sft", "prompt_id": place // 2, "sample": place % 2, "score": score}
        for place, score in enumerate(scores)
    ]
    write(folder / "judged.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_judge_stands_beside_the_rules(seeds, tmp_path, capsys):
    """The rules keep SFT's first four titles; the judge the first two, the fifth, and has no verdict on the last."""
    folder = judged(tmp_path / "judged", seeds[0], [1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, None])
    output = tmp_path / "report"
    assert report.main(["--seeds", *seeds, "--output", str(output), "--judged", f"title={folder}"]) == 0
    chance = (4 * 3 + 3 * 4) / 49
    expected = (4 / 7 - chance) / (1 - chance)
    assert rows_of(output / "judge_title.csv")["sft"] == ["7", "2", "2", "1", "2", "0.571", f"{expected:.3f}"]
    said = capsys.readouterr().out
    assert "Stories without a verdict, left out: 1." in said


@pytest.mark.parametrize(
    ("scores", "flag", "told"),
    [
        ([0.4], "title={}", "a judge's verdicts are 0 and 1"),
        ([1.0], "titel={}", "give CONSTRAINT=FOLDER"),
        ([1.0], "title={}/nowhere", "give a folder of scripts_eval.judge_samples"),
        ([], "title={}", "no verdict on a story below"),
    ],
)
def test_verdicts_that_cannot_be_read_are_one_line(seeds, tmp_path, capsys, scores, flag, told):
    folder = judged(tmp_path / "judged", seeds[0], scores)
    with pytest.raises(SystemExit) as ended:
        report.main(["--seeds", *seeds, "--output", str(tmp_path / "report"), "--judged", flag.format(folder)])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "report").exists()
