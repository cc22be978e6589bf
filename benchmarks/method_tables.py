"""Tables of docs/METHODS.md and docs/RLAIF.md, from results/."""

from pathlib import Path

import pandas as pd

from benchmarks.document_tables import ALL, DIGITS, SHORT, interval, markdown, number, read
from diversity_tuning.data.schema import REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from studies.miniature.methods.choose import choose, least_reward
from studies.reproduce.ending import ROWS

_GROUPS = {"": ("dpo", "0.3"), "-reinforcement": ("grpo", "0.02")}  # suffix -> baseline, recipe's strength
_KINDS = {"": "on pairs", "-reinforcement": "on rewards"}
_CHOSEN_ON = ("-validation", "-validation-fixed")  # three strengths of every method; on more seeds, those that were fixed
_LETTERS = {  # of a method's own strength
    "sft": "", "dpo": "β", "ddpo-both": "β", "spl": "α/β", "crpo": "λ", "divpo": "ρ", "orpo": "λ", "dorpo-both": "λ",
    "grpo": "KL's β", "grpo-advantage": "power", "grpo-darling": "power", "grpo-dra": "power", "grpo-rare": "power",
    "grpo-dpwriter": "λ",
}  # fmt: skip
_ORDER = (REDDIT_REWARD, "craft", "distinct_direction", "distinct_voice", SEMANTIC_DIVERSITY, STYLE_DIVERSITY)
_FURTHER = {"utility_k": "utility", "mixed": "mixed"}
_FRONT = ("distinct_direction", "distinct_voice", SEMANTIC_DIVERSITY)
_POLICIES = {
    "sft": "SFT", "dpo (1)": "DPO", "ddpo-both": "DDPO-both", "grpo (0.67)": "GRPO, reward model (0.67)",
    "grpo (0.83)": "GRPO, reward model (0.83)", "grpo (1)": "GRPO, reward model",
    "grpo-advantage (0.83)": "the same, advantage × δ (0.83)", "grpo-advantage (1)": "the same, advantage × δ",
    "grpo-darling": "the same, DARLING", "grpo-judge": "GRPO, judge (simulated)",
}  # fmt: skip
_OF_POLICY = {"characters": 0, "truncated": None, "openings": 3, "relevance": 3}  # digits; of a share: none


def method_tables(results: Path) -> dict[str, list[str]]:
    """For each published group of methods: the chosen models on test prompts, and every strength against a hull."""
    made = {}
    for suffix, (baseline, strength) in _GROUPS.items():
        test, validation, fixed = (results / f"miniature-methods{suffix}{split}" for split in ("", *_CHOSEN_ON))
        if not (test / "models.csv").is_file():
            continue
        chosen_on = read(validation, "models")
        made[f"strengths{suffix}"] = _strengths(read(validation, "fronts"), chosen_on, baseline)
        if (fixed / "models.csv").is_file():
            more = read(fixed, "models")
            chosen_on = pd.concat([chosen_on, more[~more["seed"].isin(chosen_on["seed"])]])
            made[f"fixed{suffix}"] = _strengths(read(fixed, "fronts"), more, baseline, ", strengths fixed")
        made[f"methods{suffix}"] = _chosen(read(test, "models"), chosen_on, baseline, strength, _KINDS[suffix])
    if (results / "miniature-rlaif" / "models.csv").is_file():
        made["policies"] = _policies(read(results / "miniature-rlaif", "models"))
    return made


def _over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows over all seeds; of one seed, its rows."""
    return rows[rows["seed"] == ALL] if (rows["seed"] == ALL).any() else rows


def _told(strength: str) -> str:
    return f"{float(strength):g}".removeprefix("0")


def _chosen(models: pd.DataFrame, validation: pd.DataFrame, baseline: str, strength: str, kind: str) -> list[str]:
    """A line a method, with the strengths that were chosen, seed by seed where they differ."""
    taken = _taken(validation[validation["seed"] != ALL], baseline, strength)
    rows = _over_seeds(models).set_index("method")
    lines = []
    for method, letter in _LETTERS.items():
        if method not in rows.index:
            continue
        own = taken.get(method, ())
        told = f"{letter} {', '.join(own if len(set(own)) > 1 else own[:1])}" if own else "–"
        cells = [interval(rows.loc[method], DIGITS.get(column, 3), prefix=f"{column}_") for column in _ORDER]
        lines.append([ROWS[method], told, *cells, *(interval(rows.loc[method], 2, prefix=f"{column}_") for column in _FURTHER)])
    seeds = models.loc[models["seed"] != ALL, "seed"].nunique()
    header = [f"method {kind}", "strength" if seeds == 1 else "strength by seed", *(SHORT[column] for column in _ORDER)]
    return markdown([*header, *_FURTHER.values()], lines)


def _taken(rows: pd.DataFrame, baseline: str, strength: str) -> dict[str, list[str]]:
    """The strengths of every method that the rule of ``--methods`` takes, seed by seed."""
    told: dict[str, list[str]] = {}
    for _, own in rows.groupby("seed"):
        found = [
            {"method": row["method"], "strength": _told(row["strength"]), "reward": row[f"{REDDIT_REWARD}_mean"],
             "diversity": row[f"{SEMANTIC_DIVERSITY}_mean"]}
            for row in own.to_dict("records")
        ]  # fmt: skip
        least = least_reward(found, baseline, _told(strength))
        for method in dict.fromkeys(model["method"] for model in found if model["method"] != "sft"):
            taken = choose([model for model in found if model["method"] == method], least)
            told.setdefault(method, []).append(taken["strength"])
    return told


def _strengths(fronts: pd.DataFrame, models: pd.DataFrame, baseline: str, which: str = "") -> list[str]:
    """A line a model; bold where t over three seeds or more excludes 0."""
    rows = _over_seeds(fronts[fronts["front"] == baseline])
    lines = []
    named = {row["model"]: (row["method"], row["strength"]) for row in models.to_dict("records")}
    groups = {named[model]: own for model, own in rows.groupby("model", sort=False)}
    for method, strength in sorted(groups, key=lambda key: (list(_LETTERS).index(key[0]), float(key[1]))):
        own = groups[method, strength]
        found = {(row["quality"], row["metric"]): row for _, row in own.iterrows()}
        cells = [_cell(found[quality, metric]) for quality in (REDDIT_REWARD, "craft") for metric in _FRONT]
        lines.append([f"{ROWS[method]}, {_LETTERS[method]} {_told(strength)}", *cells])
    header = [f"at equal {SHORT[quality]}: {SHORT[metric]}" for quality in (REDDIT_REWARD, "craft") for metric in _FRONT]
    return markdown([f"model − hull of {ROWS[baseline]} and SFT{which}", *header], lines)


def _cell(row: pd.Series) -> str:
    told = interval(row, DIGITS.get(row["metric"], 3), True)
    low, high = row.get("t_low"), row.get("t_high")
    shown = row.get("t_seeds", 0) > 2 and low * high > 0  # two seeds agree by chance too often
    return f"**{told}**" if shown else told


def _policies(models: pd.DataFrame) -> list[str]:
    """A line a policy of --rlaif, means over seeds."""
    rows = _over_seeds(models).set_index("model")
    columns = (REDDIT_REWARD, "craft", SEMANTIC_DIVERSITY, STYLE_DIVERSITY, "distinct_direction", "distinct_voice")
    lines = []
    for policy, label in _POLICIES.items():
        own = rows.loc[policy]
        cells = [number(own[f"{column}_mean"], DIGITS.get(column, 3)) for column in columns]
        further = [f"{own[f'{c}_mean']:.1%}" if d is None else number(own[f"{c}_mean"], d) for c, d in _OF_POLICY.items()]
        lines.append([label, *cells, *(cell.rstrip(".") for cell in further)])
    header = ["policy", *(SHORT[column] for column in columns), "characters", "cut", "openings", "relevance"]
    return markdown(header, lines)
