"""The dial: other votes on the same texts, by hand and as a property; its plan; its report of a made-up sweep."""

import itertools
import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict

from diversity_tuning.data.pair import draw_pairs
from diversity_tuning.data.sources import open_saved
from diversity_tuning.errors import UserError
from studies.captions.votes import standardised
from studies.real import dial, dial_report, measure
from studies.reproduce.__main__ import main
from tests import test_recipes as recipes
from tests.studies.captions import conftest as contests

letters, source = contests.letters, contests.source
FLAGS = ("--recipe", "smollm2", "--folds", "captions", "--dial", "0", "0.3")


def test_votes_by_hand():
    """log(1 + v) of 0 and e² − 1 is 0 and 2: s = 1. z(δ) is −1 and 1: λ = .5 adds .5 to one and takes .5 of the other."""
    votes = [0, np.e**2 - 1]
    assert dial.dialled(votes, [0.2, 1.8], 0.5).tolist() == [round(1000 * np.exp(0.5)) - 1, round(1000 * np.exp(1.5)) - 1]
    assert dial.dialled([0, 3, 10], [1.0, 2.0, 0.5], 0).tolist() == [999, 3999, 10999]
    assert dial.dialled([0, 3], [1.0, 1.0], 0.6).tolist() == [999, 3999]  # δ tells nothing apart
    assert dial.dialled([2, 2], [0.5, 1.5], 0.6).tolist() == [2999, 2999]  # nor do votes
    for strength in (30.0, -300.0):
        with pytest.raises(ValueError, match="thousandth"):
            dial.dialled([0, 100], [0.5, 1.5], strength)


def test_at_0_nothing_changes_and_the_correlation_falls_with_strength():
    rng = np.random.default_rng(0)
    for _ in range(20):
        votes, deviations = rng.geometric(0.2, 40) - 1, rng.gamma(2, 0.5, 40)
        same = dial.dialled(votes, deviations, 0)
        assert standardised(same) == pytest.approx(standardised(votes))
        pairs = [draw_pairs(one, gap, np.random.default_rng(1)) for one, gap in ((votes, 5), (same, 5 * dial.UNITS))]
        assert pairs[0] == pairs[1], "the same pairs, ties among votes included"
        moved = [standardised(dial.dialled(votes, deviations, strength)) for strength in (-0.6, 0, 0.3, 0.6, 1.2)]
        found = [np.corrcoef(deviations, one)[0, 1] for one in moved]
        assert all(np.diff(found) < 0)
        z = (deviations - deviations.mean()) / deviations.std()
        wanted = standardised(votes) - 0.6 * z
        assert moved[3] == pytest.approx((wanted - wanted.mean()) / wanted.std(), abs=0.02)  # rounded to thousandths


@pytest.fixture
def split_data(source, tmp_path, letters, monkeypatch):
    """A fold of the two made-up contests, in three parts, and an encoder that counts letters."""
    from studies.captions import split

    monkeypatch.setattr(split, "fold_rows", lambda *_: {"train": [0], "validation": [1], "test": [1]})
    assert split.main(["--source", str(source), "--output", str(tmp_path / "data"), "--test", "0.1", "--folds", "2"]) == 0
    stores = [Store(letters)]
    monkeypatch.setattr(dial.DialConfig, "open_stores", lambda *_: stores)
    return tmp_path / "data"


class Store:
    """Vectors by key, as the store of embeddings has them."""

    def __init__(self, encoder):
        self.encoder, self.texts = encoder, {}
        encoder.name, encoder.close = "letters", lambda: None

    def add(self, texts):
        from diversity_tuning.embeddings import text_key

        self.texts |= {text_key(text): text for text in texts}

    def vectors(self, keys):
        return self.encoder.encode([self.texts[bytes(key)] for key in keys])

    def count_truncated(self, keys):
        return 0


def replaced(data, output, strength, *more):
    flags = ["--score_process", "semantic", "--semantic_model", "builtin:minilm", "--strength", strength, *more]
    return dial.main(["--source", str(data), "--data_path", str(output), *flags])


def test_the_same_texts_in_the_same_places_and_other_votes(split_data, tmp_path, capsys):
    assert replaced(split_data, tmp_path / "moved", "0.6") == 0
    assert "90 responses" not in capsys.readouterr().out.partition("prompts")[0]  # 180: of both contests, each counted once
    votes = {}
    for name in dial.DATA_SETS:
        before, after = open_saved(split_data / name), open_saved(tmp_path / "moved" / name)
        for part, rows in before.items():
            assert rows["comment_texts"] == after[part]["comment_texts"]
            assert rows["comment_scores"] != after[part]["comment_scores"]
            columns = (after[part][key] for key in ("comment_texts", "comment_scores", "transformed_score"))
            for texts, own, mapped in zip(*columns, strict=True):
                assert list(np.argsort(own, kind="stable")) == list(np.argsort(mapped, kind="stable"))
                assert -1 <= min(mapped) <= max(mapped) <= 1
                for text, vote in zip(texts, own, strict=True):
                    assert votes.setdefault(text, vote) == vote, "one vote wherever the text stands"
    told = json.loads((tmp_path / "moved" / "policy" / "provenance.json").read_text())
    assert told["responses"] == len(votes) == 180
    assert told["correlation"][dial.REPLACED]["mean"] < told["correlation"][dial.GIVEN]["mean"] - 0.2
    assert replaced(split_data, tmp_path / "moved", "0.6") == 0
    assert "skipped" in capsys.readouterr().out


@pytest.mark.parametrize(("strength", "said"), [("nan", "finite"), ("99", "nearer to 0")])
def test_strengths_that_cannot_be(split_data, tmp_path, capsys, strength, said):
    with pytest.raises(SystemExit, match="2"):
        replaced(split_data, tmp_path / "moved", strength)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "moved").exists()


def commands(capsys, file, *flags):
    """Every stage that is printed with its command, in order."""
    assert main([*FLAGS, *flags, "--source", str(file), "--dry_run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [*zip((line[5:] for line in lines[1:-1:2]), lines[2:-1:2], strict=True)]


def test_only_what_depends_on_votes_is_made_anew(capsys, source):
    pairs = commands(capsys, source, "--seeds", "0", "1")
    main_run = "runs/smollm2-folds-captions/seed1"
    below = {name: line for name, line in pairs if f"{main_run}/dial-0.3" in line and name != "report_dial"}
    assert (
        list(below)
        == (
            "dial 1_filtering 2_pairs 3_weights_both 3_weights_permuted reward_b train_dpo sample_dpo sample_dpo-t1.1"
            " train_ddpo train_ddpo-permuted sample_ddpo sample_ddpo-t1.1 sample_ddpo-permuted measure"
        ).split()
    )
    assert not [line for _, line in pairs if "dial-0/" in line], "λ = 0 is the fold itself"
    for seed in (0, 1):  # with the control in every fold, too
        assert [line for _, line in pairs if f"--output_dir runs/smollm2-folds-captions/seed{seed}/ddpo-permuted" in line]
    assert f"--source {main_run}/data --data_path {main_run}/dial-0.3/data --strength 0.3" in below["dial"]
    assert "--gap 5000 --max_pairs 36" in below["2_pairs"]
    for name in ("train_dpo", "train_ddpo"):
        assert f"--adapter {main_run}/generation" in below[name]
        assert f"--source {main_run}/dial-0.3/data/pairs-both" in below[name]
    assert f"--source {main_run}/dial-0.3/data/pairs-permuted" in below["train_ddpo-permuted"]
    assert "--permute prompt --permute_seed 1" in below["3_weights_permuted"]
    assert f"{main_run}/dial-0.3/data/other" in below["reward_b"]
    assert f"--samples {main_run}/samples/sft {main_run}/samples/sft-t1.1 {main_run}/dial-0.3/samples/*/" in below["measure"]
    rewards = f"--reward_a {main_run}/reward --reward_ridge {main_run}/reward-ridge --reward_b {main_run}/dial-0.3/reward-b"
    assert rewards in below["measure"]
    points = dict(pairs)["report_dial"].partition("--points ")[2].split(" --output")[0].split()
    seeds = [f"runs/smollm2-folds-captions/seed{seed}" for seed in (0, 1)]
    assert points == [word for seed in seeds for word in (f"0={seed}", f"0.3={seed}/dial-0.3")]


def test_a_fold_without_the_dial_is_gone_on_with(capsys, source):
    with_dial = commands(capsys, source)
    assert main([*FLAGS[:4], "--source", str(source), "--dry_run"]) == 0
    plain = [line for line in capsys.readouterr().out.splitlines()[1:-1] if not line.startswith("# ──")]
    assert [line for _, line in with_dial][: len(plain)] == plain


@pytest.mark.parametrize("like", ["captions", "storyer"])
def test_every_command_is_known(tmp_path, monkeypatch, source, like):
    """Of a fold with the settings of each kind of texts, with the dial and the other methods."""
    seen = set()
    flags = ["--recipe", "smollm2", "--source", str(source), "--folds", like, "--methods", "--dial", "0.3", "-0.5"]
    for module, argv, _ in recipes.dry_run(tmp_path, *flags):
        seen.add(module)
        if recipes.is_training(module):
            recipes.parse_training(recipes.STEM[module], argv)
        elif module != "diversity_tuning.training":
            recipes.parse_command(monkeypatch, module, argv)
    assert {"studies.real.dial", "studies.real.dial_report"} <= seen


def test_a_strength_below_0_reaches_the_report(capsys, source, tmp_path):
    """Its words begin with a minus, wherever they stand."""
    for strengths in (("-0.3", "0.6"), ("0.6", "-0.3")):
        made = dict(commands(capsys, source, "--dial", *strengths))["report_dial"]
        words = shlex.split(made)[3:]
        with pytest.raises(SystemExit):
            dial_report.main([*words[:-1], str(tmp_path / "report")])
        assert "measures/prompts.csv: not there" in capsys.readouterr().err


@pytest.mark.parametrize("like", ["captions", "storyer"])
def test_every_setting_is_of_a_stage(capsys, source, like):
    """What a file of settings names is on a command line, but for what a row of the plan says itself."""
    flags = ["--recipe", "smollm2", "--source", str(source), "--folds", like, "--dry_run"]
    for more in (["--methods", "--dial", "0.3"], ["--rlaif"]):
        assert main([*flags, *more]) == 0
    lines = capsys.readouterr().out
    words = [*itertools.pairwise(shlex.split(lines.replace("# ──", "")))]
    for name, own in recipes.recipe("smollm2", f"folds-{like}").items():
        for key, value in own.items():
            assert (f"--{key}", str(value)) in words, (name, key)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--folds", "songs"], "has settings for: captions, storyer"),
        (["--dial", "0.3"], "--dial: goes with --folds"),
        (["--folds", "--dial", "0.3", "0.3"], "each once"),
        (["--folds", "--dial", "nan"], "finite"),
    ],
)
def test_what_is_refused(capsys, source, flags, said):
    assert main(["--recipe", "smollm2", "--source", str(source), *flags, "--dry_run"]) == 2
    assert said in capsys.readouterr().err


@pytest.fixture
def sweep(tmp_path):
    """Two folds at λ = 0, .3, .6: DDPO − DPO in semantic diversity is λ / 3 + .01 on every prompt; votes favour δ ever less."""
    words = []
    for fold, prompts in enumerate((["a", "b", "c"], ["d", "e"])):
        for value in (0, 0.3, 0.6):
            folder = tmp_path / "caps" / f"seed{fold}" / (f"dial-{value:g}" if value else "")
            means = {"people": 0.8, "sft": 0.6, "dpo": 0.5 - value / 2, "ddpo": 0.51 - value / 2 + value / 3}
            rows = [
                {"model": model, "prompt": f"{prompt}\n", "answers": 4, **dict.fromkeys(measure.MEASURES, 0.5),
                 "semantic_diversity": variety + number / 10}
                for model, variety in means.items() for number, prompt in enumerate(prompts)
            ]  # fmt: skip
            (folder / "measures").mkdir(parents=True)
            for name in (measure.PROMPTS, measure.ANSWERS):
                pd.DataFrame(rows).to_csv(folder / "measures" / name, index=False)
            (folder / "reward-b").mkdir()
            accuracy = {"by_contest": {"reward": {"a": 0.4}, "length": {"a": 0.1}}}
            (folder / "reward-b" / "accuracy.json").write_text(json.dumps(accuracy))
            ridge = tmp_path / "caps" / f"seed{fold}" / "reward-ridge"  # of the fold, whatever λ
            ridge.mkdir(exist_ok=True)
            (ridge / "accuracy.json").write_text(json.dumps({"by_contest": {"reward": {"a": 0.2}}}))
            (folder / "data" / "policy").mkdir(parents=True)
            made = {"arguments": {}}
            if value:
                told = {name: {"mean": -one, "low": -one - 0.1, "high": 0.1 - one} for name, one in
                        ((dial.GIVEN, 0.05), (dial.REPLACED, value))}  # fmt: skip
                made = {"arguments": {"strength": value}, "correlation": told}
            (folder / "data" / "policy" / "provenance.json").write_text(json.dumps(made))
            made = weighted({0: [0, 3, 1, 2], 0.3: [2, 1, 3, 0], 0.6: [3, 2, 1, 0]}[value])
            DatasetDict({"train": made}).save_to_disk(str(folder / "data" / "pairs-both"))
            words.append(f"{value:g}={folder}")
    return words


def weighted(votes):
    """Two pairs of one prompt, whose responses have δ .1, .2, .3, .4 and these votes."""
    deltas, rows = [0.1, 0.2, 0.3, 0.4], []
    order = np.argsort(votes)
    for high, low in ((order[3], order[0]), (order[2], order[1])):
        rows.append({"score_chosen": votes[high], "score_rejected": votes[low]})
        for side, place in (("chosen", high), ("rejected", low)):
            rows[-1][side] = [{"role": "user", "content": "p\n"}, {"role": "assistant", "content": f"text {place}"}]
            rows[-1][f"deviation_{side}"] = deltas[place]
    return Dataset.from_list(rows)


def test_the_planted_growth_comes_back(sweep, tmp_path):
    output = tmp_path / "report"
    assert dial_report.main(["--points", *sweep, "--output", str(output)]) == 0
    rows = pd.read_csv(output / "dial.csv").set_index(["difference", "measure", "λ"])
    own = rows.sort_index().loc["DDPO − DPO", "semantic_diversity"]
    assert own["mean"].tolist() == pytest.approx([0.01, 0.11, 0.21])
    assert own[f"{dial_report.ALL}_mean"].tolist() == pytest.approx([-0.05, -0.3, -0.6])
    assert own[f"{dial_report.TRAINED}_mean"].tolist() == pytest.approx([0.4, -0.4, -1.0])
    slopes = pd.read_csv(output / "slopes.csv").set_index(["difference", "measure"])
    assert slopes.loc[("DDPO − DPO", "semantic_diversity"), ["mean", "low", "t_high"]].tolist() == pytest.approx([1 / 3] * 3)
    assert slopes.loc[("DPO − SFT", "semantic_diversity"), "mean"] == pytest.approx(-0.5)
    assert slopes.loc[("DDPO − DPO", "lints"), "mean"] == pytest.approx(0)
    text = (output / "report.md").read_text()
    assert "| slope | – | – |" in text
    assert "the votes as people gave them" in text
    assert (output / "dial.png").stat().st_size > 5_000
    values = pd.read_csv(output / "prompts.csv")
    assert (set(values["regime"]), set(values["seed"])) == ({"λ 0", "λ 0.3", "λ 0.6"}, {"seed0", "seed1"})


def test_trainings_are_told_by_fold(sweep, tmp_path):
    for word in sweep:
        row = {"step": 5, "loss": 0.7, "rewards/margins": 0.1, "rewards/accuracies": 0.6}
        (Path(word.partition("=")[2]) / "dpo").mkdir()
        (Path(word.partition("=")[2]) / "dpo" / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    assert dial_report.main(["--points", *sweep, "--output", str(tmp_path / "report")]) == 0
    rows = pd.read_csv(tmp_path / "report" / "trainings.csv")
    assert rows["fold"].tolist() == ["seed0", "seed1"] * 3


def test_slope_interval_and_t_by_hand(sweep, tmp_path):
    """Prompts of fold 0 rise by 5/6 and 0 over λ, those of fold 1 by 1/2.

    Mean of the folds' means 5/12 and 1/2; their standard error is 1/24, t of one degree of freedom 12.7062. A draw of two folds
    and their prompts has mean 0 or 5/6 in 1/64 each; the next values inwards are 5/24 and 2/3.
    """
    rises = [{"a": (0, 0.1, 0.5), "b": (0.2, 0.2, 0.2)}, {"d": (0, -0.3, 0.3), "e": (0.1, 0.1, 0.4)}]
    for place, word in enumerate(sweep):
        path = Path(word.partition("=")[2]) / "measures" / measure.PROMPTS
        rows = pd.read_csv(path)
        rows = rows[rows["prompt"].str.strip().isin(rises[place // 3])].copy()
        gains = [rises[place // 3][prompt.strip()][place % 3] for prompt in rows.loc[rows["model"] == "dpo", "prompt"]]
        dpo = rows.loc[rows["model"] == "dpo", "semantic_diversity"].to_numpy()
        rows.loc[rows["model"] == "ddpo", "semantic_diversity"] = dpo + gains
        rows.to_csv(path, index=False)
    assert dial_report.main(["--points", *sweep, "--output", str(tmp_path / "report")]) == 0
    slopes = pd.read_csv(tmp_path / "report" / "slopes.csv").set_index(["difference", "measure"])
    found = slopes.loc[("DDPO − DPO", "semantic_diversity")]
    half = 12.7062 / 24
    wanted = {"mean": 11 / 24, "low": 5 / 24, "high": 2 / 3, "t_low": 11 / 24 - half, "t_high": 11 / 24 + half}
    assert found[list(wanted)].to_dict() == pytest.approx(wanted, rel=1e-4)


def test_an_earlier_report_stands_in_for_folders_that_are_gone(sweep, tmp_path, capsys):
    """λ .3 from folders and 0, .6 from a report of them give the tables of all from folders; a fold it lacks is refused."""
    earlier, whole, found = (tmp_path / name for name in ("earlier", "whole", "found"))
    apart = {one: [word for word in sweep if word.startswith("0.3=") == (one == ".3")] for one in (".3", "others")}
    assert dial_report.main(["--points", *apart["others"], "--output", str(earlier)]) == 0
    assert dial_report.main(["--points", *sweep, "--output", str(whole)]) == 0
    assert dial_report.main(["--points", *apart[".3"], "--published", str(earlier), "--output", str(found)]) == 0
    for name in ("dial.csv", "slopes.csv"):
        pd.testing.assert_frame_equal(pd.read_csv(found / name), pd.read_csv(whole / name), rtol=1e-4, check_like=True)
    assert set(pd.read_csv(found / "prompts.csv")["regime"]) == {"λ 0.3"}
    assert "of the same folds (seed0, seed1)" in (found / "report.md").read_text()
    rows = pd.read_csv(earlier / "prompts.csv")
    rows[(rows["seed"] != "seed1")].to_csv(earlier / "prompts.csv", index=False)
    for words, said in ((apart[".3"], "λ 0 has no seed1"), (apart["others"], "no λ but those of --points")):
        with pytest.raises(SystemExit, match="2"):
            dial_report.main(["--points", *words, "--published", str(earlier), "--output", str(tmp_path / "again")])
        assert said in capsys.readouterr().err
    words = ["--points", *apart["others"], "--published", str(found), "--output", str(tmp_path / "again")]
    pd.read_csv(found / "dial.csv").assign(λ=0.9).to_csv(found / "dial.csv", index=False)
    with pytest.raises(SystemExit, match="2"):
        dial_report.main(words)
    assert "no values by prompt of λ 0.9" in capsys.readouterr().err
    one = [word for word in apart[".3"] if "seed0" in word]
    assert dial_report.main(["--points", *one, "--published", str(earlier), "--output", str(tmp_path / "one")]) == 0
    assert pd.read_csv(tmp_path / "one" / "dial.csv")["λ"].tolist()[:3] == [0, 0.3, 0.6]


def test_another_strength_than_was_made_and_models_that_are_not_there(sweep, tmp_path, capsys):
    zero, other = sweep[0], sweep[1].partition("=")[2]
    path = Path(other) / "measures" / measure.PROMPTS
    rows = pd.read_csv(path)
    for words, model, told in (
        ([zero, f"0.6={other}"], "", f"its votes are of λ 0.3; give it as 0.3={other}"),
        ([f"0.3={zero[2:]}"], "", "its votes are of λ 0;"),
        ([zero, f"0.3={other}"], "ddpo", "λ 0.3 has no measures of ddpo"),
    ):
        rows[rows["model"] != model].to_csv(path, index=False)
        with pytest.raises(SystemExit, match="2"):
            dial_report.main(["--points", *words, "--output", str(tmp_path / "report")])
        assert told in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_folds_that_differ_between_points_are_refused(sweep, tmp_path):
    for words, said in ((sweep[:-1], "every fold at every λ"), ([*sweep, sweep[0]], "twice"), (["x=y"], "NUMBER=FOLDER")):
        with pytest.raises((SystemExit, UserError)) as caught:
            dial_report.main(["--points", *words, "--output", str(tmp_path / "report")])
        assert str(caught.value) == "2", said
    assert not (tmp_path / "report").exists()
