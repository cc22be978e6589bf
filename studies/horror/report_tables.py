"""The tables of the horror report."""

import numpy as np

from diversity_tuning.evaluation.rendering import Table, interval, t_words
from diversity_tuning.evaluation.statistics import paired_difference, seed_means, t_interval
from studies.horror.constraints import CONSTRAINTS
from studies.horror.report_data import LEVELS, MODELS, OBEDIENCE, TRAINED, Results, spread
from studies.horror.specification import GROUPS, group
from studies.report import titled
from studies.results.statistics import family

COMPARED = (
    ("dpo-easy", "sft"), ("ddpo-easy", "sft"), ("dpo-hard", "sft"), ("ddpo-hard", "sft"), ("dpo-hard", "dpo-easy"),
    ("ddpo-easy", "dpo-easy"), ("ddpo-hard", "dpo-hard"),
)  # fmt: skip
ROWS = (*CONSTRAINTS, "kept", "all", "semantic", "words")
LABELS = {
    "kept": "share of constraints kept",
    "all": "all fifteen kept",
    "semantic": "diversity of meaning",
    "words": "diversity of words",
}


def tables(results: Results) -> list[Table]:
    """All tables, the most telling first."""
    return [
        constraints(results),
        *groups(results),
        differences(results),
        by_seed(results),
        accuracies(results),
        faults(results),
        separability(results),
        runs(results),
    ]


def constraints(results: Results) -> Table:
    """Rate of every constraint, and diversity, per model."""
    seeds, prompts = results.values["sft"]["all"].shape
    rows = [[_label(name), *(interval(spread(results.values[m][name])) for m in MODELS)] for name in ROWS]
    stories = sum(group(row["specification"]) == GROUPS[0] for row in results.stories["sft"]) / prompts
    counts = {"seeds": seeds, "prompts": prompts, "stories": f"{stories:g}"}
    return titled(__file__, "constraints", ["constraint", *MODELS], rows, **counts)


def groups(results: Results) -> list[Table]:
    """Inside and outside the pools, one below the other; none where nothing was held out."""
    if not results.obedience:
        return []
    models, there = dict.fromkeys(model for model, _ in results.obedience), dict.fromkeys(one for _, one in results.obedience)
    rows = [
        [_label(name), one, *(_share(results.obedience[model, one][name], one) for model in models)]
        for name in ROWS
        if name in OBEDIENCE
        for one in there
    ]
    counts = {one: results.obedience["sft", one]["all"].shape for one in there}
    told = ", ".join(f"{size} {one}" for one, (_, size) in counts.items())
    return [titled(__file__, "groups", ["constraint", "specifications", *models], rows, told=told)]


def _share(values: np.ndarray, of_group: str) -> str:
    """A mean with its intervals; the poster's one specification has none."""
    if of_group == GROUPS[2]:
        return f"{values.mean():.3f}"
    return interval(spread(values)) + t_words(dict(zip(("t_low", "t_high"), t_interval(values), strict=True)), sign="")


def differences(results: Results) -> Table:
    """Paired differences of models."""
    rows, values = [], results.values
    apart = family(values[a][name] - values[b][name] for name in ROWS for a, b in COMPARED)
    for name in ROWS:
        found = [paired_difference(values[a][name], values[b][name], nested=True) for a, b in COMPARED]
        cells = [interval(one, sign="+") + t_words(one) for one in found]
        rows.append([_label(name), *cells])
    return titled(__file__, "differences", ["constraint", *(f"{a} − {b}" for a, b in COMPARED)], rows, family=apart)


def by_seed(results: Results) -> Table:
    """What each seed's models keep."""
    rows = []
    for name in ("kept", "all"):
        means = {model: seed_means(results.values[model][name]) for model in MODELS}
        rows += [[_label(name), seed.name, *(f"{means[m][i]:.3f}" for m in MODELS)] for i, seed in enumerate(results.seeds)]
    return titled(__file__, "seeds", ["constraint", "seed", *MODELS], rows)


def accuracies(results: Results) -> Table:
    """Held-out preference accuracy of every model at both levels, next to what it writes."""
    rows = []
    for model in MODELS:
        cells = [_accuracy(results, model, level, kind) for level in LEVELS for kind in ("likelihood", "reward")]
        kept = interval(spread(results.values[model]["kept"]))
        rows.append([model, *cells, kept, interval(spread(results.values[model]["all"]))])
    pairs = results.accuracy[0]["sft"]["easy"]["pairs"]
    header = [
        "model",
        *(f"{level}, by {kind}" for level in LEVELS for kind in ("likelihood", "reward")),
        "constraints kept",
        "all kept",
    ]
    return titled(__file__, "accuracy", header, rows, pairs=pairs)


def _accuracy(results: Results, model: str, level: str, kind: str) -> str:
    found = [seed[model][level].get(kind) for seed in results.accuracy]
    if None in found or (model, kind) == ("base", "reward"):  # SFT, the reference, comes after the base model
        return "–"
    low, high = min(one["low"] for one in found), max(one["high"] for one in found)
    return interval({"mean": float(np.mean([one["rate"] for one in found])), "low": low, "high": high})


def faults(results: Results) -> Table:
    """Accuracy by reward on the hard pairs, by what is wrong with the dispreferred story."""
    models = MODELS[2:]
    names = sorted(results.accuracy[0]["dpo-hard"]["hard"]["reward"]["by_fault"])
    rows = []
    for name in names:
        found = [[seed[m]["hard"]["reward"]["by_fault"].get(name) for seed in results.accuracy] for m in models]
        number = sum(one["n"] for one in found[0] if one)
        rows.append([name, str(number), *(f"{_pooled(one):.3f}" for one in found)])
    return titled(__file__, "faults", ["fault", "pairs", *models], rows)


def _pooled(found: list[dict | None]) -> float:
    known = [one for one in found if one]
    return sum(one["rate"] * one["n"] for one in known) / sum(one["n"] for one in known)


def separability(results: Results) -> Table:
    """What words and lengths alone tell about the two levels."""
    names = list(results.separability[0]["easy"])
    rows = [
        [
            level,
            *(f"{np.mean([seed[level][name] for seed in results.separability]):.3f}".removesuffix(".000") for name in names),
        ]
        for level in LEVELS
    ]
    return titled(__file__, "separability", ["level", *(name.replace("_", " ") for name in names)], rows)


def runs(results: Results) -> Table:
    """One row per training run and seed."""
    rows = []
    for place, (seed, histories) in enumerate(zip(results.runs, results.histories, strict=True)):
        for run in TRAINED:
            history, record = histories[run], seed[run]
            counts, evaluated = record.get("counts", {}), [row for row in history if "eval_loss" in row]
            best = min(evaluated, key=lambda row: row["eval_loss"]) if evaluated else {}
            seconds = next((row["train_runtime"] for row in reversed(history) if "train_runtime" in row), float("nan"))
            rows.append(
                [results.seeds[place].name, run, str(counts.get("trained_pairs", counts.get("train_examples", "–"))),
                 str(max((row.get("step", 0) for row in history), default=0)), record.get("best_checkpoint", "–"),
                 f"{best.get('eval_loss', float('nan')):.2g}", _decimals(best.get("eval_rewards/accuracies")),
                 str(counts.get("pairs_cut_at_max_length", 0)), f"{seconds:.0f}"]
            )  # fmt: skip
    header = ["seed", "run", "examples", "steps", "kept", "validation loss", "validation accuracy", "cut", "seconds"]
    return titled(__file__, "runs", header, rows)


def _decimals(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _label(name: str) -> str:
    return LABELS.get(name, name.replace("_", " "))
