"""Held-out prompts: the plan of --folds, the measures of an answer, and the report of two made-up folds."""

import json
import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.sampling.run import followed
from studies.real import measure, report
from studies.reproduce.__main__ import main
from tests import test_recipes as recipes

SAMPLED = ("untouched", "sft", "sft-t1.1", "dpo", "dpo-t1.1", "ddpo", "ddpo-t1.1", "ddpo-permuted")


UNTRAINED = ("sft-min-p", "dpo-min-p", "untouched-verbalized", "untouched-iterative")
FROM_THE_MODEL = ("orpo", "dorpo")
METHODS = ("spl", "crpo", "divpo", "dpo-beta-0.4", "dpo-beta-4", "dpo-quarter", "dpo-half", *FROM_THE_MODEL, *UNTRAINED)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "votes.jsonl"
    row = {"post_title": "A use for a brick?", "post_text": "", "comment_texts": ["a hat", "a door"], "comment_scores": [3, 1]}
    path.write_text(json.dumps(row) + "\n")
    return path


def commands(capsys, *flags):
    """Every stage that is printed, with its command."""
    assert main([*flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [*zip((line[5:] for line in lines[1:-1:2]), lines[2:-1:2], strict=True)]


def test_no_stage_of_the_policies_reads_the_other_half(capsys, source):
    flags = ["--recipe", "smollm2", "--source", str(source), "--folds", "--seeds", "3", "4", "--dry_run"]
    pairs = commands(capsys, *flags)
    first, stages = dict(reversed(pairs)), dict(pairs)  # of the first fold, of the last
    assert [name for name, line in stages.items() if "data/other" in line] == ["reward_b"]
    assert (
        "--source runs/smollm2-folds/seed4/data/policy --held_out runs/smollm2-folds/seed4/data/policy"
        in stages["reward_ridge"]
    )
    assert [name for name, line in stages.items() if "reward-ridge" in line] == ["reward_ridge", "measure"], "trained against"
    assert all("data/filtered" in first[f"sample_{name}"] for name in SAMPLED)
    assert "--permute prompt --permute_seed 3" in first["3_weights_permuted"]
    assert "data/pairs-permuted" in first["train_ddpo-permuted"]
    seconds = [name for name, line in pairs if "seed4/" in line]
    assert "train_ddpo" in seconds
    assert not [name for name in seconds if "permuted" in name]
    assert "smollm2-folds/seed3 runs/smollm2-folds/seed4" in stages["report"]
    assert main([*flags[:5], "--recipe", "miniature", "--source", "", "--dry_run"]) == 2


def test_methods_from_the_same_adapter_pairs_and_steps(capsys, source, monkeypatch):
    """What is added stands before the one stage that measures; what is not a method's own is as DPO has it."""
    plain, both = (
        commands(capsys, "--recipe", "smollm2", "--source", str(source), "--folds", *more, "--seeds", "3", "4", "--dry_run")
        for more in ([], ["--methods"])
    )
    assert [pair for pair in both if pair in plain] == plain
    of_fold = [name for name, line in both if "seed4/" in line and "seed3/" not in line]
    added = set(of_fold) - {name for name, _ in plain}
    assert {f"sample_{name}" for name in METHODS} < added
    assert of_fold.index("measure") > max(map(of_fold.index, added))
    lines = dict(both)
    trained = {name: lines[f"train_{name}"] for name in METHODS if name not in UNTRAINED}
    own = {
        "spl": "--alpha 0.3", "crpo": "--weight_column creativity", "dpo-beta-0.4": "--beta 0.4",
        "dpo-beta-4": "--beta 4", "dpo-quarter": "--num_train_epochs 0.25", "dpo-half": "--num_train_epochs 0.5", "divpo": "",
    }  # fmt: skip
    dpo = lines["train_dpo"].partition(" --source ")[2].replace("/dpo ", "/{name} ").replace("/dpo-", "/{name}-")
    for name in FROM_THE_MODEL:  # no SFT adapter, the same pairs and words around the prompt
        words = trained.pop(name).partition(" --source ")[2]
        start = "runs/smollm2-folds/seed4/data/pairs-both --chat_template_from runs/smollm2-folds/seed4/generation"
        assert words.startswith(start)
        assert "--adapter" not in words
        assert f"--adapter runs/smollm2-folds/seed4/{name} " in lines[f"sample_{name}"]
    for name, line in trained.items():
        pairs = {"crpo": "pairs-crpo", "divpo": "pairs-divpo"}.get(name, "pairs-both")
        words = re.sub(" +", " ", line.partition(" --source ")[2].replace(own[name], ""))
        assert own[name] in line
        assert words == dpo.format(name=name).replace("pairs-both", pairs)
    assert "--adapter runs/smollm2-folds/seed4/generation" in lines["sample_sft-min-p"]
    assert "--adapter runs/smollm2-folds/seed4/dpo " in lines["sample_dpo-min-p"]
    for name in ("sft-min-p", "dpo-min-p"):
        assert "--temperature 1.1 --top_k 0 --top_p 1 --min_p 0.05" in lines[f"sample_{name}"]
    assert "--source runs/smollm2-folds/seed4/data/unpaired-wide" in lines["4_divpo"]
    for name, own in {"verbalized": "--verbalized 8 --max_new_tokens 80", "iterative": "--iterative"}.items():
        line = lines[f"sample_untouched-{name}"]
        assert line.endswith(own)
        assert "--chat_template_from runs/smollm2-folds/seed4/generation" in line
        assert "--adapter" not in line
    assert "--accept_failures" in lines["sample_untouched-verbalized"]
    for name in ("3_weights_crpo", "2_unpaired", "4_divpo", "train_spl", *(f"sample_{name}" for name in METHODS)):
        words = shlex.split(lines[name])
        place = words.index("-m")
        if words[place + 1] != "diversity_tuning.training":
            recipes.parse_command(monkeypatch, words[place + 1], words[place + 2 :])


def test_grpo_beside_a_fold(capsys, source, monkeypatch):
    """From the fold's SFT adapter, on its training prompts, with reward A; the deviation is all that differs."""
    base = ["--recipe", "smollm2", "--source", str(source)]
    plain, both = (commands(capsys, *base, "--folds", *more, "--seeds", "3", "4", "--dry_run") for more in ([], ["--rlaif"]))
    assert [pair for pair in both if pair in plain] == plain  # a finished fold is gone on with
    of_fold = [name for name, line in both if "seed4/" in line and "seed3/" not in line]
    added = [name for name in of_fold if name not in dict(plain)]
    assert sorted(added) == ["sample_grpo", "sample_grpo-advantage", "train_grpo", "train_grpo-advantage"]
    assert of_fold.index("measure") > max(map(of_fold.index, added))
    lines, run = dict(both), "runs/smollm2-folds/seed4"
    alone, weighted = (shlex.split(lines[f"train_{name}"]) for name in ("grpo", "grpo-advantage"))
    config, of_recipe = None, ["--config", str(recipes.ROOT / "recipes" / "smollm2" / "grpo.yaml")]
    for words in (alone, weighted):
        assert "MODEL=smollm2" in words
        arguments, _, config = recipes.parse_training("grpo", [*of_recipe, *words[words.index("cm_grpo.sh") + 1 :]])
        assert (arguments.adapter, arguments.source) == (f"{run}/generation", f"{run}/data/filtered")
        assert arguments.reward == [f"{run}/reward"]
        assert config.encoders == ["builtin:minilm", f"builtin:stylometry:{run}/stylometry"]
    assert config.deviation == "advantage"
    apart = [word for word in weighted if word not in alone]
    assert apart == ["--deviation", "advantage", f"{run}/grpo-advantage"]
    assert f"--adapter {run}/grpo-advantage " in lines["sample_grpo-advantage"]
    assert main([*base, "--rlaif", "--dry_run"]) == 2
    assert "give --folds --rlaif" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--methods", "reinforcement"], "those on pairs"),
        (["--full"], "--folds --full: of the others --folds goes with --methods or --rlaif alone"),
        (["--claims", "--rlaif"], "--claims"),
    ],
)
def test_what_does_not_go_with_folds_is_refused(capsys, source, flags, said):
    assert main(["--recipe", "smollm2", "--source", str(source), "--folds", *flags, "--dry_run"]) == 2
    assert said in capsys.readouterr().err


def test_fit_counts_the_prompts_that_are_farther():
    """Three prompts on axes: the first answer is nearest its own, the second farthest from its own."""
    axes = dict(zip(["a", "b", "c"], np.eye(3), strict=True))
    vectors = np.array([[0.8, 0.6, 0.0], [0.6, 0.0, 0.8]])
    found = measure.fits(vectors, ["a\n", "b\n"], lambda texts: np.array([axes[text] for text in texts]))
    assert list(found) == [1.0, 0.0]  # of two prompts that are asked for
    assert np.isnan(measure.fits(vectors, ["a", "a"], None)).all()


def test_faults_are_counted_and_missing_capitals_are_not():
    pytest.importorskip("harper")
    assert measure.lints(["make a rope for a boat", "unravelling intelligent lifef no houseLEGATO"]) == [0, 3]


def test_measures_of_a_prompt_by_hand():
    rows = [("sft", "p", "a b", 2, 1, 0), ("sft", "p", "a b", 2, 0, 0), ("sft", "p", "c", 1, 0, 1), ("sft", "q", "", 0, 0, 0)]
    answers = pd.DataFrame(rows, columns=["model", "prompt", "plain", "words", "lints", "kind"])
    for name in measure.MEASURES:
        if name not in answers and name not in measure.OF_ALL:
            answers[name] = [1.0, 2.0, 6.0, 0.0]
    first, second = measure.by_prompt(answers).to_dict("records")
    assert (first["answers"], first["distinct_k"], first["reward_a"]) == (3, 2, 3.0)
    assert first["distinct"] == pytest.approx(2 / 3)
    assert first["lints"] == pytest.approx(20.0)  # 1 fault in 5 words
    assert np.isnan(second["lints"])  # no word


def test_a_prompt_without_all_answers_has_no_measures_and_keeps_its_place():
    """The second model has no answer to the first prompt: what is paired by prompt stays paired."""
    asked = [("sft", "p"), ("sft", "q"), ("vs", "q")]
    rows = [(*pair, text, 1, 0, 0) for pair in asked for text in "ab"]
    answers = pd.DataFrame(rows, columns=["model", "prompt", "plain", "words", "lints", "kind"])
    for name in measure.MEASURES:
        if name not in answers and name not in measure.OF_ALL:
            answers[name] = 1.0
    table = measure.by_prompt(answers)
    found = [*zip(table["model"], table["prompt"], table["answers"], strict=True)]
    assert found == [("sft", "p", 2), ("sft", "q", 2), ("vs", "p", 0), ("vs", "q", 2)]
    assert table["reward_a"].isna().tolist() == [False, False, True, False]


def sampled_folder(folder, answers, failures=(), **arguments):
    """A folder of samples: prompt -> how many answers; ``failures``: numbers of prompt and answer, after three replies each."""
    folder.mkdir()
    rows = [
        {"prompt_id": i, "prompt": f"{prompt}\n", "sample": j, "response": f"{prompt} {j}", "finished": True, "tokens": 2}
        for i, (prompt, number) in enumerate(answers.items()) for j in range(number)
    ]  # fmt: skip
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lost = [{"prompt_id": i, "sample": j, "error": "no form", "runs": 1, "unread": 3} for i, j in failures]
    (folder / "sampling.json").write_text(json.dumps({"arguments": arguments, "failures": lost, "finished": True}))
    return folder


def test_only_answers_that_sampling_gave_up_may_be_missing(tmp_path):
    whole = sampled_folder(tmp_path / "sft", {"p": 2, "q": 2})
    part = sampled_folder(tmp_path / "vs", {"p": 2, "q": 0}, [(1, 0), (1, 1)], verbalized=2)
    none = sampled_folder(tmp_path / "none", {"p": 0, "q": 1}, [(0, 0), (0, 1), (1, 1)], verbalized=2)
    texts, given_up = measure.alike({"vs": part, "sft": whole, "none": none})
    assert texts == {"vs": {"p\n": ["p 0", "p 1"]}, "sft": {"p\n": ["p 0", "p 1"], "q\n": ["q 0", "q 1"]}, "none": {}}
    assert given_up == {"vs": {"missing": 2, "left_out": 1}, "none": {"missing": 3, "left_out": 2}}
    assert followed(part) == {"replies": 4, "read": 1}
    lacks = sampled_folder(tmp_path / "dpo", {"p": 2, "q": 1})
    for folders in ({"sft": whole, "dpo": lacks}, {"dpo": lacks, "sft": whole, "vs": part}):
        with pytest.raises(UserError, match="not as many answers to the same prompts"):
            measure.alike(folders)
    with pytest.raises(UserError, match="answers are missing of every model"):
        measure.alike({"vs": part})


REWARDS = ("reward_a", "reward_ridge", "reward_b")


class _Reward:
    """The number of letters; the ridge's is below 0, so that the two are told apart."""

    def __init__(self, name=""):
        self.sign = -1 if name == "reward_ridge" else 1

    def score(self, prompts, responses, batch_size=0):
        return np.array([self.sign * float(len(text)) for text in responses])


def test_people_are_measured_like_a_model_and_no_text_is_kept(tmp_path, monkeypatch, capsys):
    """Two prompts, a model that says one thing and one that copies; texts are in the examples alone."""
    pytest.importorskip("harper")

    def encode(texts):
        counts = np.array([[text.count("a") + 0.1, text.count("o"), text.count("e")] for text in texts], dtype=float)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    monkeypatch.setattr("diversity_tuning.embeddings.load_encoder", lambda *args, **kwargs: SimpleNamespace(encode=encode))
    monkeypatch.setattr("diversity_tuning.reward_model.load_reward_model", lambda *args, **kwargs: _Reward())
    monkeypatch.setattr("studies.captions.caption_reward.load_caption_reward", lambda folder, *_: _Reward(Path(folder).name))
    monkeypatch.setattr(
        "diversity_tuning.evaluation.scoring.fluency.log_probs", lambda texts, *args, **kwargs: -np.ones(len(texts))
    )
    rows = {"post_title": ["Bread?", "Coal?"], "post_text": ["", ""]}
    train = Dataset.from_dict({**rows, "filtered_comment_texts": [["a toad", "an eel"], ["a boat", "the sea"]]})
    test = Dataset.from_dict({**rows, "filtered_comment_texts": [["cats", "dogs", "hens"], ["toes", "oaks", "elms"]]})
    DatasetDict({"train": train, "test": test}).save_to_disk(str(tmp_path / "filtered"))
    for model, texts in {"sft": ("A toad!", "one eel"), "dpo": ("an oar", "An oar.")}.items():
        (tmp_path / model).mkdir()
        samples = [
            {"prompt_id": i, "prompt": prompt, "sample": j, "response": text, "finished": True, "tokens": 2}
            for i, prompt in enumerate(("Bread?\n", "Coal?\n")) for j, text in enumerate(texts)
        ]  # fmt: skip
        (tmp_path / model / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
    for name in REWARDS:
        (tmp_path / name).mkdir()
    output = tmp_path / "measures"
    words = [
        "--samples",
        str(tmp_path / "sft"),
        str(tmp_path / "dpo"),
        "--source",
        str(tmp_path / "filtered"),
        "--output",
        str(output),
    ]
    rewards = [word for name in REWARDS for word in (f"--{name}", str(tmp_path / name))]
    assert measure.main([*words, *rewards]) == 0
    table = pd.read_csv(output / measure.PROMPTS).set_index(["model", "prompt"])
    assert list(dict.fromkeys(name for name, _ in table.index)) == ["people", "sft", "dpo"]
    assert table.loc[("dpo", "Coal?\n"), ["answers", "distinct", "distinct_k", "copies", "reward_b"]].tolist() == [
        2,
        0.5,
        1,
        0,
        6.5,
    ]
    assert table.loc[("dpo", "Coal?\n"), "reward_ridge"] == -6.5
    assert table.loc[("sft", "Coal?\n"), "copies"] == 0.5  # of a training answer to any prompt
    assert (output / measure.EXAMPLES).read_text().count("an oar") == 2
    assert "oar" not in pd.read_csv(output / measure.ANSWERS).to_csv()
    shutil.copytree(tmp_path / "dpo", tmp_path / "spl")  # a model that has been added: all are measured again
    more = ["--samples", *(str(tmp_path / name) for name in ("sft", "dpo", "spl")), *words[3:], *rewards]
    assert measure.main(more) == 0
    again = pd.read_csv(output / measure.PROMPTS).set_index(["model", "prompt"])
    assert again.loc[table.index].equals(table)
    assert len(again) == len(table) + 2
    again.drop(columns="seq_rep_4").to_csv(output / measure.PROMPTS)  # an edition without this measure: made again
    assert measure.main(more) == 0
    assert pd.read_csv(output / measure.PROMPTS)["seq_rep_4"].notna().all()
    capsys.readouterr()
    assert measure.main(more) == 0
    assert "already made" in capsys.readouterr().out
    for other in ([*words, *rewards], [*more[:4], str(tmp_path / "sft-t1.1"), *more[4:], "--seed", "1"]):
        shutil.copytree(tmp_path / "dpo", tmp_path / "sft-t1.1", dirs_exist_ok=True)
        with pytest.raises(SystemExit, match="2"):  # one less; another setting
            measure.main(other)
        assert "was made otherwise" in capsys.readouterr().err
    (tmp_path / "dpo" / "samples.jsonl").write_text("")
    with pytest.raises(SystemExit, match="2"):
        measure.main([*words, *rewards, "--overwrite"])
    assert "not as many answers to the same prompts" in capsys.readouterr().err


@pytest.fixture
def seeds(tmp_path):
    """Two folds of three and two prompts; DDPO is more various than a mixture of SFT and DPO by .1 at equal reward."""
    means = {"people": (0.0, 0.8), "sft": (0.0, 0.6), "dpo": (1.0, 0.4), "ddpo": (0.5, 0.6)}
    folders = []
    for fold, prompts in enumerate((["a", "b", "c"], ["d", "e"])):
        folder = tmp_path / "votes" / f"seed{fold}"
        rows = [
            {"model": model, "prompt": f"{prompt}\n", "answers": 4, **dict.fromkeys(measure.MEASURES, 0.5), "reward_b": reward,
             "semantic_diversity": variety}
            for model, (reward, variety) in means.items() for prompt in prompts
        ]  # fmt: skip
        (folder / "measures").mkdir(parents=True)
        pd.DataFrame(rows).to_csv(folder / "measures" / measure.PROMPTS, index=False)
        pd.DataFrame(rows).to_csv(folder / "measures" / measure.ANSWERS, index=False)
        (folder / "reward-b").mkdir()
        accuracy = {"by_contest": {"reward": {"a": 0.4, "b": 0.2}, "length": {"a": 0.1, "b": 0.1}}}
        (folder / "reward-b" / "accuracy.json").write_text(json.dumps(accuracy))
        (folder / "reward-ridge").mkdir()
        (folder / "reward-ridge" / "accuracy.json").write_text(json.dumps({"by_contest": {"reward": {"a": 0.1 + fold}}}))
        folders.append(str(folder))
    return folders


def test_report_of_two_folds(seeds, tmp_path):
    assert report.main(["--seeds", *seeds, "--output", str(tmp_path / "report")]) == 0
    text = (tmp_path / "report" / "report.md").read_text()
    assert "5 prompts that were never trained on, in 2 folds; 4 answers" in text
    assert "unseen votes is 0.30 within a prompt (length alone 0.10)" in text
    assert "with such votes is 0.60 within a prompt" in text, "the mean over folds"
    assert "| DDPO | +0.100 [+0.100, +0.100] |" in text
    assert (tmp_path / "report" / "real.png").stat().st_size > 10_000
    values = pd.read_csv(tmp_path / "report" / "prompts.csv")
    assert (len(values), set(values["regime"]), set(values["prompt"])) == (20, {"votes"}, set("abcde"))


def test_measures_of_an_earlier_edition_are_named(seeds, tmp_path, capsys):
    path = Path(seeds[0]) / "measures" / measure.PROMPTS
    pd.read_csv(path).drop(columns="seq_rep_4").to_csv(path, index=False)
    with pytest.raises(SystemExit, match="2"):
        report.main(["--seeds", *seeds, "--output", str(tmp_path / "report")])
    assert "made before seq-rep-4 was measured; run its stage again" in capsys.readouterr().err


def test_report_of_some_models(seeds, tmp_path, capsys):
    out = tmp_path / "report"
    assert report.main(["--seeds", *seeds, "--models", "dpo", "ddpo", "--output", str(out)]) == 0
    for table in ("prompts", "answers", "models"):
        assert set(pd.read_csv(out / f"{table}.csv")["model"]) == {"dpo", "ddpo"}
    with pytest.raises(SystemExit, match="2"):
        report.main(["--seeds", *seeds, "--models", "ddpo", "dppo", "--output", str(tmp_path / "other")])
    assert capsys.readouterr().err.startswith("error: --models dppo: in none of these folders")
    form = {"untouched-verbalized": {"replies": 9, "read": 0, "missing": 12, "left_out": 3}}
    made = {"stage": "real_measure", "versions": {}, "form": form}
    (Path(seeds[0]) / "measures" / "provenance.json").write_text(json.dumps(made))
    with pytest.raises(SystemExit, match="2"):
        report.main(["--seeds", *seeds, "--models", "ddpo", "untouched-verbalized", "--output", str(tmp_path / "other")])
    assert "error: --models untouched-verbalized: sampled, but no prompt has all its" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("count", [10, 11])
def test_many_models_are_numbers_and_a_list_beside_them(tmp_path, monkeypatch, count):
    from diversity_tuning import drawing

    names = list(report.LABELS)[:count]
    random = np.random.default_rng(0)
    values = {name: {key: random.normal(size=(1, 4)) for key in measure.MEASURES} for name in names}
    drawn = []
    monkeypatch.setattr(drawing, "save_figure", lambda figure, *_, **__: drawn.append(figure) or [tmp_path])
    report.draw({"votes": {"values": values, "tables": [0], "prompts": 4}}, tmp_path / "real")
    left, right = drawn[0].axes
    told = {text.get_text() for text in left.texts} - {""}  # of a line to a point that is not beside its label
    if count > report.MOST_LABELS:
        assert told == {str(number) for number in range(1, count + 1)}
        listed = [text.get_text() for text in right.get_legend().get_texts()]
        assert listed == [f"{number}  {report.label(name)}" for number, name in enumerate(names, 1)]
    else:
        assert told == {report.label(name) for name in names}
        assert right.get_legend() is None


def test_report_of_other_methods(seeds, tmp_path):
    """Each against DPO, and against mixtures of SFT's and DPO's models, those of half the updates among them."""
    means = {"spl": (0.5, 0.7), "crpo": (0.9, 0.5), "divpo": (1.0, 0.3), "dpo-half": (0.5, 0.55), "sft-min-p": (0.0, 0.7)}
    for fold in seeds:
        path = Path(fold) / "measures" / measure.PROMPTS
        table = pd.read_csv(path)
        own = table[table["model"] == "dpo"]
        rows = [own.assign(model=name, reward_b=x, semantic_diversity=y) for name, (x, y) in means.items()]
        pd.concat([table, *rows]).to_csv(path, index=False)
    assert report.main(["--seeds", *seeds, "--output", str(tmp_path / "report")]) == 0
    rows = pd.read_csv(tmp_path / "report" / "differences.csv").set_index(["models", "measure"])
    for name, (_, y) in means.items():
        assert rows.loc[(f"{name} - dpo", "semantic_diversity"), ["mean", "t_low"]].tolist() == pytest.approx([y - 0.4] * 2)
    above = pd.read_csv(tmp_path / "report" / "hull.csv").set_index(["model", "measure"])["mean"]
    # Hull: (0, .6), (.5, .55), (1, .4).
    heights = {"ddpo": 0.05, "spl": 0.15, "crpo": 0.07, "divpo": -0.1, "sft-min-p": 0.1}
    assert {name: above[name, "semantic_diversity"] for name in heights} == pytest.approx(heights)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "concave hull of SFT, DPO, DPO, half the updates at" in text
    assert "| CrPO − DPO |" in text


def test_report_of_grpo_and_of_models_that_were_asked_for_a_form(seeds, tmp_path):
    """GRPO minus SFT, DPO and with the deviation; replies in form over both folds; a prompt without answers pairs none."""
    means = {"grpo": (0.6, 0.3), "grpo-advantage": (0.5, 0.5), "untouched": (-1.0, 0.2), "untouched-verbalized": (-1.0, 0.5)}
    for place, fold in enumerate(seeds):
        path = Path(fold) / "measures" / measure.PROMPTS
        table = pd.read_csv(path)
        own = table[table["model"] == "dpo"]
        rows = [own.assign(model=name, reward_b=x, semantic_diversity=y) for name, (x, y) in means.items()]
        rows[-1].loc[rows[-1].index[0], list(measure.MEASURES)] = np.nan
        rows[2].loc[rows[2].index[0], "semantic_diversity"] = 7.0
        pd.concat([table, *rows]).to_csv(path, index=False)
        form = {"untouched-verbalized": {"replies": 9 + place, "read": 2, "missing": 8, "left_out": 1}}
        made = {"stage": "real_measure", "versions": {}, "form": form}
        (path.parent / "provenance.json").write_text(json.dumps(made))
    assert report.main(["--seeds", *seeds, "--output", str(tmp_path / "report")]) == 0
    rows = pd.read_csv(tmp_path / "report" / "differences.csv").set_index(["models", "measure"])
    found = {pair: rows.loc[(pair, "semantic_diversity"), "mean"] for pair, _ in rows.index if "grpo" in pair or "verb" in pair}
    assert found == pytest.approx(
        {"grpo - sft": -0.3, "grpo - dpo": -0.1, "grpo-advantage - sft": -0.1, "grpo-advantage - dpo": 0.1,
         "grpo-advantage - grpo": 0.2, "untouched-verbalized - untouched": 0.3}
    )  # fmt: skip
    above = pd.read_csv(tmp_path / "report" / "hull.csv").set_index(["model", "measure"])["mean"]
    assert above["grpo-advantage", "semantic_diversity"] == pytest.approx(0.0)  # of (0, .6) and (1, .4)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| untouched, verbalized | 4 of 19 | 16 | 2 |" in text
    assert "| untouched, verbalized | 3 |" in text  # prompts that are measured
    assert "| GRPO, δ on the advantage − GRPO |" in text


def test_a_hull_is_of_models_that_the_folds_have(seeds, tmp_path):
    path = Path(seeds[0]) / "measures" / measure.PROMPTS
    table = pd.read_csv(path)
    own = table[table["model"] == "dpo"].assign(model="dpo-half", reward_b=0.5, semantic_diversity=0.9)
    pd.concat([table, own]).to_csv(path, index=False)
    assert report.main(["--seeds", *seeds, "--output", str(tmp_path / "report")]) == 0
    assert "| DDPO | +0.100 [+0.100, +0.100] |" in (tmp_path / "report" / "report.md").read_text()


def test_folds_that_are_missing_or_given_twice_are_refused(seeds, tmp_path, capsys):
    def refused(*folders):
        with pytest.raises(SystemExit, match="2"):
            report.main(["--seeds", *folders, "--output", str(tmp_path / "report")])
        return capsys.readouterr().err

    assert "a folder is there twice" in refused(seeds[0], seeds[0])
    assert "not there; run the stages" in refused(f"{seeds[0]}x")
    assert not (tmp_path / "report").exists()


def test_a_control_of_one_fold_is_compared_there(seeds, tmp_path):
    path = tmp_path / "votes" / "seed1" / "measures" / measure.PROMPTS
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("ddpo")) + "\n")
    assert report.main(["--seeds", *seeds, "--output", str(tmp_path / "report")]) == 0
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| DDPO | 3 | 0.500" in text
    assert "| DPO | 5 |" in text
    assert "| DDPO | +0.100 [+0.100, +0.100] |" in text
