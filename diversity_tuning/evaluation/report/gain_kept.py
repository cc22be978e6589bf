"""How much of DPO's gain in craft, and of DDPO's in plots and voices, a variant keeps: the rule that it is chosen by."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.csvfiles import write_csv
from diversity_tuning.evaluation.rendering import Table, interval, markdown
from diversity_tuning.evaluation.report.controls import main_models
from diversity_tuning.evaluation.report.runs import REFERENCE, RunGroup, check_seeds, group_runs, read_run, shared_prompts
from diversity_tuning.evaluation.report.tables import ALL_SEEDS, align, matching
from diversity_tuning.evaluation.statistics import bootstrap_means, overall_mean
from diversity_tuning.runs import write_text, written_in_place

FILES = ("gain_kept.csv", "gain_kept.md")
_HEADING = "# Gain kept"


@dataclass(frozen=True)
class Share:
    """(X − start) / (goal − start) in the mean of one metric, and the least that the rule asks for."""

    metric: str
    start: str
    goal: str
    least: float


def rule(sft: str, dpo: str, ddpo: str) -> tuple[Share, ...]:
    """At least .9 of DPO's gain in craft over SFT, at least .8 of DDPO's over DPO in plots and in voices."""
    return (
        Share("craft", sft, dpo, 0.9),
        *(Share(column, dpo, ddpo, 0.8) for column in registry.LABELLED),
    )


def share_table(models: list[RunGroup], shares: tuple[Share, ...]) -> pd.DataFrame:
    """A row per model, share and seed, then over all seeds that the model and all three of the rule have.

    ``share`` is a ratio of means over seeds, not a mean of the seeds' ratios, whose divisor can be near 0; ``low`` and
    ``high`` are its 95% bootstrap interval (:func:`~.statistics.bootstrap_means`). NaN where the goal gains nothing.
    """
    ends = {name: _model(models, name) for share in shares for name in (share.start, share.goal)}
    rows = []
    for model in models:
        if model.method == REFERENCE:
            continue
        for seed, (one, *others) in align([model, *ends.values()]):
            cut = dict(zip(ends, others, strict=True))
            rows += [
                {"model": model.label, "seed": seed, "seeds": len(one.runs), "metric": share.metric}
                | _share(one, cut[share.start], cut[share.goal], share)
                for share in shares
            ]
    return pd.DataFrame(rows)


def _model(models: list[RunGroup], name: str) -> RunGroup:
    found = main_models(matching(models, name, "runs"))
    if len(found) > 1:
        raise UserError(f"--runs: several models are called '{name}': {', '.join(model.label for model in found)}")
    return found[0]


def _share(one: RunGroup, start: RunGroup, goal: RunGroup, share: Share) -> dict:
    """The figures of one share for models that are cut to the same seeds."""
    for model in (one, start, goal):
        if not model.has(share.metric):
            raise UserError(f"{model.runs[0].folder}: no column '{share.metric}' in prompts.csv; score it with --diagnostics")
    prompts = shared_prompts([one, start, goal])
    nested = isinstance(prompts, list)
    values, low_end, high_end = (model.matrix(share.metric, prompts) for model in (one, start, goal))
    gain, most = values - low_end, high_end - low_end
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = bootstrap_means(gain, nested=nested) / bootstrap_means(most, nested=nested)
    low, high = np.nanquantile(drawn, [0.025, 0.975]) if np.isfinite(drawn).all() else (np.nan, np.nan)
    whole = overall_mean(most, nested)
    mean = overall_mean(gain, nested) / whole if whole > 0 else np.nan
    figures = {"value": overall_mean(values, nested), "share": mean, "low": low, "high": high, "least": share.least}
    return figures | {"enough": bool(mean >= share.least - 1e-9)}  # a share of .8 is enough, whatever the rounding


def kept_table(rows: pd.DataFrame, shares: tuple[Share, ...]) -> Table:
    """Model × (value, share over all seeds, share of each seed) per metric, and whether it meets all of the rule."""
    cells = []
    for model, own in rows.groupby("model", sort=False):
        whole = own[own["seed"] == ALL_SEEDS] if (own["seed"] == ALL_SEEDS).any() else own
        seeds = own[own["seed"] != ALL_SEEDS]
        line = [model, int(whole["seeds"].iloc[0])]
        for share in shares:
            figures = whole[whole["metric"] == share.metric].iloc[0]
            of_seeds = seeds[seeds["metric"] == share.metric]["share"]
            line += [f"{figures['value']:.2f}", _cell(figures)]
            line.append(" / ".join(f"{one:.2f}" for one in of_seeds))
        cells.append([*line, "yes" if whole["enough"].all() else "no"])
    header = ["model", "seeds"]
    for share in shares:
        label = registry.label(share.metric)
        header += [label, f"share of {share.goal}'s gain over {share.start} (≥ {share.least})", "per seed"]
    note = (
        "Share: (model − start) / (goal − start), a ratio of means over seeds [95% bootstrap of seeds and prompts]. The rule"
        " asks for all three, by these means.\n"
    )
    return Table("gain_kept", "Gain kept", note, [*header, "meets the rule"], cells)


def _cell(figures: pd.Series) -> str:
    """The share and its interval; alone where a draw of few prompts leaves the goal no gain, so that there is none."""
    share = figures["share"]
    if pd.isna(share) or not pd.isna(figures["low"]):
        return interval(figures.rename({"share": "mean"}))
    return f"{share:.3f}"


def write_gain_kept(folders: list[Path], output: Path, names: tuple[str, str, str]) -> Table:
    """gain_kept.csv and gain_kept.md in ``output``. ``names``: what SFT, DPO and DDPO are called; returns the table."""
    runs = [read_run(folder) for folder in folders]
    check_seeds(runs)
    shares = rule(*names)
    rows = share_table(group_runs(runs), shares)
    table = kept_table(rows, shares)
    with written_in_place(output, "gain_kept", FILES, (_HEADING,)):
        write_csv(output / FILES[0], rows)
        write_text(output / FILES[1], f"{_HEADING}\n\n{markdown(table)}")
    return table
