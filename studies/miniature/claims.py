r"""The outcomes of --claims as docs/LOG.md announced them: one family of four, t over seeds, Holm.

python -m studies.miniature.claims --report runs/miniature/report-claims

Plots and voices: the model minus the concave hull of the others at equal craft. Plots among samples of craft 3 or more, and of
4: the model minus each of the others, of which the one with the greatest p counts, for no mixture per prompt has more than the
best of them. Writes REPORT/claims.csv from the report's fronts.csv and controls.csv.

With --methods the outcomes are theirs, one family: plots and voices of each, minus the same hull at equal craft.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.csvfiles import write_csv
from diversity_tuning.evaluation.statistics import t_interval
from studies.miniature.recognise import GOOD_CRAFT
from studies.results.statistics import holm, t_test_p

MODEL, RIVALS = "ddpo-both", "dpo"
AT_EQUAL_CRAFT = ("distinct_direction", "distinct_voice")
AMONG_GOOD = tuple(f"distinct_direction_craft{least}" for least in GOOD_CRAFT)
CONTROL = "permuted"  # what a model's name begins with that is no rival
_TABLES = ("fronts", "controls")


@command
def main(argv=None) -> None:
    parser = Parser("studies.miniature.claims", __doc__)
    parser.add_argument("--report", required=True, help="folder of the report of --claims")
    parser.add_argument("--methods", nargs="+", default=[], help="those of --claims --methods (default: DDPO's four outcomes)")
    args = parse_with_recipe(parser, argv)
    report = Path(args.report)
    if missing := [name for name in _TABLES if not (report / f"{name}.csv").is_file()]:
        raise UserError(f"{report}: no {missing[0]}.csv; make the report of bash reproduce.sh --claims first")
    tables = [pd.read_csv(report / f"{name}.csv", dtype={"seed": str}) for name in _TABLES]
    if tables[1]["seed"].nunique() == 1:
        print(f"{report}: one seed, of which there is no t; nothing is tested before there are several", flush=True)
        return
    rows = outcomes_of(args.methods, tables[0]) if args.methods else outcomes(*tables)
    write_csv(report / "claims.csv", rows)
    print("\n".join(map(_line, rows.to_dict("records"))), flush=True)


def outcomes(fronts: pd.DataFrame, controls: pd.DataFrame) -> pd.DataFrame:
    """A row per outcome: ``against`` what, mean with its 95% bootstrap interval, t interval over ``seeds``, p, p after Holm.

    ``fronts``, ``controls``: a report's tables of these names. :class:`UserError` where an outcome is not in them.
    """
    found = [
        *(_at_equal_craft(fronts, metric) for metric in AT_EQUAL_CRAFT),
        *(_best_rival(controls, one) for one in AMONG_GOOD),
    ]
    rows = pd.DataFrame(found)
    return rows.assign(holm=holm(rows["p"].to_numpy()))


def outcomes_of(methods: Sequence[str], fronts: pd.DataFrame) -> pd.DataFrame:
    """Plots and voices of each of these at equal craft, as :func:`outcomes` has them, with a column ``model``."""
    found = [{"model": method, **_at_equal_craft(fronts, metric, method)} for method in methods for metric in AT_EQUAL_CRAFT]
    rows = pd.DataFrame(found)
    return rows.assign(holm=holm(rows["p"].to_numpy()))


def _at_equal_craft(fronts: pd.DataFrame, metric: str, model: str = MODEL) -> dict:
    wanted = {"metric": metric, "quality": "craft", "seed": "all", "front": RIVALS}
    own = fronts[(fronts[list(wanted)] == list(wanted.values())).all(axis=1)]
    own = own[own["model"].str.split(" ").str[0] == model]
    if len(own) != 1:
        raise UserError(f"the report has {len(own)} rows of {metric} at equal craft over all seeds for {model}, not one")
    row = own.iloc[0]
    if pd.isna(row["mean"]):
        row = _of_seeds_within(fronts, metric, row)
    return _outcome(metric, f"hull of {row['points']} models", row, int(row["t_seeds"]), 1)


def _of_seeds_within(fronts: pd.DataFrame, metric: str, row: pd.Series) -> pd.Series:
    """Of a model whose mean craft no mixture has: mean and t of those seeds on which some have it, without a bootstrap."""
    wanted = {"metric": metric, "quality": "craft", "front": RIVALS, "model": row["model"]}
    own = fronts[(fronts[list(wanted)] == list(wanted.values())).all(axis=1) & (fronts["seed"] != "all")]
    values = own["mean"].dropna().to_numpy(dtype=float)
    t_low, t_high = t_interval(values[:, None])
    mean = values.mean() if len(values) else float("nan")
    found = pd.Series({"mean": mean, "t_low": t_low, "t_high": t_high, "t_seeds": len(values)})
    return pd.concat([row.drop(list(found.index)), found])


def _best_rival(controls: pd.DataFrame, metric: str) -> dict:
    own = controls[(controls["metric"] == metric) & (controls["seed"] == "all")]
    names = own["difference"].str.split(" − ", expand=True)
    own = own[(names[1].str.split(" ").str[0] == MODEL) & ~names[0].str.startswith(CONTROL)]
    if not len(own):
        raise UserError(f"the report has no differences to {MODEL} in {metric} over all seeds")
    seeds = controls.loc[controls["seed"] != "all", "seed"].nunique()
    rivals = [_outcome(metric, row["difference"].split(" − ")[0], row, seeds, -1) for _, row in own.iterrows()]
    return max(rivals, key=lambda one: (one["mean"] <= 0, one["p"]))


def _outcome(metric: str, against: str, row: pd.Series, seeds: int, sign: int) -> dict:
    """``sign`` −1: the row has the other model minus this one. Where that has no more than a rival, or is no value, p is 1."""
    low, high = sorted((sign * row["low"], sign * row["high"]))
    t_low, t_high = sorted((sign * row["t_low"], sign * row["t_high"]))
    mean = sign * row["mean"]
    known = mean > 0 or (sign > 0 and not pd.isna(mean))
    p = t_test_p((t_low + t_high) / 2, t_low, t_high, seeds) if known and t_high > t_low else 1.0
    return {"outcome": metric, "against": against, "mean": mean, "low": low, "high": high, "t_low": t_low, "t_high": t_high,
            "seeds": seeds, "p": p}  # fmt: skip


def _line(row: dict) -> str:
    own = f"{row['model']}, " if "model" in row else ""
    told = "[{low:+.2f}, {high:+.2f}]" if not pd.isna(row["low"]) else "(its mean craft is beyond the hull: of seeds within)"
    t = "t over {seeds} seeds [{t_low:+.2f}, {t_high:+.2f}]" if not pd.isna(row["t_low"]) else "{seeds} seeds within: no t"
    return (own + "{outcome} − {against}: {mean:+.2f} " + told + ", " + t + ", p {p:.3f}, after Holm {holm:.3f}").format(**row)


if __name__ == "__main__":
    main()
