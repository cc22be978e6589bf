"""The report of a human study: tables as Markdown, CSV and LaTeX, one figure, all numbers as JSON."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.drawing import BLUE, LIGHT, RUST, pyplot, save_figure
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.csvfiles import write_csv
from diversity_tuning.evaluation.rendering import NONE, Table, interval, latex, markdown, p_value
from diversity_tuning.evaluation.scoring.summary import nan_to_none
from diversity_tuning.human_eval import statistics as stats
from diversity_tuning.human_eval.annotations import DIVERSITY, QUALITY, QUESTIONS
from diversity_tuning.runs import write_json, write_text, written_in_place

RESULTS = "human.json"
FILES = ("report.md", "wins.csv", "wins.tex", "wins.png", "wins.pdf", "annotators.csv", "answers.csv", RESULTS)
_NEEDED = ("wins", "net", "alpha", "agree", "position", "answers")
ASKED = {QUALITY: "most interesting, highest-quality story", DIVERSITY: "more diverse set"}
_COLOURS = {"one": (BLUE, "white"), "undecided": (LIGHT, "black"), "other": (RUST, "white")}
_WINS = """\
Each item counts once, for what most of its annotators chose ("undecided" when two choices have equally many, or when most found
it hard to decide).
Shares with 95% Wilson intervals; p: exact two-sided sign test without the undecided. No correction for the number of tests.
"""
_PEOPLE = """\
Net preference: of all answers, share for the first condition minus share for the second, with a 95% interval from drawing
annotators and items anew (crossed bootstrap). Pairs agree: of two annotators of one item, how often they chose the same. α:
Krippendorff's, nominal, over the two conditions and "undecided", with a 95% interval over items; it is near 0, whatever people
agree on, when nearly all choose one condition. Set A: how often the set on the left won, of the items that went to either side;
p: sign test, exact because a coin placed the sets.
"""
_ANNOTATORS = "Answers for the first condition / for the second / hard to decide; median seconds per item with known time.\n"


def analyse(answers: pd.DataFrame) -> list[dict]:
    """One result per pair of conditions and question."""
    results = []
    for pair, of_pair in answers.groupby("pair", sort=False):
        for question in QUESTIONS:
            rows = of_pair[of_pair["question"] == question]
            if rows.empty:
                continue
            one, other = pair
            results.append(
                {
                    "one": one, "other": other, "question": question,
                    "answers": len(rows), "annotators": rows["annotator"].nunique(),
                    "wins": stats.win_rates(rows, one, other),
                    "net": stats.net_preference(rows, one, other),
                    "alpha": stats.agreement(rows),
                    "agree": stats.pairs_agree(rows),
                    "position": stats.position_bias(rows),
                    "labels": rows["answer"].value_counts().sort_index().to_dict(),
                    "by_annotator": stats.annotator_rates(rows, one, other).to_dict("records"),
                }
            )  # fmt: skip
    return results


def write_report(answers: pd.DataFrame, output: Path, figure: bool = True) -> list[dict]:
    """Write report.md, wins.csv, annotators.csv, answers.csv, wins.tex, human.json and the figure; returns the results."""
    results = analyse(answers)
    tables = [wins_table(results), people_table(results), annotator_table(results)]
    with written_in_place(output, "human evaluation", FILES):
        text = "\n".join(["# Human evaluation\n", _overview(answers), *map(markdown, tables)])
        write_csv(output / "wins.csv", pd.DataFrame([_flat(result) for result in results]))
        people = [{**_names(result), **_counts(row)} for result in results for row in result["by_annotator"]]
        write_csv(output / "annotators.csv", pd.DataFrame(people))
        write_csv(output / "answers.csv", answers.drop(columns="pair"))
        write_text(output / "wins.tex", latex(tables[0]))
        write_json(output / RESULTS, nan_to_none(results))
        if figure:
            draw_wins(results, output)
            text += "\n![Win rates](wins.png)\n"
        write_text(output / "report.md", text)
    return results


def _names(result: dict) -> dict:
    return {name: result[name] for name in ("one", "other", "question")}


def _flat(result: dict) -> dict:
    parts = {f"{part}_{name}": x for part in ("net", "alpha", "position") for name, x in result[part].items()}
    shared = {name: result[name] for name in ("answers", "annotators", "agree")}
    return {**_names(result), **shared, **_counts(result["wins"]), **parts}


def _counts(row: dict) -> dict:
    """``one`` and ``other`` are names in a table, so what they won is called otherwise."""
    return {f"{name}_wins" if name in ("one", "other") else name: value for name, value in row.items()}


def _overview(answers: pd.DataFrame) -> str:
    pages = answers.drop_duplicates(["annotator", "id"])
    known = pages["seconds"].dropna()
    per_item = pages.groupby("id").size()
    lines = [f"{pages['annotator'].nunique()} annotators, {len(per_item)} items, {len(pages)} pages answered"]
    lines.append(f"{per_item.min()} to {per_item.max()} annotators per item (median {per_item.median():g})")
    partial = len(pages) * len(QUESTIONS) - len(answers)
    if partial:
        lines.append(f"{partial} questions were left without an answer on these pages")
    if len(known):
        low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
        lines.append(f"seconds per page: median {middle:.0f}, quartiles {low:.0f} and {high:.0f}, known for {len(known)} pages")
    return "".join(f"- {line}\n" for line in lines)


def human_tables(folders: list[Path]) -> list[Table]:
    """Win rates and agreement of analysed studies, for a report with other tables; empty for no folder."""
    results = [result for folder in folders for result in _read(folder)]
    return [wins_table(results), people_table(results)] if results else []


def _read(folder: Path) -> list[dict]:
    def with_nan(found: dict) -> dict:
        return {key: float("nan") if value is None else value for key, value in found.items()}

    try:
        results = json.loads((folder / RESULTS).read_text(encoding="utf-8"), object_hook=with_nan)
        return [{name: result[name] for name in (*_NEEDED, "question", "one", "other")} for result in results]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder}: no {RESULTS} written by scripts_eval.human_eval_analysis") from None


def wins_table(results: list[dict]) -> Table:
    """As in the paper: who won, by question."""
    rows = []
    for result in results:
        wins = result["wins"]
        undecided = f"{_percent(stats.share(wins['undecided'], wins['items'])['mean'])}"
        parts = [[_percent(wins[f"{side}_{part}"]) for part in ("mean", "low", "high")] for side in ("one", "other")]
        sides = [f"{mean} [{low}, {high}]" for mean, low, high in parts]
        label = [f"{result['one']} against {result['other']}", ASKED[result["question"]]]
        rows.append([*label, *sides, undecided, str(wins["items"]), p_value(wins["p"])])
    header = ["conditions", "question", "first", "second", "undecided", "items", "p"]
    return Table("human", "Win rates", _WINS, header, rows)


def people_table(results: list[dict]) -> Table:
    """What hides behind the majorities: annotators, agreement, position."""
    rows = []
    for result in results:
        position = result["position"]
        shown = f"{position['a']} of {position['a'] + position['b']}, {p_value(position['p'])}"
        label = [f"{result['one']} against {result['other']}", ASKED[result["question"]]]
        rows.append([*label, str(result["answers"]), interval(result["net"], sign="+", digits=2)])
        rows[-1] += [_percent(result["agree"]), interval(result["alpha"], digits=2), shown]
    header = ["conditions", "question", "answers", "net preference", "pairs agree", "α", "Set A"]
    return Table("human_people", "Annotators, agreement and position", _PEOPLE, header, rows)


def annotator_table(results: list[dict]) -> Table:
    """One row per annotator and pair, one column per question."""
    cells: dict[tuple, dict[str, str]] = {}
    for result in results:
        for row in result["by_annotator"]:
            counts = f"{row['one']} / {row['other']} / {row['undecided']}"
            cell = cells.setdefault((row["annotator"], result["one"], result["other"]), {})
            cell[result["question"]] = counts
            cell["seconds"] = NONE if np.isnan(row["seconds"]) else f"{row['seconds']:.0f}"
    rows = [
        [str(number), f"{one} against {other}", *(cell.get(name, NONE) for name in (*QUESTIONS, "seconds"))]
        for (number, one, other), cell in sorted(cells.items())
    ]
    return Table("human_annotators", "By annotator", _ANNOTATORS, ["annotator", "conditions", *QUESTIONS, "seconds"], rows)


def _percent(value: float) -> str:
    return NONE if np.isnan(value) else f"{value:.0%}"


def draw_wins(results: list[dict], folder: Path) -> list[Path]:
    """Write ``wins.png`` and ``.pdf``: one bar per pair and question, first condition | undecided | second condition."""
    figure, axis = pyplot().subplots(figsize=(8, 0.9 + 0.62 * len(results)), layout="constrained")
    for row, result in enumerate(results):
        wins, left = result["wins"], 0.0
        for side, (colour, ink) in _COLOURS.items():
            width = wins[side] / wins["items"]
            axis.barh(row, width, left=left, height=0.55, color=colour)
            if width > 0.045:
                axis.text(left + width / 2, row, f"{width:.0%}", ha="center", va="center", color=ink)
            left += width
        # Where each condition's bar could end: above it for the first, below it for the second.
        for start, sign, side in ((0, 1, "one"), (1, -1, "other")):
            ends = [start + sign * wins[f"{side}_{part}"] for part in ("low", "high")]
            axis.plot(ends, [row - sign * 0.35] * 2, color=_COLOURS[side][0], lw=1.5, solid_capstyle="butt")
        axis.text(1.01, row, f"{p_value(wins['p'])}\nn = {wins['items']}", va="center", fontsize=8)
    labels = [f"{result['one']} (blue), {result['other']} (red)\n{ASKED[result['question']]}" for result in results]
    axis.set(
        yticks=range(len(results)), yticklabels=labels, xlim=(0, 1), xlabel="share of items; lines: 95% interval of each share"
    )
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.invert_yaxis()
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    return save_figure(figure, folder / "wins")
