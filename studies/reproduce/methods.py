"""--methods, after the paper's trainings: methods from one SFT, pairs (or reward) and steps, each at a strength of its own.

Three strengths of a method are trained and sampled on the validation prompts; one is chosen there by a rule stated before
(:mod:`studies.miniature.methods.choose`) and sampled once on the test prompts. ``--strengths METHOD=VALUE`` fixes a method's
strength before. With --claims the methods whose strength is given join the models of that plan. docs/METHODS.md says what each
method is.
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from diversity_tuning.errors import UserError
from diversity_tuning.names import nearest
from studies.reproduce.stages import PAPER, SFT, Lanes, Stage, lanes, sample, stage, train, weigh

GROUPS = ("preference", "reinforcement")
UNUSED = ("eval", "reward_check", "samples")  # words in the names of the paper's stages that are not needed: test prompts wait
SCALED = (0.5, 1, 2)  # times the recipe's strength
SPL_RATIOS = ("1.5", "2", "3")  # α/β, at the recipe's β
CREATIVITY = ("0.5", "1", "2")  # λ of diversity and novelty, quality's being 1
POOLS = ("25", "35", "50")  # DivPO's ρ
POWERS = ("0.5", "1", "2")  # of a diversity within a group
SHARES = ("0.3", "0.6", "0.9")  # DPWriter's λ
BOTH = "--encoders builtin:minilm builtin:stylometry:{run}/stylometry"
MEANING = "--encoders builtin:minilm"
CLASSES = f"{MEANING} --distinct_threshold {{run}}/distinct"
# Method -> flags of GRPO. DARLING as published: not divided by the standard deviation.
POWERED = {
    "grpo-advantage": f"--deviation advantage {BOTH}",
    "grpo-darling": f"--deviation darling --scale_rewards none {CLASSES}",
    "grpo-dra": f"--deviation dra {MEANING}",
    "grpo-rare": f"--deviation rare {CLASSES}",
}
METHODS = {
    "preference": ("dpo", "ddpo-both", "spl", "crpo", "divpo", "orpo", "dorpo-both"),
    "reinforcement": ("grpo", *POWERED, "grpo-dpwriter"),
}
COMPARE = {
    "preference": (
        *(f"{name}:dpo" for name in ("ddpo-both", "spl", "crpo", "divpo")),
        "dorpo-both:orpo",
        *(f"{name}:ddpo-both" for name in ("spl", "crpo", "divpo", "dorpo-both")),
    ),
    "reinforcement": tuple(f"{name}:grpo" for name in METHODS["reinforcement"] if name != "grpo"),
}


Models = dict[str, list[tuple[str, str, Stage | None]]]


def models(group: str, strengths: Mapping[str, float], fixed: Mapping[str, str] | None = None) -> Models:
    """For each method its models: name of the run, strength, and the training, or None where the paper's plan has it.

    ``strengths``: of the recipe, by the stem of its file (``dpo``, ``orpo``, ``grpo``). ``fixed``: methods of which one
    strength alone is wanted, of the three that there are; another one, or no such method, is a :class:`UserError`.
    """
    found = _all_models(group, strengths)
    for method, strength in (fixed or {}).items():
        if method not in found:
            hint = nearest(method, found) or f"; there are: {' '.join(found)}"
            raise UserError(f"--strengths {method}={strength}: no method '{method}' of {group}{hint}")
        rows = [row for row in found[method] if float(row[1]) == _number(method, strength)]
        if not rows:
            raise UserError(f"--strengths {method}={strength}: {method} has {', '.join(one for _, one, _ in found[method])}")
        found[method] = rows
    return found


def _number(method: str, strength: str) -> float:
    try:
        return float(strength)
    except ValueError:
        raise UserError(f"--strengths {method}={strength}: give METHOD=NUMBER, such as {method}=1") from None


def _all_models(group: str, strengths: Mapping[str, float]) -> Models:
    if group == "reinforcement":
        grpo = [f"{strengths['grpo'] * factor:.3g}" for factor in SCALED]
        found = {"grpo": [(one, f"--beta {one} {MEANING}") for one in grpo]}
        found |= {name: [(one, f"{flags} --deviation_power {one}") for one in POWERS] for name, flags in POWERED.items()}
        found["grpo-dpwriter"] = [(one, f"--deviation dpwriter --diversity_share {one} {MEANING}") for one in SHARES]
        return {method: [_reinforced(method, *row) for row in rows] for method, rows in found.items()}
    found = {
        method: [_scaled(method, stem, factor, strengths[base]) for factor in SCALED]
        for method, stem, base in (
            ("dpo", "dpo", "dpo"),
            ("ddpo-both", "ddpo", "dpo"),
            ("orpo",) * 3,
            ("dorpo-both", "dorpo", "orpo"),
        )
    }
    found["spl"] = [
        (f"spl-{one}", one, stage("spl", f"spl-{one}", f"{float(one) * strengths['dpo']:.3g}")) for one in SPL_RATIOS
    ]
    crpo = f"{SFT} --weight_column creativity"
    found["crpo"] = [(f"crpo-{one}", one, train(f"crpo-{one}", "ddpo", f"data/pairs-crpo-{one}", crpo)) for one in CREATIVITY]
    found["divpo"] = [(f"divpo-{one}", one, train(f"divpo-{one}", "dpo", f"data/pairs-divpo-{one}", SFT)) for one in POOLS]
    return {method: found[method] for method in METHODS[group]}


def to_baseline(group: str, strengths: Mapping[str, float], fixed: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """For the report on validation prompts: every model of another method against the baseline at the recipe's strength.

    A model is called as a report calls it: without its strength where that is the only one of its method.
    """
    found = models(group, strengths, fixed)
    called = {
        (method, strength): f"{method} ({strength})" if len(rows) > 1 else method
        for method, rows in found.items() for _, strength, _ in rows
    }  # fmt: skip
    baseline = METHODS[group][0]
    measure = called[baseline, f"{strengths[baseline]:.3g}"]
    return tuple(f"{name}:{measure}" for (method, _), name in called.items() if method != baseline)


def _reinforced(method: str, strength: str, flags: str) -> tuple[str, str, Stage]:
    name = f"{method}-{strength}"
    return name, strength, train(name, "grpo", "data/filtered", f"{SFT} --reward {{run}}/reward {flags}")


def _scaled(method: str, stem: str, factor: float, strength: float) -> tuple[str, str, Stage | None]:
    """A model of another β (of ORPO: λ, which has the same flag), or the paper's own."""
    shown = f"{strength * factor:.3g}"
    if factor == 1:
        return method, shown, None
    name, start = f"{method}-beta-{shown}", "" if stem.endswith("orpo") else SFT
    return name, shown, train(name, stem, "data/pairs-both", f"{start} --beta {shown}")


def _pairs(found: Models) -> list[Stage]:
    """The pairs of CrPO and DivPO, of their strengths."""
    scores = "--creativity quality=1 diversity={0} novelty={0}"
    weights = [weigh(name, "semantic", scores.format(one)) for name, one, _ in found.get("crpo", [])]
    return [*weights, *(stage("divpo_pairs", name, f"--rho {one}") for name, one, _ in found.get("divpo", []))]


def validation_rows(
    group: str, strengths: Mapping[str, float], fixed: Mapping[str, str] | None = None
) -> tuple[Stage | Lanes, ...]:
    """Train every strength of every method, sample on the validation prompts, choose among these.

    The choice is measured by the baseline at the recipe's strength: ``fixed`` at another one it is a :class:`UserError`.
    """
    by_method, baseline = models(group, strengths, fixed), METHODS[group][0]
    measure = f"{strengths[baseline]:.3g}"
    if measure not in [strength for _, strength, _ in by_method[baseline]]:
        told = f"--strengths {baseline}={(fixed or {})[baseline]}"
        raise UserError(f"{told}: other methods are chosen by {baseline} at {measure}; give that strength, or leave it out")
    rows = [(method, *row) for method, found in by_method.items() for row in found]
    trained = [stage for *_, stage in rows if stage]
    samples = [sample(name, method, strength) for method, name, strength, _ in rows]
    samples.insert(0, sample("sft", adapter="{run}/generation"))
    places = (f"{{eval}}/{name}" for name in sorted(sampled(samples)))  # of other strengths others may be there
    choose = stage("choose", group, baseline, measure, " ".join(places))
    return (*_pairs(by_method), lanes(trained[::2], trained[1::2]), lanes(samples[::2], samples[1::2]), choose)


def test_rows(group: str) -> tuple[Stage | Lanes, ...]:
    """The chosen model of every method and SFT, on the test prompts."""
    rows = [sample(f"chosen-{name}", name, adapter=f"{{run}}/chosen-{group}/{name}") for name in METHODS[group]]
    rows.insert(0, sample("chosen-sft", "sft", adapter="{run}/generation"))
    return (lanes(rows[::2], rows[1::2]),)


def sampled(rows: Iterable[Stage | Lanes]) -> list[str]:
    """The names of the folders of evaluations that these rows make."""
    stages = [one for row in rows for lane in getattr(row, "lanes", [(row,)]) for one in lane]
    return [one.name.removeprefix("eval_") for one in stages if one.name.startswith("eval_")]


def check_chosen(chosen: Path, evaluations: Path, fixed: Mapping[str, str]) -> None:
    """:class:`UserError` where a fixed method has been chosen at another strength and sampled on test prompts."""
    if not (chosen / "chosen.csv").is_file():
        return
    with (chosen / "chosen.csv").open(encoding="utf-8", newline="") as stream:
        found = {row["method"]: row["strength"] for row in csv.DictReader(stream) if row["chosen"] == "1"}
    for method, strength in fixed.items():
        there, place = found.get(method), evaluations / f"chosen-{method}"
        if there and place.is_dir() and float(there) != _number(method, strength):
            raise UserError(f"--strengths {method}={strength}: {place} has samples of {there}; give another --out")


def claims_rows(strengths: Mapping[str, float], fixed: Mapping[str, str]) -> tuple[Stage | Lanes, ...]:
    """Train each of the fixed methods at its strength and sample it on the test prompts, as the models of --claims are."""
    found = {method: models("preference", strengths, fixed)[method] for method in fixed}
    rows = [(method, *row) for method, kept in found.items() for row in kept]
    if there := [one for one in ("dpo", "ddpo-both") if one in fixed]:
        raise UserError(f"--claims --methods --strengths {there[0]}=…: --claims has {there[0]}; leave it out")
    samples = [sample(name, method, strength, scores="--reward_model none") for method, name, strength, _ in rows]
    trained = [training or PAPER.stages(f"train_{name}")[0] for _, name, _, training in rows]  # --claims leaves ORPO's out
    return (*_pairs(found), lanes(trained[::2], trained[1::2]), lanes(samples[::2], samples[1::2]))
