"""The plan of --methods: what is trained, where strengths are chosen, what is refused; and the choice itself."""

import json

import pandas as pd
import pytest

from diversity_tuning.errors import UserError
from studies.miniature.methods import choose
from studies.reproduce import ending, methods
from studies.reproduce.__main__ import make_parser
from tests import test_recipes as recipes
from tests.studies.test_reproduce import lines_of, names, parts_of


@pytest.mark.parametrize("group", methods.GROUPS)
def test_three_strengths_of_every_method_on_validation_and_one_on_test(capsys, group):
    parts = parts_of("--methods", group)
    planned = names(part for part in parts if not part.report)
    assert planned == [*dict.fromkeys(planned)], "no stage twice: they share a folder of logs"
    place = planned.index(f"choose_{group}")
    chosen = [name for name in planned[place:] if name.startswith("eval_")]
    assert sorted(chosen) == sorted(f"eval_chosen-{name}" for name in ("sft", *methods.METHODS[group]))
    lines = lines_of(capsys, "--methods", group)
    before = [name for name in planned[:place] if name.startswith("eval_")]
    assert len(before) == 1 + 3 * len(methods.METHODS[group])
    assert all("--split validation" in lines[name] for name in before)
    assert not any("--split" in lines[name] for name in chosen)  # the recipe's: test
    for name in before[1:]:
        model = name.removeprefix("eval_")
        assert f"train_{model}" in planned[:place] or model == "sft"


@pytest.mark.parametrize("group", methods.GROUPS)
def test_all_strengths_are_shown_beside_mixtures_of_the_baseline_and_sft(group):
    of_chosen, of_strengths = (part.report for part in parts_of("--methods", group) if part.report)
    assert of_strengths.results == tuple(place.replace("/*/", "-validation/*/") for place in of_chosen.results)
    assert of_strengths.output == f"{of_chosen.output}-validation"
    assert all(report.flags[:2] == ("--anchor", "sft") for report in (of_strengths, of_chosen))
    assert len(of_strengths.compare) == 3 * (len(methods.METHODS[group]) - 1)
    assert {pair.partition(":")[2] for pair in of_strengths.compare} == {{"preference": "dpo (0.3)"}.get(group, "grpo (0.02)")}


@pytest.mark.parametrize("group", methods.GROUPS)
def test_every_command_is_known(tmp_path, monkeypatch, group):
    for module, argv, _ in recipes.dry_run(tmp_path, "--methods", group):
        if module == "diversity_tuning.training":
            assert argv[0] == "spl"
            assert float(argv[argv.index("--alpha") + 1]) > 0.3
        elif not recipes.is_training(module):
            recipes.parse_command(monkeypatch, module, argv)
        else:
            _, _, config = recipes.parse_training(recipes.STEM[module], argv)
            assert getattr(config, "weight_column", "") != "creativity" or "pairs-crpo" in argv[argv.index("--source") + 1]


def test_a_fixed_strength_is_the_only_one_of_its_method(capsys):
    flags = ["--methods", "--strengths", "spl=2", "crpo=.5"]
    planned = names(part for part in parts_of(*flags) if not part.report)
    trained = [name for name in planned if name.startswith(("train_spl", "train_crpo", "train_divpo"))]
    assert sorted(trained) == ["train_crpo-0.5", "train_divpo-25", "train_divpo-35", "train_divpo-50", "train_spl-2"]
    assert [name for name in planned if name.startswith("3_weights_crpo")] == ["3_weights_crpo-0.5"]
    assert {"eval_spl-2", "eval_chosen-spl", "eval_chosen-crpo"} <= set(planned)
    compared = [part.report for part in parts_of(*flags) if part.report][1].compare
    assert [pair for pair in compared if pair.startswith(("spl", "crpo"))] == ["spl:dpo (0.3)", "crpo:dpo (0.3)"], (
        "a report calls the only model of a method without its strength"
    )


def test_what_is_fixed_is_chosen_and_shown_alone_whatever_lies_beside(capsys):
    """An earlier run with three strengths leaves its evaluations in the same folders."""
    flags = ["--methods", "reinforcement", "--strengths", "grpo-dra=1", "grpo-rare=2", "--strengths", "grpo-dpwriter=.3"]
    planned = names(part for part in parts_of(*flags) if not part.report)
    sampled = [name.removeprefix("eval_") for name in planned[: planned.index("choose_reinforcement")] if "eval_" in name]
    assert [name for name in sampled if "dpwriter" in name] == ["grpo-dpwriter-0.3"], "of a flag given twice both count"
    folder = "runs/miniature/seed0/eval-methods-reinforcement-validation"
    line = lines_of(capsys, *flags)["choose_reinforcement"]
    assert f"--runs {' '.join(f'{folder}/{name}' for name in sorted(sampled))} --models" in line
    _, shown = (part.report for part in parts_of(*flags) if part.report)
    assert shown.results == tuple(f"{folder}/{name}/" for name in sorted(sampled))


def test_the_pairs_of_a_report_with_fixed_strengths_are_models_of_it(tmp_path):
    """Three strengths of the baseline, one of another method: the names are those that the report gives."""
    from diversity_tuning.evaluation.report.runs import group_runs, read_run
    from diversity_tuning.evaluation.report.tables import paired_models
    from tests.evaluation.synthetic import write_run

    rows = [
        (method, row[1]) for method, own in methods.models("reinforcement", BETAS, {"grpo-dra": "1"}).items() for row in own
    ]
    runs = [write_run(tmp_path / f"{method}-{one}", method, one, 0, 0.0, 0.4) for method, one in rows]
    pairs = methods.to_baseline("reinforcement", BETAS, {"grpo-dra": "1"})
    found = paired_models(group_runs([read_run(run) for run in runs]), list(pairs))
    assert len(found) == len(pairs) == 1 + 4 * 3
    assert {(one.method, one.strength) for one, _ in found} == {row for row in rows if row[0] != "grpo"}
    assert {(other.method, other.strength) for _, other in found} == {("grpo", "0.02")}


BETAS = {"dpo": 0.3, "orpo": 0.5, "grpo": 0.02}


def test_another_strength_than_what_was_sampled_on_test_is_refused_at_once(tmp_path):
    chosen, evaluations = tmp_path / "chosen-preference", tmp_path / "eval-methods"
    methods.check_chosen(chosen, evaluations, {"spl": "3"})
    chosen.mkdir()
    (chosen / "chosen.csv").write_text("method,strength,chosen\nspl,3,0\nspl,2,1\n")
    methods.check_chosen(chosen, evaluations, {"spl": "3"})
    (evaluations / "chosen-spl").mkdir(parents=True)
    methods.check_chosen(chosen, evaluations, {"spl": "2.0", "crpo": "1"})
    with pytest.raises(UserError, match=r"--strengths spl=3: .*chosen-spl has samples of 2; give another --out"):
        methods.check_chosen(chosen, evaluations, {"spl": "3"})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--methods", "--strengths", "spll=2"], "no method 'spll' of preference"),
        (["--methods", "--strengths", "spl=7"], "spl has 1.5, 2, 3"),
        (["--methods", "--strengths", "spl=two"], "give METHOD=NUMBER, such as spl=1"),
        (["--methods", "--strengths", "spl="], "give METHOD=NUMBER"),
        (["--methods", "--strengths", "spl=nan"], "spl has 1.5, 2, 3"),
        (["--methods", "--strengths", "spl=2", "--strengths", "spl=3"], "each method once"),
        (["--methods", "--strengths", "dpo=0.6"], "--strengths dpo=0.6: other methods are chosen by dpo at 0.3"),
        (["--methods", "reinforcement", "--strengths", "grpo=.01"], "are chosen by grpo at 0.02"),
        (["--methods", "--strengths", "spl=2", "spl=3"], "each method once"),
        (["--strengths", "spl=2"], "--strengths: of --methods"),
        (["--claims", "--strengths", "spl=2"], "--strengths: of --methods"),
        (["--claims", "--methods"], "name them with their strengths"),
        (["--claims", "--methods", "reinforcement", "--strengths", "grpo-dra=1"], "no GRPO is trained"),
        (["--claims", "--methods", "--strengths", "dpo=0.6"], "--claims has dpo; leave"),
        (["--claims", "--methods", "--strengths", "ddpo-both=0.6"], "--claims has ddpo-both; leave"),
        (["--claims", "--folds"], "--folds: of the others|--claims --folds|--folds --claims"),
        (["--claims", "--rlaif"], "--claims --rlaif: of the others --claims goes with --methods alone"),
    ],
)
def test_flags_that_do_not_go_together(flags, said):
    with pytest.raises(UserError, match=said):
        parts_of(*flags)


def test_what_is_refused():
    with pytest.raises(UserError, match="leave it out"):
        parts_of("--methods", "--split", "validation")
    with pytest.raises(UserError, match="--methods: of the miniature"):
        parts_of("--methods", "--recipe", "llama-3.1-8b")


@pytest.mark.parametrize(("flags", "group"), [(["--methods"], ""), (["--methods", "reinforcement"], " reinforcement")])
def test_what_it_ends_with(tmp_path, capsys, flags, group):
    report, _ = [part.report.output for part in parts_of(*flags) if part.report]
    (tmp_path / report).mkdir(parents=True)
    values = {f"{name}_{part}": "0.123456" for name in ending.COLUMNS for part in ("mean", "low", "high")}
    compared = methods.METHODS["reinforcement" if group else "preference"]
    rows = [{"model": f"{name}", "seed": "0", **values} for name in ("sft", *compared)]
    pd.DataFrame(rows).to_csv(tmp_path / report / "models.csv", index=False)
    ending.print_ending(parts_of(*flags), tmp_path, make_parser().parse_args(flags))
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 100
    assert len([line for line in said.splitlines() if ".123" in line]) == 1 + len(compared)
    assert f"bash reproduce.sh --methods{group} --seeds 0 1 2" in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--methods --strengths spl=2 crpo=1", "--methods --strengths spl=2 crpo=1 --seeds 0 1 2"),
        ("--claims --methods --strengths spl=3 --seed 8", "--claims --methods --strengths spl=3 --seeds 8 9 10"),
        ("--claims --methods --strengths spl=3 --seeds 8 9", None),
    ],
)
def test_next_is_the_same_on_more_seeds(flags, said):
    lines = ending.following(make_parser().parse_args(flags.split()))
    told = [line.split("reproduce.sh ")[1].split("  ")[0] for line in lines if "reproduce.sh" in line]
    assert told == ([said] if said else [])


def test_the_rule():
    """At least .5: the more diverse of two; where none reaches .9, the best."""
    models = [{"reward": reward, "diversity": diversity} for reward, diversity in ((0.8, 0.1), (0.6, 0.3), (0.4, 0.9))]
    assert choose.choose(models, 0.5)["diversity"] == 0.3
    assert choose.choose(models, 0.9)["reward"] == 0.8


def scored(folder, method, strength, reward, diversity):
    folder.mkdir(parents=True)
    means = {name: {"mean": value} for name, value in ((choose.REWARD, reward), (choose.DIVERSITY, diversity))}
    (folder / "metrics.json").write_text(json.dumps({"method": method, "strength": strength, "means": means}))


def test_the_chosen_adapters_are_copied(tmp_path, capsys):
    """SFT .6, DPO .8: at least .7. Of the others the one of .72 has it; where a method has none, its best."""
    rows = [
        ("sft", "1", 0.6, 0.5),
        ("dpo", "0.3", 0.8, 0.2),
        ("dpo", "0.6", 0.75, 0.3),
        ("spl", "2", 0.72, 0.4),
        ("spl", "3", 0.65, 0.5),
    ]
    for method, strength, *values in rows:
        scored(tmp_path / "eval" / f"{method}-{strength}", method, strength, *values)
        (tmp_path / "run" / f"{method}-{strength}").mkdir(parents=True)
        (tmp_path / "run" / f"{method}-{strength}" / "adapter.txt").write_text(strength)
    flags = ["--runs", *map(str, sorted((tmp_path / "eval").iterdir())), "--models", str(tmp_path / "run"), "--baseline", "dpo"]
    flags += ["--strength", "0.3", "--output", str(tmp_path / "chosen")]
    for _ in range(2):
        choose.main(flags)
    assert {path.parent.name: path.read_text() for path in (tmp_path / "chosen").glob("*/adapter.txt")} == {
        "dpo": "0.6",
        "spl": "2",
    }
    table = pd.read_csv(tmp_path / "chosen" / "chosen.csv")
    assert list(table[table["chosen"] == 1]["run"]) == ["dpo-0.6", "spl-2"]
    scored(tmp_path / "eval" / "again", "sft", "1", 0.6, 0.5)
    with pytest.raises(SystemExit):
        choose.main([*flags, "--runs", *map(str, (tmp_path / "eval").iterdir())])
    assert "2 runs of sft; exactly one is needed" in capsys.readouterr().err
