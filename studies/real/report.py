r"""The report of --folds: which models there are per set of votes, what they differ by, tables, one figure, all values.

    python -m studies.real.report --seeds runs/real/ocsai/seed0 runs/real/ocsai/seed1 --output runs/real/report

Seeds of one parent folder are folds of one regime, which goes by the folder's name. Folds have prompts of their own: intervals
are 95% bootstrap intervals over prompts within folds, and over folds; t is Student's interval over the folds' means.
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.real.report")

import io
import re
from pathlib import Path

import numpy as np

from diversity_tuning.cli import command, parse_with_recipe
from diversity_tuning.errors import UserError
from diversity_tuning.objectives import OBJECTIVES
from diversity_tuning.outputs import read_provenance
from studies.captions.fit import ACCURACY
from studies.captions.measure import PEOPLE
from studies.real import trainings
from studies.real.measure import ANSWERS, FORM, MEASURES, PROMPTS
from studies.report import read_json, read_text, report_parser, stacked, write_report
from studies.results.statistics import family

STUDY = "smollm2 --folds"

LABELS = {
    PEOPLE: "people", "untouched": "untouched", "untouched-verbalized": "untouched, verbalized",
    "untouched-iterative": "untouched, iterative",
    "sft": "SFT", "sft-t1.1": "SFT, T 1.1", "sft-min-p": "SFT, min-p", "dpo": "DPO",
    "dpo-t1.1": "DPO, T 1.1", "dpo-min-p": "DPO, min-p", "dpo-beta-0.4": "DPO, β .4", "dpo-beta-4": "DPO, β 4",
    "dpo-quarter": "DPO, a quarter of the updates", "dpo-half": "DPO, half the updates", "ddpo": "DDPO",
    "ddpo-t1.1": "DDPO, T 1.1", "ddpo-permuted": "DDPO, δ permuted", "spl": "SPL", "crpo": "CrPO", "divpo": "DivPO",
    "orpo": "ORPO", "dorpo": "DORPO", "grpo": "GRPO", "grpo-advantage": "GRPO, δ on the advantage",
}  # fmt: skip


def unweighted(model: str) -> str | None:
    """``dpo-t1.1`` of ``ddpo-t1.1``: the model whose objective lacks the weights; None of one that has none."""
    objective, dash, how = model.partition("-")
    base = OBJECTIVES[objective].weighted_of if objective in OBJECTIVES else None
    return base and f"{base}{dash}{how}"


COMPARED = (
    ("sft", PEOPLE), ("dpo", "sft"), ("ddpo", "dpo"), ("ddpo-permuted", "dpo"), ("ddpo", "ddpo-permuted"), ("ddpo", "dpo-t1.1"),
    ("ddpo-t1.1", "dpo-t1.1"), ("spl", "dpo"), ("crpo", "dpo"), ("divpo", "dpo"), ("dpo-beta-0.4", "dpo"),
    ("dpo-beta-4", "dpo"), ("dpo-quarter", "dpo"), ("dpo-half", "dpo"), ("sft-min-p", "dpo"), ("dpo-min-p", "dpo"),
    ("untouched-verbalized", "untouched"), ("untouched-iterative", "untouched"),
    ("orpo", "dpo"), ("dorpo", "dpo"), ("dorpo", "orpo"), ("grpo", "sft"), ("grpo", "dpo"),
    ("grpo-advantage", "sft"), ("grpo-advantage", "dpo"), ("grpo-advantage", "grpo"),
)  # fmt: skip
# Mixtures of these, prompt by prompt …
HULL = ("sft", "sft-t1.1", "dpo", "dpo-t1.1", "dpo-beta-0.4", "dpo-beta-4", "dpo-quarter", "dpo-half")
# … against which every other model that was trained or is sampled otherwise is held.
OVER_HULL = tuple(name for name in LABELS if name not in (PEOPLE, *HULL) and not name.startswith("untouched"))
# What weights by deviation add, all else equal: DDPO − DPO, each at 1.1, DORPO − ORPO.
WEIGHTED = tuple((one, other) for one, other in COMPARED if other == unweighted(one))
MOST_LABELS = 10  # models that are named in the figure's panels; of more there are numbers, and a list beside them
X, Y = "reward_b", ("semantic_diversity", "other_diversity")


@command
def main(argv=None) -> None:
    parser = report_parser("studies.real.report", __doc__, STUDY)
    parser.add_argument("--models", nargs="+", help="these alone, such as people sft dpo ddpo (default: all that are measured)")
    args = parse_with_recipe(parser, argv)
    groups = by_parent(args.seeds)
    regimes = read(groups, args.split, args.models)
    told = write_report(
        args.output,
        "real_report",
        {
            "split": args.split,
            "models": args.models,
            "seeds": [f"{Path(seed).resolve().parent.name}/{Path(seed).name}" for seed in args.seeds],
        },
        "Real votes, a pretrained model",
        [table for name, folds in regimes.items() for table in tables(name, folds)],
        lambda folder: [(draw(regimes, folder / "real"), "reward, diversity and fluency")],
        values(groups, args.split, args.models) | figures(regimes),
        {name: folds["prompts"] for name, folds in regimes.items()},
        page=False,
    )
    print(told, flush=True)


def by_parent(seeds: list[str]) -> dict[str, list[Path]]:
    """Regime -> the folders of its folds; a folder that is given twice is a :class:`UserError`."""
    if len({Path(seed).resolve() for seed in seeds}) < len(seeds):
        raise UserError(f"--seeds {' '.join(map(str, seeds))}: a folder is there twice; give each once")
    groups: dict[str, list[Path]] = {}
    for seed in map(Path, seeds):
        groups.setdefault(seed.resolve().parent.name, []).append(seed)
    return groups


def read(groups: dict[str, list[Path]], split: str | None, models: list[str] | None = None) -> dict[str, dict]:
    """Regime -> ``{"values": model -> measure -> (folds, prompts), filled up with NaN, "prompts": how many, "accuracy": …}``.

    ``groups``: regime -> folders of its folds. A model that a fold does not have has no values there. A folder that is missing
    is a :class:`UserError`, and so is one of ``models`` that no fold has.
    """
    import pandas as pd

    regimes: dict[str, dict] = {}
    for name, folders in groups.items():
        regime = regimes.setdefault(name, {"folders": folders, "tables": [], "accuracy": [], "asked": []})
        for seed in folders:
            text = read_text(_measures(seed, split) / PROMPTS, STUDY)
            table = pd.read_csv(io.StringIO(text))
            if lacking := [MEASURES[key] for key in MEASURES if key not in table]:
                raise UserError(f"{_measures(seed, split)}: made before {', '.join(lacking)} was measured; run its stage again")
            of_reward = read_json(seed / "reward-b" / ACCURACY, STUDY)["by_contest"]
            of_ridge = read_json(fold_folder(seed) / "reward-ridge" / ACCURACY, STUDY)["by_contest"]
            of_reward = {"reward": of_reward["reward"], "length": of_reward["length"], "ridge": of_ridge["reward"]}
            regime["tables"].append(_of(models, table))
            form = read_provenance(_measures(seed, split)).get("form", {})
            regime["asked"].append({model: found for model, found in form.items() if model in (models or form)})
            regime["accuracy"].append({name: list(values.values()) for name, values in of_reward.items()})
    found = {model for regime in regimes.values() for table in regime["tables"] for model in table["model"]}
    missing = [model for model in models or () if model not in found]
    if lost := [model for model in missing if any(model in form for regime in regimes.values() for form in regime["asked"])]:
        raise UserError(f"--models {' '.join(lost)}: sampled, but no prompt has all its answers, so that nothing is measured")
    if missing:
        raise UserError(f"--models {' '.join(missing)}: in none of these folders; leave the flag out to see what there is")
    for regime in regimes.values():
        there = dict.fromkeys(model for table in regime["tables"] for model in table["model"])
        models = sorted(there, key=lambda model: list(LABELS).index(model) if model in LABELS else len(LABELS))
        regime["prompts"] = sum(table["prompt"].nunique() for table in regime["tables"])
        regime["values"] = {
            model: {measure: fold_values(regime["tables"], model, measure) for measure in MEASURES} for model in models
        }
    return regimes


def _of(models: list[str] | None, table):
    return table if models is None else table[table["model"].isin(models)]


def _measures(seed: str | Path, split: str | None) -> Path:
    return Path(seed) / f"measures{f'-{split}' if split else ''}"


def fold_folder(folder: Path) -> Path:
    """``…/seed0`` of itself and of a folder in it, such as ``…/seed0/dial-0.3``; else the folder itself."""
    return next((one for one in (folder, *folder.parents) if re.fullmatch(r"seed\d+", one.name)), folder)


def fold_name(folder: Path) -> str:
    """``seed0`` of ``…/seed0/dial-0.3``, by :func:`fold_folder`."""
    return fold_folder(folder).name


def fold_values(tables: list, model: str, measure: str) -> np.ndarray:
    """The values of a model by fold and prompt: (folds, prompts), filled up with NaN; ``tables``: a fold's values by prompt."""
    size = max(table["prompt"].nunique() for table in tables)
    rows = [table.loc[table["model"] == model, measure].to_numpy(dtype=float) for table in tables]
    return stacked(rows, size)


def tables(name: str, folds: dict, of_a: str = "the votes that the policies were trained on") -> list:
    """Models, differences, and what lies above mixtures of unweighted models, of one regime; ``of_a``: what reward A is of."""
    from diversity_tuning.evaluation.rendering import Table, interval, t_words

    values, number, frames = folds["values"], len(folds["tables"]), figures({name: folds})
    answers = int(folds["tables"][0]["answers"].max())
    models = [
        [label(one), str((~np.isnan(values[one][X])).sum()), *(interval(row) for _, row in own.iterrows())]
        for one, own in frames["models"].groupby("model", sort=False)
    ]
    accuracy = {part: np.mean([np.mean(fold[part]) for fold in folds["accuracy"]]) for part in ("reward", "length", "ridge")}
    note = (
        f"{folds['prompts']} prompts that were never trained on, in {number} fold{'s' if number > 1 else ''}; {answers} answers"
        f" of each model to each. Reward A: a reward model trained on {of_a}. Ridge: regressions on the same votes, weighed on"
        f" validation prompts; their Spearman correlation with such votes is {accuracy['ridge']:.2f} within a prompt that they"
        " have not read. Reward B: ridge regressions on the other half of the votes, of all prompts; its Spearman correlation"
        f" with unseen votes is {accuracy['reward']:.2f} within a prompt (length alone {accuracy['length']:.2f}). Fit: share of"
        " the other prompts that an answer is farther from than from its own. seq-rep-4: share of an answer's four-word"
        " sequences that stood in it before. Different kinds: of the answers to a prompt. Copies: equal to a training response."
        " Mean [95% interval over prompts and folds]."
    )
    found = [Table(f"{name}-models", f"{name}: models", note, ["model", "prompts", *MEASURES.values()], models)]
    rows, apart = [], []
    for pair, own in frames["differences"].groupby("models", sort=False) if len(frames["differences"]) else ():
        one, other = pair.split(" - ")
        apart += [values[one][key] - values[other][key] for key in MEASURES]
        cells = (interval(row, sign="+") + t_words(row) for _, row in own.iterrows())
        rows.append([f"{label(one)} − {label(other)}", *cells])
    note = "Paired by prompt; mean [95% interval over prompts and folds]; t: Student's interval over the folds." + family(apart)
    found.append(Table(f"{name}-differences", f"{name}: differences", note, ["models", *MEASURES.values()], rows))
    hull = []
    for model, own in frames["hull"].groupby("model", sort=False) if len(frames["hull"]) else ():
        both = [row for _, row in own.iterrows()]
        spans = (t_words(row).removeprefix("; ") for row in both)
        hull.append([label(model), *(interval(row, sign="+") for row in both), *spans])
    note = (
        "Diversity above the concave hull of "
        + ", ".join(label(one) for one in HULL if one in values)
        + " at the same reward B,"
        " which mixtures of two of these reach; a reward beyond all of theirs is held against the nearest. Mean"
        " [95% interval over prompts and folds]; t: over the folds."
    )
    header = ["model", *(MEASURES[y] for y in Y), *(f"t, {MEASURES[y]}" for y in Y)]
    found.append(Table(f"{name}-hull", f"{name}: at equal reward B", note, header, hull))
    return found + trainings.tables(name, frames["trainings"], label) + form_tables(name, folds.get("asked", []))


def form_tables(name: str, folds: list[dict[str, dict[str, int]]]) -> list:
    """How often models kept to the form that they were asked for, over the folds; no table where none was."""
    from diversity_tuning.evaluation.rendering import Table

    rows = []
    for model in dict.fromkeys(model for fold in folds for model in fold):
        own = {key: sum(fold.get(model, {}).get(key, 0) for fold in folds) for key in FORM}
        rows.append([label(model), f"{own['read']} of {own['replies']}", str(own["missing"]), str(own["left_out"])])
    note = (
        "Some models are asked for all answers to a prompt in one form; what has another form is asked for anew, up to three"
        " times. In form: of the model's replies. Missing: answers that came in no reply. Lost: prompts without all answers,"
        " which count in no measure of this model."
    )
    header = ["model", "replies in form", "answers missing", "prompts lost"]
    return [Table(f"{name}-form", f"{name}: the form that was asked for", note, header, rows)] if rows else []


def figures(regimes: dict[str, dict]) -> dict:
    """``models``, ``differences``, ``hull``, ``trainings``: the tables' numbers, a row a value with interval, or a training."""
    import pandas as pd

    from diversity_tuning.evaluation.statistics import mean_interval, paired_difference

    found: dict[str, list[dict]] = {"models": [], "differences": [], "hull": []}
    for name, folds in regimes.items():
        of = folds["values"]
        pairs = [pair for pair in COMPARED if set(pair) <= of.keys()]
        for key in MEASURES:
            about = {"regime": name, "measure": key}
            for model, own in of.items():
                found["models"].append({**about, "model": model, **mean_interval(own[key], nested=True)})
            for one, other in pairs:
                row = paired_difference(of[one][key], of[other][key], nested=True)
                found["differences"].append({**about, "models": f"{one} - {other}", **row})
        for model in [one for one in OVER_HULL if one in of]:
            found["hull"] += [{"regime": name, "measure": y, "model": model, **over_hull(of, model, y)} for y in Y]
    trained = [
        trainings.frame([(fold_name(one), one) for one in folds["folders"]], list(folds["values"]), STUDY).assign(regime=name)
        for name, folds in regimes.items()
    ]
    return {name: pd.DataFrame(rows) for name, rows in found.items()} | {"trainings": pd.concat(trained)}


def over_hull(values: dict, model: str, y: str) -> dict[str, float]:
    """``{"mean", "low", "high", "t_low", "t_high"}``: the diversity of a model above the hull of :data:`HULL` at its reward B.

    A reward below all of theirs is held against the one of least reward, one above all against the one of most. Of the hull's
    models those count that all folds of ``model`` have.
    """
    from diversity_tuning.evaluation.statistics import bootstrap_means, concave_hull_at, overall_mean, t_interval
    from diversity_tuning.intervals import percentile_interval

    there = ~np.isnan(values[model][X]).all(axis=1)  # the folds that have the model
    names = [one for one in HULL if one in values and not np.isnan(values[one][X][there]).all(axis=1).any()]

    def height(of) -> np.ndarray:
        xs, ys = (np.stack([np.atleast_1d(of(values[one][key][there])) for one in names], axis=-1) for key in (X, y))
        at = np.clip(np.atleast_1d(of(values[model][X][there])), xs.min(axis=-1), xs.max(axis=-1))
        return np.atleast_1d(of(values[model][y][there])) - concave_hull_at(xs, ys, at)

    low, high = percentile_interval(height(lambda rows: bootstrap_means(rows, nested=True)))
    mean = float(height(lambda rows: overall_mean(rows, nested=True))[0])
    t_low, t_high = t_interval(height(lambda rows: np.array([overall_mean(row) for row in rows]))[:, None])
    return {"mean": mean, "low": low, "high": high, "t_low": t_low, "t_high": t_high}


def label(model: str) -> str:
    """What tables and the figure call a model."""
    return LABELS.get(model, model)


def values(groups: dict[str, list[Path]], split: str | None, models: list[str] | None = None) -> dict:
    """``prompts`` and ``answers`` of all regimes and folds: every value, no text of an answer."""
    import pandas as pd

    found = {}
    for name in (PROMPTS, ANSWERS):
        parts = []
        for regime, seed in ((regime, seed) for regime, folders in groups.items() for seed in folders):
            part = _of(models, pd.read_csv(_measures(seed, split) / name)).copy()
            part["prompt"] = part["prompt"].str.strip()
            part.insert(0, "regime", regime)
            part.insert(1, "seed", fold_name(seed))
            parts.append(part)
        found[name.partition(".")[0]] = pd.concat(parts)
    return found


def draw(regimes: dict[str, dict], path: Path) -> Path:
    """``path``.png: a row per regime; semantic diversity against reward B, and against the log-likelihood a token."""
    from diversity_tuning.drawing import (
        BLACK,
        BLUE,
        GREEN,
        ORANGE,
        PINK,
        PURPLE,
        SKY,
        SLATE,
        VERMILION,
        draw_grid,
        pyplot,
        save_figure,
        whiskers,
    )
    from diversity_tuning.evaluation.report.label_placement import place_labels
    from diversity_tuning.evaluation.statistics import mean_interval

    styles = {
        PEOPLE: (BLACK, "*"), "untouched": (SKY, "v"), "sft": (SLATE, "h"), "dpo": (BLUE, "o"), "ddpo": (VERMILION, "s"),
        "ddpo-permuted": (PINK, "D"), "spl": (GREEN, "P"), "crpo": (ORANGE, "X"), "divpo": (PURPLE, "^"),
        "grpo": (ORANGE, "d"), "orpo": (BLUE, "p"), "dorpo": (VERMILION, "p"),
    }  # fmt: skip
    placed, most = [], max(len(folds["values"]) for folds in regimes.values())
    figure, axes = pyplot().subplots(
        len(regimes), 2, figsize=(13 if most > MOST_LABELS else 10, 4.2 * len(regimes)), layout="constrained", squeeze=False
    )
    for (name, folds), row in zip(regimes.items(), axes, strict=True):
        for axis, x in zip(row, (X, "log_prob"), strict=True):
            draw_grid(axis)
            labels, numbered = [], len(folds["values"]) > MOST_LABELS
            for number, (model, own) in enumerate(folds["values"].items(), 1):
                colour, marker = styles.get(model) or styles.get(model.partition("-")[0], (GREEN, "P"))
                across, up = (mean_interval(own[key], nested=True) for key in (x, Y[0]))
                place = across["mean"], up["mean"]
                axis.errorbar(
                    *place, xerr=whiskers(across), yerr=whiskers(up), fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.5
                )
                filled = colour if model in styles else "white"
                words = f"{number}  {label(model)}"
                axis.plot(*place, marker, color=colour, mfc=filled, ms=12 if model == PEOPLE else 7, label=words)
                labels.append((str(number) if numbered else label(model), place, colour))
            axis.margins(0.12)
            axis.set(xlabel=f"{MEASURES[x]} →", ylabel="semantic diversity →")
            placed.append((axis, labels))
        if numbered:
            row[1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
        folds_word = f"{len(folds['tables'])} fold" + ("s" if len(folds["tables"]) > 1 else "")
        row[0].set_title(f"{name}: {folds['prompts']} held-out prompts, {folds_word}; 95% intervals", loc="left", fontsize=9)
    figure.canvas.draw()  # with all that takes room
    for axis, labels in placed:
        place_labels(axis, labels)
    return save_figure(figure, path, ("png",), dpi=130)[0]


if __name__ == "__main__":
    main()
