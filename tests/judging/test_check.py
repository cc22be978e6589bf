"""The command: figures of known judges, beside length, through main; a trained reward model; what stops it."""

import itertools
import json

import datasets
import numpy as np
import pytest

from diversity_tuning.judging.check import check
from diversity_tuning.judging.read import read_labels, read_pairs
from scripts_eval import judge_agreement
from scripts_reward_modeling import pairwise_reward_model_train as reward_pairs
from tests.tiny import save_base
from tests.training_runs import train

FIGURES = ("accuracy", "f1", "auc", "kappa", "pair_accuracy", "own_vs_other")
WORDS = "sun moon rain snow wind star leaf rock sand wave".split()


def pairs_of(n=40):
    """The better response names the prompt's word; it is the longer one in every second pair."""
    rows = []
    for i in range(n):
        word = WORDS[i % len(WORDS)]
        chosen, rejected = f"a {word} {i} for you", f"a thing {i}"
        rows.append({"prompt": f"{word} {i}", "chosen": chosen, "rejected": rejected + " and more words" * (i % 2)})
    return rows


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("agreement")
    cache, datasets.config.HF_DATASETS_CACHE = datasets.config.HF_DATASETS_CACHE, root / "cache"
    labels = [
        {"prompt": row["prompt"], "response": row[side], "label": int(side == "chosen")}
        for row in pairs_of()
        for side in ("chosen", "rejected")
    ]
    for name, rows in (("pairs", pairs_of()), ("labels", labels)):
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    yield root
    datasets.config.HF_DATASETS_CACHE = cache


def reads_the_prompt(prompts, responses):
    """1 where the response has the prompt's word."""
    return np.array([float(prompt.split()[0] in response) for prompt, response in zip(prompts, responses, strict=True)])


def value(figure):
    return None if figure["value"] is None else round(figure["value"], 6)


def test_a_perfect_judge_of_pairs_beside_length(files, tmp_path):
    result = check(reads_the_prompt, read_pairs(str(files / "pairs.jsonl")), tmp_path, "reads", draws=50)
    assert [value(result[name]) for name in FIGURES[:5]] == [1.0] * 5
    assert result["own_vs_other"]["value"] > 0.9
    assert value(result["length"]["pair_accuracy"]) == 0.5
    assert abs(result["length"]["own_vs_other"]["value"] - 0.5) < 0.25
    assert result["length_bias"]["people_take_longer"]["value"] == 0.5
    assert (result["responses"], result["good"], result["pairs"], result["prompts"]) == (80, 40, 40, 40)
    for figure in (result[name] for name in FIGURES):
        assert figure["low"] <= figure["value"] <= figure["high"]
    by_difference = [row for row in result["by_length"] if "n_comparisons" in row]
    assert [(row["from"], row["to"]) for row in by_difference] == [(0.0, 0.15), (0.15, 0.5), (0.5, 1.0)]
    assert sum(row["n_pairs"] for row in by_difference) == 40
    assert sum(row["n_comparisons"] for row in by_difference) == 40 * 40
    quarters = [row for row in result["by_length"] if "characters" in row["stratum"]]
    assert sum(row["n"] for row in quarters) == 80
    assert all(one["to"] < other["from"] for one, other in itertools.pairwise(quarters))
    assert len(result["length"]["by_length"]) == len(result["by_length"])
    assert json.loads((tmp_path / "agreement.json").read_text()) == result
    assert (tmp_path / "agreement.png").read_bytes().startswith(b"\x89PNG")


def test_labels_give_what_the_same_pairs_give(files, tmp_path):
    """The pairs are those of one prompt; only the strata count what was judged."""
    one = check(reads_the_prompt, read_pairs(str(files / "pairs.jsonl")), tmp_path, "reads", draws=20)
    other = check(reads_the_prompt, read_labels(str(files / "labels.jsonl")), tmp_path, "reads", draws=20)
    for name in ("accuracy", "f1", "auc", "kappa", "pair_accuracy"):
        assert value(one[name]) == value(other[name])


def test_a_response_without_a_verdict_is_left_out_and_counted(files, tmp_path):
    def judge(prompts, responses):
        return np.where([p.startswith("sun") for p in prompts], np.nan, reads_the_prompt(prompts, responses))

    result = check(judge, read_pairs(str(files / "pairs.jsonl")), tmp_path, "some", draws=20)
    assert (result["without_verdict"], result["responses"], result["pairs"]) == (8, 72, 36)
    assert value(result["pair_accuracy"]) == 1.0


def test_a_threshold_that_is_given(files, tmp_path):
    data = read_pairs(str(files / "pairs.jsonl"))
    result = check(reads_the_prompt, data, tmp_path, "strict", threshold=1.0, draws=20)
    assert (value(result["accuracy"]), value(result["f1"]), result["thresholds"]) == (0.5, 0.0, [1.0])


def run(files, output, *flags, reward="builtin:length"):
    return judge_agreement.main(["--reward", reward, "--output", str(output), "--draws", "20", *map(str, flags)])


def test_length_through_the_command(files, tmp_path, capsys):
    assert run(files, tmp_path / "out", "--labels", files / "labels.jsonl") == 0
    result = json.loads((tmp_path / "out" / "agreement.json").read_text())
    for name in FIGURES:
        assert result[name] == result["length"][name]
    assert run(files, tmp_path / "out", "--labels", files / "labels.jsonl") == 0
    assert "skipped" in capsys.readouterr().out


def test_a_trained_reward_model_through_the_command(files, tmp_path):
    save_base(tmp_path / "base")
    flags = ["--max_steps", "2"]
    assert train(reward_pairs, tmp_path, "reward", str(files / "pairs.jsonl"), flags) == 0
    output = tmp_path / "out"
    assert run(files, output, "--pairs", files / "pairs.jsonl", "--device", "cpu", reward=str(tmp_path / "reward")) == 0
    from diversity_tuning.reward_model import load_reward_model

    rows, model = pairs_of(), load_reward_model(str(tmp_path / "reward"), "cpu")
    prompts, chosen, rejected = ([row[name] for row in rows] for name in ("prompt", "chosen", "rejected"))
    expected = (model.score(prompts, chosen) > model.score(prompts, rejected)).mean()
    assert json.loads((output / "agreement.json").read_text())["pair_accuracy"]["value"] == pytest.approx(expected)


def test_what_was_trained_on_is_left_out(files, tmp_path):
    (tmp_path / "trained.jsonl").write_text(json.dumps(pairs_of()[0]) + "\n")
    flags = ("--pairs", files / "pairs.jsonl", "--trained_on", tmp_path / "trained.jsonl")
    assert run(files, tmp_path / "out", *flags) == 0
    assert json.loads((tmp_path / "out" / "agreement.json").read_text())["pairs"] == 39
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["counts"] == {"responses_left_out_as_trained_on": 2}


@pytest.mark.parametrize(
    ("reward", "flags", "message"),
    [
        ("judge.yaml", ["--labels", "FILES/labels.jsonl"], "--reward judge.yaml: not there"),
        ("builtin:taste", ["--labels", "FILES/labels.jsonl"], "--reward builtin:taste: no such judge"),
        ("runs/no/where", ["--labels", "FILES/labels.jsonl"], "--reward runs/no/where: not there"),
        ("builtin:length", ["--labels", "FILES/nothing.jsonl"], "nothing.jsonl: not there"),
        ("builtin:length", ["--labels", "FILES/pairs.jsonl"], "no column 'response'"),
        ("builtin:length", ["--pairs", "FILES/labels.jsonl"], "no column 'chosen'"),
        ("builtin:length", ["--pairs", "FILES/pairs.jsonl", "--trained_on", "FILES/labels.jsonl"], "all 80 responses share"),
    ],
)
def test_what_stops_it_is_one_line(files, tmp_path, capsys, reward, flags, message):
    with pytest.raises(SystemExit) as caught:
        run(files, tmp_path / "out", *[flag.replace("FILES", str(files)) for flag in flags], reward=reward)
    assert caught.value.code == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error: ")]
    assert message in line
    assert not (tmp_path / "out").exists()


def test_figures_are_told_with_intervals_and_length_and_few_labels_with_a_warning(files, tmp_path, capsys):
    """One good of 41: whatever the figures are, they say little."""
    rows = [{"prompt": f"p{i}", "response": f"text {i}" + " more" * (i % 3), "label": int(i == 0)} for i in range(41)]
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(files, tmp_path / "few", "--labels", tmp_path / "few.jsonl") == 0
    out, err = capsys.readouterr()
    assert "41 responses to 41 prompts, 1 good" in out
    assert "warning: 1 of 41 responses are good" in err
    assert run(files, tmp_path / "enough", "--labels", files / "labels.jsonl") == 0
    out, err = capsys.readouterr()
    found = json.loads((tmp_path / "enough" / "agreement.json").read_text())
    (line,) = [line for line in out.splitlines() if line.startswith("auc")]
    for figure in (found["auc"], found["length"]["auc"]):
        assert f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]" in line
    assert "warning" not in err


def test_one_class_is_nothing_to_agree_on(files, tmp_path, capsys):
    (tmp_path / "labels.jsonl").write_text('{"prompt": "p", "response": "r", "label": 1}\n')
    with pytest.raises(SystemExit):
        run(files, tmp_path / "out", "--labels", tmp_path / "labels.jsonl")
    assert "good and bad ones are needed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
