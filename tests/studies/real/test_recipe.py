"""The recipe smollm2: keys known to their commands, the order of a dry run, its sizes, its estimate, the precision it takes."""

import dataclasses
import importlib.util
import itertools
import json
import re
import shlex

import pytest

from diversity_tuning.builtin import SMOLLM2
from studies.reproduce import estimate as estimating
from studies.reproduce.__main__ import main, make_parser, plan
from studies.reproduce.commands import Run
from studies.reproduce.estimate import estimate
from studies.reproduce.runner import multiplies_bfloat16
from studies.reproduce.stages import Stage
from tests import test_recipes as shared

FOLDER = shared.ROOT / "recipes" / "smollm2"
SIZES = ("quick", "folds", "folds-captions", "folds-storyer")  # what differs, by stage
STEMS = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem not in SIZES)
OF_FOLDS = {  # file -> module, and what must be on its command line
    "split": ("studies.captions.split", "--source x --output x"),
    "sample": ("scripts_eval.sample", "--source x --output x"),
    "dial": ("studies.real.dial", "--source x --data_path x --strength 0"),
    "judge": ("studies.captions.fit", "--source x --held_out x --output x"),
    "measure": ("studies.real.measure", "--samples x --source x --reward_a x --reward_ridge x --reward_b x --output x"),
}
TRAINING = ("generation", "reward", "dpo", "ddpo", "orpo", "dorpo", "grpo")


@pytest.fixture
def source(tmp_path):
    rows = [
        {
            "post_title": f"Prompt {i}",
            "post_text": "",
            "post_scores": 0,
            "comment_scores": list(range(40)),
            "comment_texts": [f"answer {j} of {i}" for j in range(40)],
        }
        for i in range(30)
    ]
    (tmp_path / "votes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "votes.jsonl"


def dry(capsys, source, *more):
    """Stage -> command, and the estimate."""
    assert main(["--recipe", "smollm2", "--source", str(source), "--dry_run", *more]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    return {line.removeprefix("# ── "): after for line, after in itertools.pairwise(lines) if line.startswith("# ── ")}, last


@pytest.mark.parametrize("stem", STEMS)
def test_every_key_is_known_to_its_command(monkeypatch, stem):
    if stem in OF_FOLDS:
        return shared.check_keys(monkeypatch, "smollm2", stem, *OF_FOLDS[stem])
    required = [f"--{name} x" for name in shared.REQUIRED[stem] if name not in shared.recipe("smollm2", stem)]
    flags = " ".join([*(["fit"] if stem == "stylometry" else []), *required])
    return shared.check_keys(monkeypatch, "smollm2", stem, shared.SCRIPTS[stem], flags)


def test_one_model_throughout_and_weights_are_the_only_difference():
    named = [shared.recipe("smollm2", stem).get("model_name_or_path") for stem in TRAINING]
    named += [
        shared.recipe("smollm2", "eval1_1")["base_model"],
        shared.recipe("smollm2", "1_data_prep_filtering")["model_to_use"],
    ]
    assert set(named) == {SMOLLM2}
    for one in ("dpo", "orpo"):
        plain, weighted = shared.recipe("smollm2", one), shared.recipe("smollm2", f"d{one}")
        assert plain.items() <= weighted.items()
        assert weighted.keys() - plain.keys() == {"weight_column", "weight_normalisation"}


def test_the_order_and_the_sizes(source, capsys, monkeypatch):
    monkeypatch.setattr("studies.reproduce.__main__.multiplies_bfloat16", lambda: True)
    quick, _ = dry(capsys, source)
    assert (
        list(quick)
        == (
            "0_scoring 1_filtering 2_pairs stylometry 3_weights_both train_generation train_reward"
            " reward_check eval_gold train_dpo eval_untouched eval_dpo train_ddpo-both eval_sft eval_ddpo-both auxiliary report"
        ).split()
    )
    assert f"--source {source}" in quick["0_scoring"]
    assert "ACCELERATE=cpu" in quick["train_dpo"]
    sizes = shared.recipe("smollm2", "quick")
    for name, stage in {"train_generation": "train_generation", "eval1_1": "eval_dpo", "eval2": "eval_gold"}.items():
        for key, value in sizes[name].items():
            assert f"--{key} {value}" in quick[stage]
    assert not re.search("--(num_prompts|max_steps)", quick["auxiliary"] + quick["report"] + quick["reward_check"])
    assert "runs/smollm2-quick/" in quick["report"]
    assert "--adapter" not in quick["eval_untouched"]
    assert "--chat_template_from runs/smollm2-quick/seed0/generation" in quick["eval_untouched"]
    full, _ = dry(capsys, source, "--size", "full")
    assert list(full) == list(quick)
    assert "--max_steps" not in " ".join(full.values())
    assert "runs/smollm2/" in full["report"]


def test_bfloat16_where_the_processor_multiplies_it(source, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("studies.reproduce.__main__.multiplies_bfloat16", lambda: True)
    commands, _ = dry(capsys, source)
    for stage in ("train_generation", "train_reward", "train_dpo", "train_ddpo-both", "eval_untouched", "eval_dpo"):
        assert "--dtype bfloat16" in commands[stage]
    monkeypatch.setattr("studies.reproduce.__main__.multiplies_bfloat16", lambda: False)
    commands, _ = dry(capsys, source)
    assert "--dtype" not in " ".join(commands.values())
    (tmp_path / "cpuinfo").write_text("flags\t: fpu sse2 amx_bf16 amx_tile\n")
    assert multiplies_bfloat16(tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("flags\t: fpu sse2 avx512f\n")
    assert not multiplies_bfloat16(tmp_path / "cpuinfo")
    assert not multiplies_bfloat16(tmp_path / "none")


def minutes(line):
    return int(re.match(r"# about (\d+) min on", line)[1])


def test_the_estimate_knows_how_many_prompts_are_measured():
    """Data of a thousand prompts cost no more there than what ``num_prompts`` of the quick size lets through."""
    run = Run("smollm2", 0, "x", size="quick", root=shared.ROOT)
    gold, train = (Stage(name, needs, "{config}") for name, needs in (("eval_gold", "eval2"), ("train_dpo", "dpo")))

    def seconds(stage, prompts):
        return estimating._seconds(stage, run, [(50.0, 10.0, 40)] * prompts)

    assert seconds(gold, 30) < seconds(gold, 60) == pytest.approx(seconds(gold, 1000))
    assert seconds(train, 60) < seconds(train, 1000)


def test_the_estimate_knows_that_orpo_has_no_reference():
    """Two passes over the same pairs take as long as the updates alone."""
    run = Run("smollm2", 0, "x", size="folds", root=shared.ROOT)

    def seconds(method, epochs):
        command = f"{{config}} --num_train_epochs {epochs}"
        return estimating._seconds(Stage(f"train_{method}", method, command), run, [(50.0, 10.0, 40)] * 50)

    start = 2 * seconds("orpo", 1) - seconds("orpo", 2)
    assert start == pytest.approx(2 * seconds("dorpo", 1) - seconds("dorpo", 2))
    assert 2 * seconds("dpo", 1) - seconds("dpo", 2) > start + 10


def test_the_estimate_grows_with_the_work(source, capsys, monkeypatch):
    monkeypatch.setattr("studies.reproduce.__main__.multiplies_bfloat16", lambda: True)
    _, quick = dry(capsys, source)
    _, full = dry(capsys, source, "--size", "full")
    assert 5 < minutes(quick) < minutes(full)
    assert "30 prompts" in quick
    monkeypatch.setattr("studies.reproduce.__main__.multiplies_bfloat16", lambda: False)
    assert minutes(dry(capsys, source)[1]) > minutes(quick)
    args = make_parser().parse_args(["--recipe", "smollm2", "--source", str(source)])
    parts = plan(args, {})
    assert minutes("# " + estimate(parts, str(source), 1)) > minutes("# " + estimate(parts, str(source), 2))


# Seconds of the stages of `--size quick` on ocsai (53 prompts, 31,475 responses) from nothing, two lanes on two cores.
MEASURED = {
    "0_scoring": 2, "1_filtering": 39, "2_pairs": 2, "stylometry": 8, "3_weights_both": 13, "train_generation": 402,
    "train_reward": 211, "reward_check": 139, "eval_gold": 60, "train_dpo": 174, "eval_untouched": 47, "eval_dpo": 35,
    "train_ddpo-both": 169, "eval_sft": 31, "eval_ddpo-both": 36, "auxiliary": 1, "report": 5,
}  # fmt: skip
OCSAI = [(36.7, 6.4, 594)] * 53


def test_the_estimate_is_near_a_measured_run(source, monkeypatch):
    monkeypatch.setattr("studies.reproduce.__main__.multiplies_bfloat16", lambda: True)
    parts = plan(make_parser().parse_args(["--recipe", "smollm2", "--source", str(source)]), {})
    rows = list(estimating.predicted(parts, OCSAI))
    told = {name: seconds for lanes in rows for lane in lanes for name, seconds in lane}
    assert told.keys() == MEASURED.keys()
    for name, seconds in MEASURED.items():
        if seconds > 100:
            assert told[name] == pytest.approx(seconds, rel=0.2), name
        else:  # starts of commands, and the model converted once in 1_filtering
            assert told[name] == pytest.approx(seconds, rel=0.2, abs=22), name
    whole = sum(max(sum(second for _, second in lane) for lane in lanes) for lanes in rows)
    assert whole == pytest.approx(737, rel=0.1)  # by the clock


def test_the_estimate_counts_what_folds_measure_and_what_a_command_says_otherwise(source):
    """Processor minutes of a fold, 30 on ocsai; of other methods, 17 without the untouched model's two; of 32 GRPO steps."""
    minutes = []
    for more in ([], ["--rlaif"], ["--methods"]):
        parts = plan(make_parser().parse_args(["--recipe", "smollm2", "--source", str(source), "--folds", *more]), {})
        parts = [dataclasses.replace(part, run=dataclasses.replace(part.run, dtype="bfloat16")) for part in parts]
        told = {name: seconds for lanes in estimating.predicted(parts, OCSAI) for lane in lanes for name, seconds in lane}
        minutes.append(sum(told.values()) / 60)
    assert minutes[0] == pytest.approx(30, rel=0.2)
    assert minutes[1] - minutes[0] == pytest.approx(2 * 16 * 50 / 60, rel=0.15)
    later = sum(seconds for name, seconds in told.items() if name.endswith("orpo")) / 60  # was not of the measured run
    assert minutes[2] - minutes[0] - later == pytest.approx(26.5, rel=0.2)
    assert 60 < told["sample_untouched-verbalized"] < 150
    assert told["sample_untouched"] < told["sample_untouched-iterative"] < told["sample_untouched-verbalized"]
    assert told["measure"] > 150
    assert told["reward_b"] > 60
    assert told["train_dpo-half"] < 0.7 * told["train_dpo"]


def test_every_module_of_a_dry_run_is_there(source, monkeypatch, capsys):
    for command in [*dry(capsys, source)[0].values(), *dry(capsys, source, "--folds")[0].values()]:
        words = shlex.split(command)
        if "-m" in words:
            module, argv = words[words.index("-m") + 1], words[words.index("-m") + 2 :]
            assert importlib.util.find_spec(module), module
            shared.parse_command(monkeypatch, module, argv)


def test_what_is_refused(source, capsys):
    assert main(["--recipe", "smollm2", "--dry_run"]) == 2
    assert "--source is needed, the file of texts with votes" in capsys.readouterr().err
    assert main(["--size", "quick", "--dry_run"]) == 2
    assert "--size: the recipe miniature has one size" in capsys.readouterr().err
