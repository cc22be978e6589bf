r"""The report of --folds --dial: does DDPO − DPO grow with the correlation of δ and votes? Tables, a figure, all values.

    R=runs/smollm2-folds-captions; python -m studies.real.dial_report --output $R/report-dial \
        --points 0=$R/seed0 0.3=$R/seed0/dial-0.3 0=$R/seed1 0.3=$R/seed1/dial-0.3

The texts, the prompts and the SFT adapter of a fold are the same at every λ; votes, pairs, reward B, DPO and DDPO are not.
With `--published REPORT` the values by prompt of an earlier report stand in for the λ whose folders are gone; its SFT adapters
were then others, of the same settings.
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.real.dial_report")

import io
import itertools
from pathlib import Path

import numpy as np

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.errors import UserError
from studies.real import report
from studies.real.dial import GIVEN, REPLACED
from studies.real.measure import MEASURES
from studies.report import folders_by_number, pair_correlations, read_json, read_text, stacked, write_report

SHOWN = ("reward_b", "semantic_diversity", "other_diversity", "distinct_k", "log_prob", "lints", "fit")
PAIRS = {("ddpo", "dpo"): "DDPO − DPO", ("dpo", "sft"): "DPO − SFT"}
ALL, TRAINED = "δ and votes, all responses", "δ and votes, training pairs"
_REWARD_A = "the votes as people gave them, the same model at every λ"
METHOD = """\
Votes of a prompt are replaced by z(log(1 + votes)) − λ·z(δ). Correlation: Spearman of δ and votes within a prompt, mean over
prompts, of all people's responses and of those in the pairs that are trained on. Slope: of a prompt's difference over λ, by
least squares. Reward B is of the votes at that λ, in standard deviations within a prompt: its values at two λ are of two
rewards. Intervals: 95% bootstrap over folds and their prompts; t: Student's over folds. No correction for the number of
comparisons in these tables.
"""
_PUBLISHED = (
    "λ {} of an earlier report, `{}`, whose SFT adapters were others: of the same folds ({}), so that slopes are of these; its"
    " correlations are over all folds that it has.\n"
)


@command
def main(argv=None) -> None:
    parser = Parser("studies.real.dial_report", __doc__)
    parser.add_argument("--points", nargs="+", required=True, metavar="L=FOLDER", help="λ and folder of a fold; several folds")
    parser.add_argument("--published", metavar="REPORT", help="folder of an earlier report: its values for λ not in --points")
    parser.add_argument("--split", default=None, help="read the results of another split than test")
    parser.add_argument("--output", required=True, help="folder for report.html, report.md, tables and figures")
    args = parse_with_recipe(parser, argv)
    points = folders_by_number(args.points)
    groups = {_name(value): folders for value, folders in points.items()}
    regimes = report.read(groups, args.split)
    check_points(points)
    known, found = published(args.published, points) if args.published else ({}, {})
    at = dict(sorted(({value: regimes[_name(value)] for value in points} | known).items()))
    check_alike({_name(value): folds for value, folds in at.items()})
    frames = dict(zip(("dial", "slopes"), summary(at, correlations(points) | found), strict=True))
    told = ", ".join(f"{value:g}" for value in known), args.published, ", ".join(fold_names(points))
    method = METHOD + (_PUBLISHED.format(*told) if known else "")
    told = write_report(
        args.output,
        "dial_report",
        {"points": args.points, "split": args.split, "published": args.published},
        "Votes that favour the common more and more",
        [
            *tables(frames),
            *(table for name, folds in regimes.items() for table in report.tables(name, folds, _REWARD_A)),
        ],
        lambda folder: [(draw(frames["dial"], folder / "dial"), "DDPO − DPO against the correlation of δ and votes")],
        frames | report.values(groups, args.split) | report.figures(regimes),
        {_name(value): folds["prompts"] for value, folds in at.items()},
        method=method,
    )
    print(told, flush=True)


def _name(value: float) -> str:
    return f"λ {value:g}"


def fold_names(points: dict[float, list[Path]]) -> list[str]:
    """The folds of the first λ, in their order; :func:`check_alike` wants the same of every λ."""
    return [report.fold_name(one) for one in next(iter(points.values()))]


def published(folder: str, points: dict[float, list[Path]]) -> tuple[dict, dict]:
    """(λ -> what :func:`check_alike` and :func:`summary` read of a regime, λ -> correlations) of a report's further λ.

    Of the folds of ``points``, in their order. A :class:`UserError` where the report lacks one of these, or has no further λ.
    Its correlations are over all folds that it has.
    """
    import pandas as pd

    by_prompt, told = (
        pd.read_csv(io.StringIO(read_text(Path(folder) / name, report.STUDY))) for name in ("prompts.csv", "dial.csv")
    )
    known, found = {}, {}
    folds = fold_names(points)
    for value, row in told.groupby("λ"):
        if value in points:
            continue
        own = by_prompt[by_prompt["regime"] == _name(value)]
        if own.empty:
            raise UserError(
                f"--published {folder}: no values by prompt of {_name(value)}; give the report that it was made with"
            )
        if lacking := [fold for fold in folds if fold not in set(own["seed"])]:
            raise UserError(
                f"--published {folder}: {_name(value)} has no {', '.join(lacking)}; give --points of its folds alone"
            )
        parts = [own[own["seed"] == fold] for fold in folds]
        values = {
            model: {measure: report.fold_values(parts, model, measure) for measure in SHOWN}
            for model in dict.fromkeys(own["model"])
        }
        known[value] = {"tables": parts, "values": values, "prompts": sum(part["prompt"].nunique() for part in parts)}
        first = row.iloc[0]
        found[value] = {
            kind: {part: first[f"{kind}_{part}"] for part in ("mean", "low", "high")}
            for kind in (ALL, TRAINED)
            if f"{kind}_mean" in first
        }
    if not known:
        raise UserError(f"--published {folder}: no λ but those of --points; leave the flag out")
    return known, found


def check_points(points: dict[float, list[Path]]) -> None:
    """:class:`UserError` for a folder whose votes were made with another λ than it is given with; a fold's own are of λ = 0."""
    for value, folder in ((value, folder) for value, folders in points.items() for folder in folders):
        made = _votes(folder)["arguments"].get("strength", 0.0)
        if made != value:
            raise UserError(f"--points {value:g}={folder}: its votes are of λ {made:g}; give it as {made:g}={folder}")


def _votes(folder: Path) -> dict:
    """What is recorded of a folder's votes."""
    return read_json(folder / "data" / "policy" / "provenance.json", report.STUDY)


def check_alike(regimes: dict[str, dict]) -> None:
    """:class:`UserError` unless every λ has the compared models, and the same prompts in the same folds.

    Differences over λ are of one prompt.
    """
    for name, folds in regimes.items():
        if missing := [model for model in dict.fromkeys(itertools.chain(*PAIRS)) if model not in folds["values"]]:
            raise UserError(f"--points: {name} has no measures of {' and '.join(missing)}; finish the run, then report")
    first = next(iter(regimes))
    asked = {
        name: [list(dict.fromkeys(table["prompt"].str.strip())) for table in folds["tables"]] for name, folds in regimes.items()
    }
    if other := next((name for name in asked if asked[name] != asked[first]), None):
        raise UserError(
            f"--points: {other} has not the prompts and folds of {first}, in their order; give every fold at every λ"
        )


def summary(at: dict[float, dict], found: dict[float, dict]) -> tuple:
    """(a row per λ, difference and measure with the correlations there; a row per difference and measure: the slope over λ).

    ``at``: λ -> what :func:`report.read` says of it; ``found``: λ -> :func:`correlations`.
    """
    import pandas as pd

    from diversity_tuning.evaluation.statistics import paired_difference

    rows, slopes, strengths = [], [], np.array(list(at))
    for (one, other), label in PAIRS.items():
        for measure in SHOWN:
            apart = []
            for value, folds in at.items():
                pair = [folds["values"][model][measure] for model in (one, other)]
                apart.append(pair[0] - pair[1])
                own = {"λ": value, "difference": label, "measure": measure, **paired_difference(*pair, nested=True)}
                rows.append(own | {f"{kind}_{part}": x for kind, of in found[value].items() for part, x in of.items()})
            if len(strengths) > 1:
                centred = strengths - strengths.mean()
                slope = np.tensordot(centred, np.stack(apart), axes=1) / (centred**2).sum()
                slopes.append(
                    {"difference": label, "measure": measure, **paired_difference(slope, np.zeros_like(slope), nested=True)}
                )
    return pd.DataFrame(rows), pd.DataFrame(slopes)


def correlations(points: dict[float, list[Path]]) -> dict[float, dict[str, dict[str, float]]]:
    """λ -> kind -> mean and interval of ρ of δ and votes: :data:`TRAINED` over folds and prompts, :data:`ALL` as recorded.

    All responses are the same in every fold but for those that ``--most`` draws: their figures are averaged over folds. The
    votes as given are recorded beside every replaced ones, so that λ = 0 has them from another λ.
    """
    from diversity_tuning.evaluation.statistics import mean_interval

    found, given = {}, []
    for value, folders in points.items():
        found[value] = {
            TRAINED: mean_interval(stacked([pair_correlations(one / "data" / "pairs-both") for one in folders]), nested=True)
        }
        if value:
            told = [_votes(one)["correlation"] for one in folders]
            found[value][ALL] = _mean([one[REPLACED] for one in told])
            given += [one[GIVEN] for one in told]
    if 0.0 in found and given:
        found[0.0][ALL] = _mean(given)
    return found


def _mean(figures: list[dict]) -> dict[str, float]:
    """The means of ``mean``, ``low`` and ``high`` over folds; NaN where a fold has no correlation."""
    return {part: float(np.mean([one.get(part, np.nan) for one in figures])) for part in ("mean", "low", "high")}


def tables(frames: dict) -> list:
    """The difference of DDPO and DPO, and of DPO and SFT, over λ, with the slopes as the last row."""
    from diversity_tuning.evaluation.rendering import NONE, Table, interval, t_words

    made = []
    for label in PAIRS.values():
        rows = []
        for value, own in frames["dial"][frames["dial"]["difference"] == label].groupby("λ"):
            first = own.iloc[0]
            about = [interval(first, f"{kind}_", "+") if f"{kind}_mean" in first else NONE for kind in (ALL, TRAINED)]
            rows.append([f"{value:g}", *about, *(interval(row, sign="+") + t_words(row) for _, row in own.iterrows())])
        if len(frames["slopes"]):
            own = frames["slopes"][frames["slopes"]["difference"] == label]
            rows.append(["slope", NONE, NONE, *(interval(row, sign="+") + t_words(row) for _, row in own.iterrows())])
        note = "Paired by prompt; mean [95% interval over prompts and folds]; t: over folds; slope: for λ from 0 to 1."
        name = "dial" if label == "DDPO − DPO" else "dial-narrowing"
        made.append(Table(name, f"{label} over λ", note, ["λ", ALL, TRAINED, *(MEASURES[one] for one in SHOWN)], rows))
    return made


def draw(rows, path: Path) -> Path:
    """``path``.png: differences in semantic diversity and in reward B against the correlation in training pairs."""
    from diversity_tuning.drawing import BLUE, DARK, GREY, draw_grid, pyplot, save_figure, whiskers

    figure, axes = pyplot().subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for axis, measure in zip(axes, ("semantic_diversity", "reward_b"), strict=True):
        draw_grid(axis)
        axis.axhline(0, color=DARK, lw=0.8)
        for label, colour, marker in zip(PAIRS.values(), (BLUE, GREY), "os", strict=True):
            own = rows[(rows["measure"] == measure) & (rows["difference"] == label)].sort_values(f"{TRAINED}_mean")
            axis.plot(own[f"{TRAINED}_mean"], own["mean"], color=colour, lw=1, alpha=0.5)
            for place, (_, row) in enumerate(own.iterrows()):
                x = {part: row[f"{TRAINED}_{part}"] for part in ("mean", "low", "high")}
                axis.errorbar(
                    x["mean"], row["mean"], xerr=whiskers(x), yerr=whiskers(row), fmt=marker, color=colour, lw=1.1,
                    label=None if place else label,
                )  # fmt: skip
                axis.annotate(
                    f"{row['λ']:g}", (x["mean"], row["mean"]), xytext=(6, 5), textcoords="offset points", color=colour
                )
        axis.set(
            xlabel="Spearman of δ and votes, training pairs\n← votes favour the common",
            ylabel=f"difference in {MEASURES[measure]}",
        )
    axes[0].legend(frameon=False, title="numbers: λ")
    return save_figure(figure, path, ("png",), dpi=130)[0]


if __name__ == "__main__":
    main()
