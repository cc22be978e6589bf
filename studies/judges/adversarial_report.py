"""The report of Path B: agreement by round as figure and table, the best principles, and how the rules changed."""

import html
import itertools
from pathlib import Path

from diversity_tuning.drawing import BLUE, GREEN, PINK, VERMILION, pyplot, save_figure
from diversity_tuning.evaluation.page import write_pages
from diversity_tuning.evaluation.rendering import Table
from diversity_tuning.judging.agreement import draw_figures, shown
from diversity_tuning.runs import write_text

_SHOWN = {"accuracy": BLUE, "accuracy_by_length": VERMILION, "f1": GREEN, "f1_by_length": PINK}


def write_report(rounds: list[dict], best: int, folder: Path, settings: dict) -> None:
    """Write ``curve.png``, ``report.md`` and ``report.html``; ``best`` is the number of the chosen round."""
    plot_rounds(rounds, best, folder / "curve.png")
    changes = [_change(old, new) for old, new in itertools.pairwise(rounds)]
    rules = "".join(f"<li>{html.escape(rule)}</li>" for rule in rounds[best]["principles"])
    told = ""
    for number, change in enumerate(changes, start=1):
        told += f"<h3>Round {number}</h3>" + "".join(f"<p>{kind}</p>{_moved(moved)}" for kind, moved in change.items())
    sections = {"Principles": f"<p>Of round {best}, the best.</p><ol>{rules}</ol>", "Rounds": told}
    model = settings.get("model") or "a local model"
    lines = [
        f"Judge: {model}{' (a simulated LLM)' if model == 'simulated' else ''}. {len(rounds) - 1} rounds, round {best} is the"
        " best.",
        "The best round is chosen by these labels, so that its own figures flatter it. scripts_eval.judge_agreement with other "
        "labels does not.",
    ]
    figures = [(folder / "curve.png", "agreement by round")]
    write_pages(folder, "Principles of a judge", [agreement_table(rounds, best)], figures, lines, sections=sections)
    text = (folder / "report.md").read_text(encoding="utf-8")
    write_text(folder / "report.md", f"{text}\n{_rules(rounds, best, changes)}")


def plot_rounds(rounds: list[dict], best: int, path: Path) -> None:
    """Accuracy and F1 by round, whole and balanced by length, with 95% intervals; the best round marked."""
    figure, axis = pyplot().subplots(figsize=(7, 3.8), layout="constrained")
    for place, (name, color) in enumerate(_SHOWN.items()):
        spots = [one["round"] + 0.06 * (place - 1.5) for one in rounds]
        label = name.replace("f1", "F1").replace("_by_length", ", balanced by length")
        draw_figures(axis, spots, [one["scores"][name] for one in rounds], color, label, "o-", 3)
    axis.axvline(best, color="grey", lw=0.8, ls=":")
    scores = rounds[best]["scores"]
    axis.set_title(f"agreement with {scores['n']} held-out labels, 95% over prompts; dotted: the best round", fontsize=9)
    axis.set_xticks([one["round"] for one in rounds])
    axis.set(xlabel="round", ylim=(0, 1.02))
    axis.legend(frameon=False, fontsize=8, loc="lower right")
    save_figure(figure, path.with_suffix(""), ("png",), dpi=150)


def agreement_table(rounds: list[dict], best: int) -> Table:
    """A row a round."""
    header = ["round", "accuracy", "by length", "F1", "by length", "judged good"]
    header += ["fooled", "erred", "principles", "failed", "calls"]
    rows = []
    for one in rounds:
        found = one["scores"]
        rows.append([
            f"{one['round']}{' (best)' if one['round'] == best else ''}", *(shown(found[name]) for name in _SHOWN),
            f"{found['judged_good']:.2f}", f"{one['fooled']}/{one['written']}", f"{one['erred']}/{one['judged']}",
            str(len(one["principles"])), str(sum(one["failed"].values())), str(one["calls"]),
        ])  # fmt: skip
    note = (
        "Agreement of the principles after each round with the held-out labels; round 0 has those to begin with. By length: "
        "the mean over quarters of length that hold both labels. Fooled: flawed responses of the generator that were judged "
        "good; erred: labelled rows that were judged wrongly. Calls: to the LLM in this round, paid for before or not.\n"
    )
    return Table("agreement", "Agreement by round", note, header, rows)


def _change(old: dict, new: dict) -> dict[str, list[tuple[str, str]]]:
    """For principles and strategies, the rules that went (-), came (+) and stayed ( )."""
    return {
        kind: [
            *(("-", rule) for rule in old[kind] if rule not in new[kind]),
            *(("+" if rule not in old[kind] else " ", rule) for rule in new[kind]),
        ]
        for kind in ("principles", "strategies")
    }


def _rules(rounds: list[dict], best: int, changes: list[dict]) -> str:
    """The principles and how they changed, in Markdown."""
    parts = [f"## Principles of round {best}"]
    parts.append("\n".join(f"{number}. {_plain(rule)}" for number, rule in enumerate(rounds[best]["principles"], start=1)))
    for number, change in enumerate(changes, start=1):
        parts.append(f"## Round {number}")
        for kind, rules in change.items():
            moved = [f"{sign} {_plain(rule)}" for sign, rule in rules if sign != " "]
            fence = "`" * 8
            parts.append(f"{kind}:\n\n{fence}diff\n" + "\n".join(moved or ["  (none changed)"]) + f"\n{fence}")
    return "\n\n".join(parts) + "\n"


def _plain(rule: str) -> str:
    """One line, without what Markdown would take for a tag."""
    return " ".join(rule.split()).replace("<", "\\<").replace("`" * 8, "'")


def _moved(rules: list[tuple[str, str]]) -> str:
    tags = {"-": "del", "+": "ins"}
    moved = [f"<{tags[sign]}>{sign} {html.escape(rule)}</{tags[sign]}>" for sign, rule in rules if sign in tags]
    return "".join(moved) or "<p>none changed</p>"
