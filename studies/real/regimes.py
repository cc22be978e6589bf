r"""One table and one figure of several reports: every set of votes, every method, minus DPO.

    python -m studies.real.regimes --reports ocsai=results/real ocsai=results/real-methods ocsai=results/real-controls \
        captions=results/real-dial captions=results/real-dial-0.3 storyer=results/real-storyer --output runs/real/regimes

Reads the tables that ``studies.real.report`` and ``studies.real.dial_report`` write: no run is needed. Reports of one name are
of one set of votes: what stands in several is taken from the first.
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.real.regimes")

import io
from pathlib import Path

import numpy as np

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.errors import UserError
from studies.real.measure import MEASURES
from studies.real.report import COMPARED, HULL, OVER_HULL, STUDY, WEIGHTED, X, Y, fold_values, label, over_hull
from studies.report import read_text, write_report

SHOWN = ("semantic_diversity", "reward_b", "lints")
ABOVE = "above_mixtures"  # of the first model of a difference from DPO, in semantic diversity
DRAWN = {
    **{measure: f"difference in {MEASURES[measure]}" for measure in SHOWN[:2]},
    ABOVE: f"{MEASURES[Y[0]]} above mixtures",
}
HOTTER = "dpo-t1.1"
# From DPO first, then from what else was trained on votes.
PAIRS = [
    *((one, other) for one, other in COMPARED if "dpo" in (one, other)),
    (HOTTER, "dpo"),
    *((one, other) for one, other in COMPARED if other in (HOTTER, "orpo", "grpo")),
]
NOTE = (
    "Paired by prompt; mean [95% interval over prompts and folds]; t: Student's interval over the folds, where there are two"
    " or more. Reward B: in standard deviations within a prompt, of votes that nothing was trained on. Above mixtures: semantic"
    " diversity of the first model above the concave hull of SFT and DPO, each also hotter, and of DPO with other β or fewer"
    " updates where the report has them, at the same reward B, which mixtures of two of these reach. Each"
    " report has its own hull. No correction for the number of comparisons. What stands in several reports of the same votes is"
    " of the first (`report` in regimes.csv)."
)


@command
def main(argv=None) -> None:
    parser = Parser("studies.real.regimes", __doc__)
    parser.add_argument(
        "--reports", nargs="+", required=True, metavar="NAME=FOLDER", help="what votes these are, and the report"
    )
    parser.add_argument("--output", required=True, help="folder for report.md, regimes.csv and regimes.png")
    args = parse_with_recipe(parser, argv)
    rows = read(args.reports)
    told = write_report(
        args.output,
        "real_regimes",
        {"reports": args.reports},
        "Real votes: all regimes, all methods",
        [table(rows)],
        lambda folder: [(draw(rows, folder / "regimes"), "differences from DPO, regime by regime")],
        {"regimes": rows},
        {regime: int(own["prompts"].max()) for regime, own in rows.groupby("regime", sort=False)},
        page=False,
    )
    print(told, flush=True)


def read(reports: list[str]):
    """A row for each regime, difference of :data:`PAIRS` and measure of :data:`SHOWN`, with its prompts and folds.

    To differences from DPO of :data:`OVER_HULL`, at one temperature, another row, :data:`ABOVE`.

    ``reports``: ``NAME=FOLDER`` each. A word of another form, a folder without the values by prompt and reports with nothing
    to compare are a :class:`UserError`. A regime goes by the report's name, followed by its own where it has another
    (``captions, λ 0``); those of one name stand in the order of these, whichever report they are of.
    """
    import pandas as pd

    found = {}
    for word in reports:
        name, equals, folder = word.partition("=")
        if not (name and equals and folder):
            raise UserError(f"--reports {word}: expected NAME=FOLDER, such as ocsai=results/real")
        table = pd.read_csv(io.StringIO(read_text(Path(folder) / "prompts.csv", STUDY)))
        if lacking := [column for column in ("regime", "seed", "model", "prompt", *SHOWN) if column not in table]:
            raise UserError(f"{folder}/prompts.csv: without {', '.join(lacking)}; expected what studies.real.report writes")
        for regime, own in table.groupby("regime", sort=False):
            told = found.setdefault(name, {}).setdefault(name if regime == name else f"{name}, {regime}", {})
            for pair, rows in differences([fold for _, fold in own.groupby("seed", sort=False)]).items():
                told.setdefault(pair, [row | {"report": folder} for row in rows])
    found = {regime: of[regime] for of in found.values() for regime in sorted(of)}
    if not any(found.values()):
        raise UserError(
            f"--reports {' '.join(reports)}: no two of the models to compare are in any of them; nothing to compare"
        )
    ordered = [(regime, pair, row) for regime, own in found.items() for pair in PAIRS for row in own.get(pair, ())]
    return pd.DataFrame([{"regime": regime, "models": " - ".join(pair), **row} for regime, pair, row in ordered])


def differences(folds: list) -> dict[tuple[str, str], list[dict]]:
    """Pair -> a row for each measure, :data:`ABOVE` too, of pairs whose models are there; ``folds``: values by prompt."""
    from diversity_tuning.evaluation.statistics import paired_difference

    there, found = {model for fold in folds for model in fold["model"]}, {}
    of_hull = {
        model: {measure: fold_values(folds, model, measure) for measure in (X, Y[0])}
        for model in sorted(there & {*HULL, *OVER_HULL})
    }
    for pair in PAIRS:
        if not there.issuperset(pair):
            continue
        for measure in SHOWN:
            one, other = (fold_values(folds, model, measure) for model in pair)
            both = ~np.isnan(one - other)
            row = {"measure": measure, "prompts": int(both.sum()), "folds": int(both.any(axis=1).sum())}
            found.setdefault(pair, []).append(row | paired_difference(one, other, nested=True))
        if pair[0] in OVER_HULL and pair[1] == (HOTTER if pair[0].endswith("-t1.1") else "dpo"):
            counts = {key: found[pair][0][key] for key in ("prompts", "folds")}
            found[pair].append({"measure": ABOVE, **counts, **over_hull(of_hull, pair[0], Y[0])})
    return found


def labels(pair: str) -> str:
    """``DDPO − DPO`` of ``ddpo - dpo``."""
    return " − ".join(map(label, pair.split(" - ")))


def table(rows):
    """A row for each regime and difference."""
    from diversity_tuning.evaluation.rendering import NONE, Table, interval, t_words

    made = []
    for (regime, pair), own in rows.groupby(["regime", "models"], sort=False):
        first, by_measure = own.iloc[0], own.set_index("measure")
        there = (by_measure.loc[key] if key in by_measure.index else None for key in (*SHOWN, ABOVE))
        cells = (NONE if row is None else interval(row, sign="+") + t_words(row) for row in there)
        made.append([regime, labels(pair), f"{first['prompts']}", f"{first['folds']}", *cells])
    header = ["votes", "models", "prompts", "folds", *(MEASURES[key] for key in SHOWN), DRAWN[ABOVE]]
    return Table("regimes", "Differences", NOTE, header, made)


def draw(rows, path: Path) -> Path:
    """``path``.png: a line for each regime and difference; thick: bootstrap over prompts and folds, thin: t over three."""
    from diversity_tuning.drawing import DARK, GREY, VERMILION, pyplot, save_figure

    regimes = list(rows.groupby("regime", sort=False))
    sizes = [own["models"].nunique() for _, own in regimes]
    figure, axes = pyplot().subplots(
        len(regimes), len(DRAWN), figsize=(13, 0.9 + 0.24 * sum(sizes) + 0.45 * len(sizes)), layout="constrained",
        squeeze=False, sharex="col", height_ratios=[size + 0.6 for size in sizes],
    )  # fmt: skip
    for (regime, own), line in zip(regimes, axes, strict=True):
        pairs = list(dict.fromkeys(own["models"]))
        for axis, measure in zip(line, DRAWN, strict=True):
            axis.axvline(0, color=DARK, lw=0.8)
            for _, row in own[own["measure"] == measure].iterrows():
                at, colour = pairs.index(row["models"]), VERMILION if tuple(row["models"].split(" - ")) in WEIGHTED else GREY
                axis.plot([row["low"], row["high"]], [at, at], color=colour, lw=3.5, alpha=0.55, solid_capstyle="butt")
                if row["folds"] > 2:  # over two it is a dozen standard errors wide: nothing else would be seen
                    axis.plot([row["t_low"], row["t_high"]], [at, at], color=colour, lw=1.1)
                axis.plot(row["mean"], at, "o", color=colour, ms=4.5)
            axis.set(ylim=(len(pairs) - 0.4, -0.6), yticks=range(len(pairs)))
            axis.set_yticklabels([labels(pair) for pair in pairs] if axis is line[0] else [])
            axis.tick_params(axis="y", length=0, labelsize=8)
            axis.spines[["top", "right", "left"]].set_visible(False)
            axis.grid(axis="x", alpha=0.25)
        folds = sorted(set(own["folds"]))
        told = f"{folds[0]} to {folds[-1]} folds" if len(folds) > 1 else f"{folds[0]} fold" + "s" * (folds[0] > 1)
        line[0].set_title(f"{regime}: up to {own['prompts'].max()} prompts, {told}", loc="left", fontsize=9)
    for axis, words in zip(axes[-1], DRAWN.values(), strict=True):
        axis.set_xlabel(words)
    return save_figure(figure, path, ("png",), dpi=130)[0]


if __name__ == "__main__":
    main()
