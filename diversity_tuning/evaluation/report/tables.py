"""The tables of a report: every model, and paired differences."""

import itertools

import numpy as np
import pandas as pd

from diversity_tuning.data.schema import PROMPT_ID
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.rendering import NONE
from diversity_tuning.evaluation.report.runs import Run, RunGroup, number_of, shared_prompts
from diversity_tuning.evaluation.statistics import paired_difference

_NOT_METRICS = {PROMPT_ID, "finished"}
ALL_SEEDS = "all"


def metric_columns(runs: list[Run]) -> list[str]:
    """Main, further and auxiliary metrics of the registry, then whatever else any run was measured by; none without a value."""
    there = dict.fromkeys(name for run in runs for name in run.prompts.select_dtypes("number").dropna(axis=1, how="all"))
    first = [name for name in registry.columns(registry.in_table("main", "further", "auxiliary")) if name in there]
    left_out = {*first, *_NOT_METRICS, *registry.columns(registry.in_table("counts"))}
    return [*first, *(name for name in there if name not in left_out)]


def model_table(models: list[RunGroup], columns: list[str]) -> pd.DataFrame:
    """One row per model and seed, and one over all seeds where there are several; per metric mean, low and high."""
    rows = []
    for model in models:
        for run in model.runs:
            rows.append(_row(RunGroup(model.label, model.method, model.strength, [run]), run.seed, columns))
        if len(model.runs) > 1:
            rows.append(_row(model, ALL_SEEDS, columns))
    counted = {name for model in models for run in model.runs for name in run.counts}
    return pd.DataFrame(rows).drop(columns=set(registry.columns(registry.in_table("counts"))) - counted, errors="ignore")


def _row(model: RunGroup, seed: int | str | None, columns: list[str]) -> dict:
    totals = {
        name: sum(run.counts.get(name, 0) for run in model.runs) for name in registry.columns(registry.in_table("counts"))
    }
    row = {"model": model.label, "method": model.method, "strength": model.strength, "seed": seed}
    row |= {"prompts": number_of(model.shared_prompts()), **totals}
    for column in columns:
        row |= {f"{column}_{part}": value for part, value in model.mean(column).items()}
    return row


def paired_models(models: list[RunGroup], pairs: list[str]) -> list[tuple[RunGroup, RunGroup]]:
    """All pairs of models that ``pairs`` ask for: "one:other", or "all" for every two, the later one first."""
    if "all" in pairs:
        return [(other, one) for one, other in itertools.combinations(models, 2)]
    return [both for pair in pairs for both in pair_models(models, pair)]


def pair_models(models: list[RunGroup], pair: str) -> list[tuple[RunGroup, RunGroup]]:
    """``"one:other"`` as models of the same strengths. A side is a label, a name or a method, and may hold colons itself.

    Models of one name or method at several strengths are paired by strength; with a single model on the other
    side that has none of these strengths, each is paired with it.
    """
    called = {name for model in models for name in (model.label, model.runs[0].name, model.method)}
    parts = pair.split(":")
    splits = [(":".join(parts[:i]), ":".join(parts[i:])) for i in range(1, len(parts))]
    names = next((split for split in splits if called.issuperset(split)), splits[0] if splits else ("", ""))
    if not all(names):
        raise UserError(f"--compare {pair}: give two models as one:other")
    ones, others = (matching(models, name, f"compare {pair}") for name in names)
    every = [(one, other) for one in ones for other in others]
    same = [(one, other) for one, other in every if one.strength == other.strength]
    return same or every if len(ones) == 1 or len(others) == 1 else same


def matching(models: list[RunGroup], wanted: str, flag: str) -> list[RunGroup]:
    """The models with this label or, if none has it, this name or this method; ``flag`` is what asked for them."""
    for key in (lambda m: m.label, lambda m: m.runs[0].name, lambda m: m.method):
        named = [model for model in models if key(model) == wanted]
        if named:
            return named
    raise UserError(f"--{flag}: no run called '{wanted}'; there is {', '.join(m.label for m in models)}")


def align(models: list[RunGroup]) -> list[tuple[object, list[RunGroup]]]:
    """The models cut to single seeds that all have, one list per seed, then all those seeds together where there are several.

    A model with one run whose seed no other model has (the data's own responses, a model that was not trained) goes with
    every seed.
    """
    seeds = [{run.seed for run in model.runs} for model in models]
    alone = [len(own) == 1 and not any(own & other for j, other in enumerate(seeds) if j != i) for i, own in enumerate(seeds)]
    if all(alone):
        return [("/".join(str(model.runs[0].seed) for model in models), models)]
    shared = sorted(set.intersection(*(own for own, single in zip(seeds, alone, strict=True) if not single)), key=str)
    cuts = [(seed, [_cut(model, [seed], single) for model, single in zip(models, alone, strict=True)]) for seed in shared]
    if len(shared) > 1:
        cuts.append((ALL_SEEDS, [_cut(model, shared, single) for model, single in zip(models, alone, strict=True)]))
    return cuts


def _cut(model: RunGroup, seeds: list, every: bool) -> RunGroup:
    runs = [run for seed in seeds for run in model.runs if every or run.seed == seed]
    return RunGroup(model.label, model.method, model.strength, runs)


def difference_table(pairs: list[tuple[RunGroup, RunGroup]], columns: list[str]) -> pd.DataFrame:
    """Paired over prompts, per seed and over all seeds: mean difference, 95% interval, p; a row per pair, seed and metric.

    Pairs without a seed or prompt in common have none, which is printed.
    """
    rows = []
    for one, other in pairs:
        cuts = [(seed, *sides, shared_prompts(sides)) for seed, sides in align([one, other])]
        if not any(number_of(prompts) for *_, prompts in cuts):
            print(f"{one.label} and {other.label}: no {'prompt' if cuts else 'seed'} in common, so not compared", flush=True)
        for seed, left, right, prompts in cuts:
            for column in columns:
                values = [side.matrix(column, prompts) for side in (left, right)]
                if number_of(prompts) and not np.isnan(values[0] - values[1]).all():
                    label = {"difference": f"{one.label} − {other.label}", "seed": seed, "prompts": number_of(prompts)}
                    difference = paired_difference(*values, nested=isinstance(prompts, list))
                    rows.append({**label, "metric": column, **difference})
    return pd.DataFrame(rows)


def seed_word(seed: object) -> str:
    """A seed as tables name it."""
    return "all seeds" if seed == ALL_SEEDS else NONE if pd.isna(seed) else str(seed)
