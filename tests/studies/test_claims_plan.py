"""The plan of --claims: what its outcomes need and nothing else; and the outcomes, by hand."""

import numpy as np
import pandas as pd
import pytest

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.scoring.run import ScoringConfig
from studies.miniature import claims
from tests import test_recipes as recipes
from tests.evaluation.synthetic import write_run
from tests.studies.test_reproduce import lines_of, names, outputs_of, parts_of

RIVALS = ["sft (1)", "dpo (1)", "dpo (beta=1)"]


def test_the_order():
    (seed, own, report) = parts_of("--claims", "--seed", "8")
    assert (
        names([seed])
        == "world 0_scoring tokenizer 1_filtering 2_pairs stylometry 3_weights_both base_model train_generation".split()
    )
    assert sorted(names([own])) == sorted(
        "3_weights_permuted-prompt-1 train_dpo train_ddpo-both train_permuted-prompt-1 train_dpo-beta-0.1 train_dpo-beta-0.6"
        " train_dpo-beta-1 train_dpo-beta-2 train_dpo-beta-4 eval_sft eval_dpo eval_dpo-33 eval_dpo-66 eval_ddpo-both"
        " eval_permuted-prompt-1 eval_dpo-beta-0.1 eval_dpo-beta-0.6 eval_dpo-beta-1 eval_dpo-beta-2 eval_dpo-beta-4".split()
    )
    assert names([report]) == ["auxiliary", "report", "claims"]


def test_the_lines(capsys):
    lines = lines_of(capsys, "--claims", "--seed", "8")
    here = "runs/miniature/seed8"
    assert f"--adapter {here}/generation --beta 4 --seed 8 --output_dir {here}/dpo-beta-4" in lines["train_dpo-beta-4"]
    assert (
        f"--adapter {here}/dpo-beta-4 --reward_model none --seed 8 --name dpo --method dpo --strength beta=4"
        in (lines["eval_dpo-beta-4"])
    )
    assert "--strength 0.33" in lines["eval_dpo-33"]
    assert f"--source {here}/data/pairs-permuted-prompt-1" in lines["train_permuted-prompt-1"]
    assert "--permute prompt --permute_seed 1" in lines["3_weights_permuted-prompt-1"]
    assert ScoringConfig(output="x", reward_model="none").reward_model is None
    assert not any(f"{here}/reward" in line or f"{here}/distinct" in line for line in lines.values())


def test_trainings_are_those_of_the_other_plans(capsys):
    """What the main run and its controls train is trained in the same way, so that no plan trains it again."""
    own = dict(outputs_of(capsys, "--claims", "--seeds", "8", "9"))
    others = dict(outputs_of(capsys, "--controls", "--seeds", "8", "9"))
    shared = {place for place in own if place in others}
    assert {f"runs/miniature/seed{seed}/{model}" for seed in (8, 9) for model in ("dpo", "dpo-beta-1", "ddpo-both")} <= shared
    assert all(own[place] == others[place] for place in shared)


@pytest.mark.parametrize("more", [[], ["--methods", "--strengths", "spl=3", "crpo=2", "divpo=50"]])
def test_every_command_is_known(tmp_path, monkeypatch, more):
    seen = set()
    for module, argv, _ in recipes.dry_run(tmp_path, "--claims", *more):
        seen.add(module)
        if module == "diversity_tuning.training":
            assert argv[0] == "spl"
        elif recipes.is_training(module):
            recipes.parse_training(recipes.STEM[module], argv)
        else:
            recipes.parse_command(monkeypatch, module, argv)
    assert "studies.miniature.claims" in seen


FIXED = ["--methods", "--strengths", "spl=3", "crpo=2", "dorpo-both=1"]


def test_methods_join_the_models_of_the_claims(capsys):
    """Those of the claims are trained and sampled by the same lines, so that they are skipped where they are there."""
    own = dict(outputs_of(capsys, "--claims", "--seed", "8"))
    more = dict(outputs_of(capsys, "--claims", *FIXED, "--seed", "8"))
    here = "runs/miniature/seed8"
    kept = {place for place in own if "report" not in place}
    assert all(own[place] == more[place] for place in kept)
    assert {f"{here}/spl-3", f"{here}/eval-claims/spl-3", f"{here}/eval-claims/crpo-2"} <= set(more) - kept
    lines = lines_of(capsys, "--claims", *FIXED, "--seed", "8")
    assert "--alpha 0.9" in lines["train_spl-3"]
    assert "--reward_model none --seed 8 --name crpo --method crpo --strength 2" in lines["eval_crpo-2"]
    assert f"--source {here}/data/pairs-both --beta 1 --seed 8" in lines["train_dorpo-both-beta-1"]
    assert lines["claims"].endswith("--report runs/miniature/report-claims-methods --methods spl crpo dorpo-both")
    assert "spl:dpo spl:ddpo-both crpo:dpo" in lines["report"]


@pytest.mark.parametrize("method", ["orpo", "dorpo-both"])
def test_a_method_at_the_recipes_strength_is_trained(capsys, method):
    """As the main run trains it, of which --claims leaves it out."""
    flags = ["--claims", "--methods", "--strengths", f"{method}=.5", "--seed", "8"]
    planned = names(part for part in parts_of(*flags) if not part.report)
    assert planned.index(f"train_{method}") < planned.index(f"eval_{method}")
    place = f"runs/miniature/seed8/{method}"
    assert dict(outputs_of(capsys, *flags))[place] == dict(outputs_of(capsys, "--seed", "8"))[place]


@pytest.mark.parametrize("more", [[], FIXED])
def test_the_report_has_the_models_of_the_command_whatever_lies_beside(more):
    *parts, last = parts_of("--claims", *more, "--seeds", "8", "9")
    own = [name.removeprefix("eval_") for name in names(parts) if name.startswith("eval_")]
    folders = [f"runs/miniature/seed{seed}/eval-claims/{name}/" for seed in (8, 9) for name in sorted(set(own))]
    assert list(last.report.results) == folders


def test_other_recipes_have_none():
    with pytest.raises(UserError, match="--claims: of the miniature"):
        parts_of("--claims", "--recipe", "llama-3.1-8b")


def tables(good=(0.3, 0.2, 0.25)):
    """Fronts with plots +.1 and voices +.2 (t intervals of half-width .1 around them), rivals behind DDPO by ``good``."""
    front = {"model": "ddpo-both", "front": "dpo", "points": 9, "quality": "craft", "t_seeds": 8}
    fronts = [
        {**front, "metric": metric, "seed": seed, "mean": mean, "low": mean - 0.05, "high": mean + 0.05, "t_low": mean - 0.1,
         "t_high": mean + 0.1}
        for metric, mean in (("distinct_direction", 0.1), ("distinct_voice", 0.2)) for seed in ("8", "all")
    ]  # fmt: skip
    controls = [
        {"difference": f"{rival} − ddpo-both", "seed": seed, "metric": metric, "mean": -gain, "low": -gain - 0.05,
         "high": -gain + 0.05, "t_low": -gain - 0.1, "t_high": -gain + 0.1}
        for metric in claims.AMONG_GOOD for rival, gain in zip(RIVALS, good, strict=True)
        for seed in (*map(str, range(8, 16)), "all")
    ]  # fmt: skip
    controls += [
        {**row, "difference": "permuted-prompt (1) − ddpo-both", "mean": 9, "t_low": 8, "t_high": 10} for row in controls
    ]
    return pd.DataFrame(fronts), pd.DataFrame(controls)


def test_the_outcomes_by_hand():
    """t = mean / (.1 / t of .975 with 7 degrees of freedom); the rival of the greatest p counts, a permuted δ is none."""
    rows = claims.outcomes(*tables()).set_index("outcome")
    assert list(rows["against"]) == ["hull of 9 models"] * 2 + ["dpo (1)"] * 2
    assert list(rows["mean"]) == pytest.approx([0.1, 0.2, 0.2, 0.2])
    assert list(rows["seeds"]) == [8] * 4
    assert rows["p"].iloc[0] == pytest.approx(0.05)
    assert rows["p"].iloc[1] == pytest.approx(0.00212, rel=0.01)  # t 4.729
    assert np.allclose(rows["holm"], [0.05, *[4 * rows["p"].iloc[1]] * 3])
    assert (rows["t_low"] < rows["mean"]).all()


def test_the_outcomes_of_methods_by_hand():
    """SPL as DDPO above; CrPO as far below the hull, and p is two-sided: Holm over the four."""
    fronts, _ = tables()
    others = [fronts.assign(model="spl (3)"), fronts.assign(model="crpo (2)")]
    others[1][["mean", "low", "high", "t_low", "t_high"]] *= -1
    others[1] = others[1].rename(columns={"low": "high", "high": "low", "t_low": "t_high", "t_high": "t_low"})
    rows = claims.outcomes_of(["spl", "crpo"], pd.concat([fronts, *others])).set_index(["model", "outcome"])
    assert list(rows.index) == [(model, metric) for model in ("spl", "crpo") for metric in claims.AT_EQUAL_CRAFT]
    assert list(rows["p"]) == pytest.approx([0.05, 0.00212] * 2, rel=0.01)
    assert list(rows["holm"]) == pytest.approx([0.1, 0.00848] * 2, rel=0.01)
    assert list(rows["mean"]) == pytest.approx([0.1, 0.2, -0.1, -0.2])
    with pytest.raises(UserError, match="0 rows of distinct_direction at equal craft over all seeds for divpo"):
        claims.outcomes_of(["divpo"], fronts)


def test_a_model_beyond_the_hull_on_some_seeds_counts_where_it_lies_within():
    """Mean craft beyond the hull's: -.1, -.3 and -.2 on three seeds, none on the fourth; t = -.2 / (.1 / sqrt 3) = -3.46."""
    fronts, _ = tables()
    own = fronts[fronts["seed"] == "all"].assign(model="crpo (2)", t_seeds=0)
    own[["mean", "low", "high", "t_low", "t_high"]] = np.nan
    seeds = [own.assign(seed=str(seed), mean=mean) for seed, mean in ((8, -0.1), (9, np.nan), (10, -0.3), (11, -0.2))]
    rows = claims.outcomes_of(["crpo"], pd.concat([own, *seeds]))
    assert list(rows["mean"]) == pytest.approx([-0.2] * 2)
    assert list(rows["seeds"]) == [3, 3]
    assert list(rows["p"]) == pytest.approx([0.0742] * 2, abs=1e-4)
    assert list(claims.outcomes_of(["crpo"], pd.concat([own, seeds[0], seeds[1]]))["p"]) == [1, 1], "one seed has no t"
    assert list(claims.outcomes_of(["crpo"], pd.concat([own, seeds[1]]))["p"]) == [1, 1]


def test_a_rival_that_has_more_is_not_beaten():
    rows = claims.outcomes(*tables(good=(0.3, -0.4, 0.25)))
    assert list(rows["against"][2:]) == ["dpo (1)"] * 2
    assert list(rows["p"][2:]) == [1.0, 1.0]


def test_a_report_without_the_outcomes_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        claims.main(["--report", str(tmp_path)])
    assert ended.value.code == 2
    assert "no fronts.csv" in capsys.readouterr().err
    fronts, controls = tables()
    with pytest.raises(UserError, match="0 rows of distinct_direction at equal craft"):
        claims.outcomes(fronts[fronts["seed"] != "all"], controls)


def test_from_the_report_of_scored_runs(tmp_path, capsys):
    """Three seeds of drawn numbers: the report that the plan asks for has every outcome."""
    from diversity_tuning.commands import report
    from studies.reproduce.claims import FLAGS

    rng = np.random.default_rng(0)
    models = {("sft", "1"): (1.8, 2.9), ("dpo", "1"): (3.0, 1.8), ("dpo", "beta=1"): (2.6, 2.4), ("dpo", "beta=2"): (2.3, 2.6),
              ("ddpo-both", "1"): (2.6, 2.9), ("permuted-prompt", "1"): (2.8, 2.2)}  # fmt: skip
    for seed in (8, 9, 10):
        for (method, strength), (craft, plots) in models.items():
            run = write_run(tmp_path / f"{seed}-{method}-{strength}", method, strength, seed, 0.0, 0.4)
            rows = pd.read_csv(run / "prompts.csv").drop(columns="reddit_reward")
            rows["craft"] = craft + rng.normal(0, 0.1, len(rows))
            for name in (*claims.AT_EQUAL_CRAFT, *claims.AMONG_GOOD):
                rows[name] = plots + rng.normal(0, 0.1, len(rows))
            rows.assign(reddit_reward="").to_csv(run / "prompts.csv", index=False)
    out = tmp_path / "report"
    words = ["--results", str(tmp_path), "--output", str(out), "--compare", "ddpo-both:dpo", "--no_figure", *FLAGS]
    report.main(words)
    claims.main(["--report", str(out)])
    rows = pd.read_csv(out / "claims.csv")
    assert list(rows["outcome"]) == [*claims.AT_EQUAL_CRAFT, *claims.AMONG_GOOD]
    assert rows["mean"].between(0.25, 0.6)[:2].all()  # the hull at craft 2.6: 2.44
    assert list(rows["against"]) == ["hull of 4 models"] * 2 + ["sft"] * 2
    assert rows["mean"].abs()[2:].max() < 0.05
    assert "hull of 4 models: +0." in capsys.readouterr().out


def test_one_seed_has_no_verdict(tmp_path, capsys):
    for name in ("fronts", "controls"):
        (tmp_path / f"{name}.csv").write_text("seed,metric\n8,craft\n")
    claims.main(["--report", str(tmp_path)])
    assert "one seed" in capsys.readouterr().out
    assert not (tmp_path / "claims.csv").exists()
