"""Numbers of results/ as README.md and docs/RESULTS.md write them: ``.763``, ``−.054 [−.069, −.037]``, whole tables."""

import json
from pathlib import Path

import pandas as pd

from diversity_tuning.data.schema import REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.diagnostics import REFERENCE
from diversity_tuning.evaluation.report.runs import group_runs, shared_prompts
from diversity_tuning.objectives import weighted_pairs
from diversity_tuning.selections import SELECTIONS
from studies.results.again import published_reports, runs_of
from studies.results.statistics import holm, share_of_gain, share_t_interval, t_test_p

# What decides leads: embeddings also move apart where a text is garbled.
SHORT = {
    "distinct_direction": "plots",
    "distinct_voice": "voices",
    "craft": "craft",
    REDDIT_REWARD: "reward",
    SEMANTIC_DIVERSITY: "semantic",
    STYLE_DIVERSITY: "style",
}
_LONG = {
    "plots": "plots of 4", "voices": "voices of 4", "craft": "craft (0–4)",
    "semantic": "semantic diversity", "style": "style diversity",
}  # fmt: skip
_OF_FOUR = {"plots": "plots of 4", "voices": "voices of 4"}
# Measures that are in no δ and in no vote.
_APART = {"ngram_diversity_score": "n-grams", "homogenization_score": "homogenization", "compression_ratio": "compression"}
_DIAL = "real-dial-0.3/dial.csv"  # δ and changed votes, by λ
# Regime of results/real-regimes -> what README calls its votes, and their mark in results/popularity, or _DIAL.
_REAL = {
    "captions, λ 0.6": ("captions, λ .6", _DIAL),
    "captions, λ 0.3": ("captions, λ .3", _DIAL),
    "captions, λ 0": ("captions", "caption_contest_full"),
    "storyer": ("r/WritingPrompts", "all_responses/writingprompts_windows"),
    "ocsai": ("divergent thinking", "ocsai"),
}
_STORIES = "writingprompts"  # the mark of real stories with real votes in results/popularity
DIGITS = dict.fromkeys(("distinct_direction", "distinct_voice", "craft"), 2)  # of the others: 3
_NAMES = {
    REFERENCE: "synthetic authors", "sft": "SFT", "dpo": "DPO", "ddpo-both": "DDPO-both", "ddpo-sem": "DDPO-sem",
    "ddpo-sty": "DDPO-sty", "divpo": SELECTIONS["divpo"].label, "orpo": "ORPO", "dorpo-both": "DORPO-both",
}  # fmt: skip
_README = (REFERENCE, "sft", "dpo", "ddpo-both", "orpo", "dorpo-both")
_PAIRS = weighted_pairs()
_VARIANTS = {
    "ddpo-both": "DDPO: δ", "floor (0.1)": "δ, at least .1", "floor (0.2)": "δ, at least .2",
    "ddpo-per-token": "δ, log-ratios per token", "ddpo-power": "√δ", "ddpo-mix": "½ + ½ δ",
    "ddpo-resampled": "pairs drawn by δ",
}  # fmt: skip
_MOST = ("4", "8", "all")  # responses of a prompt, of --ablation
ALL = "all"


def number(value: float, digits: int, sign: bool = False) -> str:
    """``.763``, ``2.01``, ``−.05``; with ``sign`` ``+.13``. An empty value is a dash."""
    if pd.isna(value):
        return "–"
    text = f"{abs(value):.{digits}f}".removeprefix("0")
    zero = not text.strip("0.")
    return f"{'−' if value < 0 and not zero else '+' if sign and not zero else ''}{text}"


def interval(row, digits: int, sign: bool = False, prefix: str = "") -> str:
    """``−.054 [−.069, −.037]``"""
    if pd.isna(row[f"{prefix}mean"]):
        return "–"
    mean, low, high = (number(row[f"{prefix}{part}"], digits, sign) for part in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def document_tables(study: Path) -> dict[str, list[str]]:
    """Lines of every table that the published study gives. Its report is in ``study``, that of controls in ``controls``."""
    rows, controls = _trained(read(study, "models")), study / "controls"
    made = {
        "models": _models(rows, _README, _LONG, short_names=True),
        "all models": _models(rows, tuple(_NAMES), _OF_FOUR, short_names=False, further=_APART),
        "differences": _differences(read(study, "differences")),
        "at equal quality": _fronts(pd.concat([read(folder, "fronts") for folder in (study, controls) if _has_fronts(folder)])),
    }
    if (controls / "controls.csv").is_file():
        made |= _controls(read(controls, "controls"))
    fewer = study.with_name(f"{study.name}-ablation")
    if (fewer / "models.csv").is_file():
        made["fewer responses"] = _fewer(read(fewer, "models"))
    kept = study / "variants" / "gain_kept.csv"
    if kept.is_file():
        made["shares"] = _shares(pd.read_csv(kept, dtype={"seed": str}))
    sweep = study.with_name(f"{study.name}-popularity")
    if sweep.is_dir():
        made |= _popularity(read(sweep, "popularity"))
        mark = study.parent / "popularity" / f"{_STORIES}.json"
        if mark.is_file():
            low = json.loads(mark.read_text(encoding="utf-8"))[ALL]["low"]
            made["as in real stories"] = _at_least(read(sweep, "means"), read(sweep, "popularity"), low)
        regimes = study.with_name("real-regimes") / "regimes.csv"
        if regimes.is_file():
            made["votes"] = _votes(read(sweep, "popularity"), pd.read_csv(regimes), mark.parent)
    announced = study.with_name(f"{study.name}-claims") / "claims.csv"
    if announced.is_file():
        made["announced"] = _claims(pd.read_csv(announced))
    return {name: table for name, table in made.items() if len(table) > 2}


def _claims(rows: pd.DataFrame) -> list[str]:
    """The four announced outcomes of --claims."""
    shown = {"distinct_direction": "plots at equal craft", "distinct_voice": "voices at equal craft"}
    cells = [
        [shown.get(row["outcome"], f"plots among samples of craft {row['outcome'][-1]} or more"), row["against"],
         interval(row, 2, True), interval(row | {"t_mean": 0.0}, 2, True, "t_").partition(" ")[2], number(row["p"], 3),
         number(row["holm"], 3)]
        for row in rows.to_dict("records")
    ]  # fmt: skip
    return markdown(["outcome", "DDPO minus", "mean [95%]", "t over eight seeds", "p", "after Holm"], cells)


def _has_fronts(folder: Path) -> bool:
    return (folder / "fronts.csv").is_file()


def _trained(models: pd.DataFrame) -> dict[str, pd.Series]:
    """Method -> means over all seeds, or of the only one, of the model that is trained to its end."""
    own = models[
        (models["strength"].isin(("1", "1.0")) & models["method"].isin(_NAMES)) | models["method"].isin((REFERENCE, "sft"))
    ]
    own = own[own["seed"] == ALL] if (own["seed"] == ALL).any() else own
    return {row["method"]: row for _, row in own.iterrows()}


def read(folder: Path, name: str) -> pd.DataFrame:
    """A published table; of fronts those of the controls too, where they have more points."""
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise UserError(f"{path}: no such file; publish the report of this study there (--results and --study say where)")
    table = pd.read_csv(path, dtype={"seed": str, "strength": str})
    if name == "fronts":
        further = folder / "controls-fronts.csv"
        table = pd.concat([table, pd.read_csv(further, dtype={"seed": str})]) if further.is_file() else table
        table["quality"] = table.get("quality", REDDIT_REWARD)
    return table


def _models(
    rows: dict[str, pd.Series], shown: tuple, headings: dict[str, str], short_names: bool, further: dict[str, str] | None = None
) -> list[str]:
    """One line per model; bold: the best of those that were trained on preferences. ``further``: columns behind the others."""
    there = [method for method in shown if method in rows]
    trained = [method for method in there if method not in (REFERENCE, "sft")]
    cells = {method: [_NAMES[method].removesuffix("-both" if short_names else "")] for method in there}
    for column in SHORT:
        texts = {method: number(rows[method].get(f"{column}_mean"), DIGITS.get(column, 3)) for method in there}
        best = max((rows[method][f"{column}_mean"] for method in trained), default=None) if short_names else None
        for method in there:
            bold = method in trained and best is not None and rows[method][f"{column}_mean"] == best
            cells[method].append(f"**{texts[method]}**" if bold else texts[method])
    for method in there:
        cells[method] += [number(rows[method].get(f"{column}_mean"), 2) for column in further or ()]
    names = [*(headings.get(name, name) for name in SHORT.values()), *(further or {}).values()]
    return markdown(["model", *names], list(cells.values()))


def _main(label: str) -> str:
    """The name of a model that is trained to its end."""
    return label.removesuffix(" (1)").removesuffix(" (1.0)")


def _differences(rows: pd.DataFrame) -> list[str]:
    """A line of differences over all seeds, and one of t intervals, for each pair."""
    lines = []
    for one, other in _PAIRS:
        found = of_pair(rows, one, other)
        if found:
            cells = [interval(found[column], DIGITS.get(column, 3), True) if column in found else "–" for column in SHORT]
            lines.append([f"{_NAMES[one]} − {_NAMES[other]}", *cells])
            spans = [_t(found[column], DIGITS.get(column, 3)) if column in found else None for column in SHORT]
            lines += [["… t over seeds", *spans]] if all(spans) else []
    return markdown(["paired difference [95%]", *SHORT.values()], lines)


def of_pair(rows: pd.DataFrame, one: str, other: str) -> dict[str, pd.Series]:
    """Metric -> the difference over all seeds, or of the only one."""
    found = {}
    for _, row in rows.iterrows():
        if tuple(map(_main, row["difference"].split(" − "))) == (one, other) and (
            row["seed"] == ALL or row["metric"] not in found
        ):
            found[row["metric"]] = row
    return found


def _t(row: pd.Series, digits: int) -> str | None:
    low, high = row.get("t_low"), row.get("t_high")
    return None if pd.isna(low) else f"[{number(low, digits, True)}, {number(high, digits, True)}]"


def _marked(row: pd.Series, digits: int) -> str:
    """The value with its interval, bold where the t interval over seeds excludes 0."""
    excluded = _t(row, digits) is not None and row["t_low"] * row["t_high"] > 0
    return f"**{interval(row, digits, True)}**" if excluded else interval(row, digits, True)


def _fronts(rows: pd.DataFrame) -> list[str]:
    """At equal reward and at equal craft: the weighted minus the hulls of the unweighted, over all seeds; t below each."""
    columns = [name for name in SHORT if name not in ("craft", REDDIT_REWARD)]
    lines = {}
    for _, row in rows[rows["seed"] == ALL].iterrows():
        pair = (_main(row["model"]), row["front"])
        if pair in _PAIRS and row["metric"] in columns:
            key = (SHORT[row["quality"]], pair, row["points"])
            digits = DIGITS.get(row["metric"], 3)
            cell = interval(row, digits, True), _t(row, digits) or "–"
            lines.setdefault(key, {}).setdefault(row["metric"], cell)  # the study's own before that of the controls
    most = {(key[0], key[1]): max(other[2] for other in lines if other[:2] == key[:2]) for key in lines}
    cells = []
    for (quality, (one, other), points), found in lines.items():
        if points == most[quality, (one, other)]:
            told, spans = zip(*(found.get(column, ("–", "–")) for column in columns), strict=True)
            cells += [[quality, _NAMES[one], f"{_NAMES[other]}, {points} points", *told], ["", "", "… t over seeds", *spans]]
    return markdown(["at equal", "model", "minus the hull of", *(SHORT[column] for column in columns)], cells)


def _controls(rows: pd.DataFrame) -> dict[str, list[str]]:
    """For each baseline: control × differences over the seeds that both have; bold: t over seeds excludes 0."""
    sides = rows["difference"].str.split(" − ", expand=True)
    made = {}
    for base in dict.fromkeys(sides[1]):
        own, lines = rows[sides[1] == base], []
        for label, group in own.groupby("difference", sort=False):
            seeds = [seed for seed in dict.fromkeys(group["seed"]) if seed != ALL]
            found = group[group["seed"] == (ALL if len(seeds) > 1 else seeds[0])].set_index("metric")
            cells = [_marked(found.loc[c], DIGITS.get(c, 3)) if c in found.index else "–" for c in SHORT]
            lines.append([label.split(" − ")[0], str(len(seeds)), *cells])
        name = _NAMES.get(_main(base), base)
        made[f"controls, {name}"] = markdown([f"model − {name} [95%]", "seeds", *SHORT.values()], lines)
    return made


def _fewer(rows: pd.DataFrame) -> list[str]:
    """A line for each of DDPO and DPO: its means with at most 4, at most 8 and all responses of a prompt, of the one seed."""
    own = rows.set_index(["method", "strength"])
    columns = (REDDIT_REWARD, SEMANTIC_DIVERSITY)
    lines = [
        [_NAMES[method], *(" / ".join(number(own.loc[(method, most), f"{c}_mean"], 3) for most in _MOST) for c in columns)]
        for method in _PAIRS[0]
    ]
    return markdown(["model", *(SHORT[column] for column in columns)], lines)


def _shares(rows: pd.DataFrame) -> list[str]:
    """A line per variant of the weights: what it keeps of the gains, over all seeds."""
    own = rows[rows["seed"] == ALL].rename(columns={"share": "mean"}).set_index(["model", "metric"])
    columns = ("craft", "distinct_direction", "distinct_voice")
    lines = [[told, *(interval(own.loc[name, column], 2) for column in columns)] for name, told in _VARIANTS.items()]
    return markdown(["share kept [95%]", *(SHORT[column] for column in columns)], lines)


def _popularity(rows: pd.DataFrame) -> dict[str, list[str]]:
    """For each difference: a line per popularity over all seeds, with the correlation of δ and votes in training prompts."""
    made = {}
    for label, group in rows[rows["seed"] == ALL].groupby("difference", sort=False):
        name, lines = " − ".join(_NAMES[side].removesuffix("-both") for side in label.split(" − ")), []
        for value, own in group.groupby("popularity"):
            found = own.set_index("metric")
            cells = [_marked(found.loc[column], DIGITS.get(column, 3)) for column in SHORT]
            lines.append([f"{value:g}", interval(own.iloc[0], 2, True, "correlation_"), *cells])
        made[f"popularity, {name}"] = markdown([f"{name} at popularity", "δ and votes", *SHORT.values()], lines)
    return made


def _at_least(means: pd.DataFrame, rows: pd.DataFrame, low: float) -> list[str]:
    """Models and DDPO − DPO at the greatest popularity whose correlation of δ and votes is ``low`` or more, over all seeds."""
    own = rows[(rows["seed"] == ALL) & (rows["correlation_mean"] >= low)]
    value = own["popularity"].max()
    at = means[(means["seed"] == ALL) & (means["popularity"] == value)].set_index("model")
    shown = [column for column in SHORT if column not in (SEMANTIC_DIVERSITY, STYLE_DIVERSITY)]
    cells = [[_NAMES[name].removesuffix("-both"), *(number(at.loc[name, f"{c}_mean"], DIGITS.get(c, 3)) for c in shown)]
             for name in ("sft", "dpo", "ddpo-both")]  # fmt: skip
    found = own[(own["popularity"] == value) & (own["difference"] == "ddpo-both − dpo")].set_index("metric")
    cells.append(["DDPO − DPO", *(_marked(found.loc[column], DIGITS.get(column, 3)) for column in shown)])
    return markdown([f"popularity {value:g}", *(SHORT[column] for column in shown)], cells)


def _votes(sweep: pd.DataFrame, regimes: pd.DataFrame, marks: Path) -> list[str]:
    """DDPO − DPO in meaning on the miniature's votes and on real ones, beside the correlation of δ and votes."""
    rows = sweep[(sweep["seed"] == ALL) & (sweep["difference"] == "ddpo-both − dpo") & (sweep["metric"] == SEMANTIC_DIVERSITY)]
    own = rows.loc[rows["popularity"].idxmax()]
    lines = [["synthetic, miniature", interval(own, 2, True, "correlation_"), _marked(own, 3)]]
    found = regimes[(regimes["models"] == "ddpo - dpo") & (regimes["measure"] == SEMANTIC_DIVERSITY)].set_index("regime")
    for regime, (name, source) in _REAL.items():
        if regime in found.index:
            correlation = _correlation(marks, source, regime)
            name += ", one fold" if found.loc[regime, "folds"] == 1 else ""
            lines.append([name, interval(correlation, 2, True), _marked(found.loc[regime], 3)])
    return markdown(["votes", "Spearman, δ and votes", "DDPO − DPO in meaning"], lines)


def _correlation(marks: Path, source: str, regime: str) -> dict[str, float]:
    """``{"mean", "low", "high"}`` of δ and votes of all responses: of a mark, or at the λ that a regime is named after."""
    if source != _DIAL:
        return json.loads((marks / f"{source}.json").read_text(encoding="utf-8"))[ALL]
    rows = pd.read_csv(marks.parent / source).set_index("λ")
    at = rows.loc[float(regime.rpartition(" ")[2])].iloc[0]
    return {key: at[f"δ and votes, all responses_{key}"] for key in ("mean", "low", "high")}


def markdown(header: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table."""
    return ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows)]


def replaced(text: str, tables: dict[str, list[str]]) -> tuple[str, list[str]]:
    """The document with every table replaced that has the columns, in any order, of one of these; and the names of those."""
    by_columns = {frozenset(_cells(table[0])): name for name, table in tables.items()}
    lines, kept, names = text.split("\n"), [], []
    place = 0
    while place < len(lines):
        name = by_columns.get(frozenset(_cells(lines[place]))) if lines[place].startswith("|") else None
        if name is None:
            kept.append(lines[place])
            place += 1
            continue
        kept += tables[name]
        names.append(name)
        while place < len(lines) and lines[place].startswith("|"):
            place += 1
    return "\n".join(kept), names


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def numbers(results: Path, study: str) -> list[str]:
    """What the tables do not tell, a line each: rounded means, shares of gains, differences of other studies."""
    told = _rounded(read(results / study, "models"))
    told.append(_family(read(results / study, "differences")))
    told += [line for report in published_reports(results) if study in report.parts for line in shares(report, results)]
    for folder in sorted(path.parent for path in results.glob("*/differences.csv") if path.parent.name != study):
        rows = read(folder, "differences")
        for one, other in _PAIRS if "difference" in rows else ():
            found = of_pair(rows, one, other)
            parts = [f"{SHORT[c]} {interval(found[c], DIGITS.get(c, 3), True)}" for c in SHORT if c in found]
            told += [f"{folder.name}, {one} − {other}: {'; '.join(parts)}"] if parts else []
    return told


def _family(rows: pd.DataFrame) -> str:
    """How the differences of the main pairs stand when all of them are one family of t tests over seeds."""
    found = [row for pair in _PAIRS for row in of_pair(rows, *pair).values() if row["metric"] in SHORT]
    found = [row for row in found if not pd.isna(row.get("t_low"))]
    seeds = rows.loc[rows["seed"] != ALL, "seed"].nunique()
    p = holm([t_test_p(row["mean"], row["t_low"], row["t_high"], seeds) for row in found])
    greatest = f"{max(p):.4f}".removeprefix("0") if len(p) else "–"
    return f"{len(p)} differences of {len(_PAIRS)} pairs, t over {seeds} seeds: greatest p after Holm {greatest}"


def _rounded(models: pd.DataFrame) -> list[str]:
    """Plots and voices to one digit, as sentences tell them; prompts of a seed."""
    means = _trained(models)
    told = [
        f"{_NAMES[method]}: {row['distinct_direction_mean']:.1f} plots, {row['distinct_voice_mean']:.1f} voices"
        for method, row in means.items()
        if "distinct_direction_mean" in row
    ]
    prompts = models.loc[models["method"].isin(_README) & (models["seed"] != ALL), "prompts"]
    seeds = models.loc[models["seed"] != ALL, "seed"].nunique()
    told.append(f"{seeds} seeds, {prompts.min()} to {prompts.max()} test prompts each")
    return told


def shares(report: Path, results: Path) -> list[str]:
    """What every weighted model of a report keeps of the gain of the unweighted over SFT, with its interval."""
    models = {_main(model.label): model for model in group_runs(runs_of(report))}
    told = []
    for one, other in _PAIRS:
        if not {one, other, "sft"} <= set(models):
            continue
        sides = [models[name] for name in (one, other, "sft")]
        prompts = shared_prompts(sides)
        parts = []
        for column in ("craft", REDDIT_REWARD):
            values = [side.matrix(column, prompts) for side in sides]
            kept = share_of_gain(*values, nested=isinstance(prompts, list))
            known = f"[{kept['low']:.0%}, {kept['high']:.0%}]"
            span = "(no interval: 2.5% or more of the draws have no gain)" if pd.isna(kept["low"]) else known
            of_seeds = "t over seeds [{:.0%}, {:.0%}]".format(*share_t_interval(*values))
            parts.append(f"{SHORT[column]} {kept['mean']:.0%} {span}, {of_seeds}")
        told.append(f"{report.relative_to(results)}: {one} keeps of the gain of {other} over sft: {', '.join(parts)}")
    return told
