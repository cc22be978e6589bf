"""What a reproduction ends with: a table that fits 100 columns, where the figure and the report lie, and what to run next."""

import argparse
import csv
import re
import shlex
from pathlib import Path

from diversity_tuning.objectives import OBJECTIVES
from diversity_tuning.selections import selections_of
from studies.reproduce.methods import GROUPS
from studies.reproduce.plans import Part, table_of
from studies.reproduce.stages import PAPER, TABLES

# Label of a run in the report's models.csv: what the table calls it.
ROWS = {
    "synthetic authors": "synthetic authors", "references": "references", "gold": "synthetic authors",
    "untouched": "untouched", "sft": "SFT", **{one.run: one.label for one in OBJECTIVES.values()},
}  # fmt: skip
ROWS |= {
    "grpo": "GRPO", "grpo-advantage": "GRPO, δ", "grpo-darling": "GRPO, DARLING", "grpo-judge": "GRPO, judge",
    "crpo": "CrPO", **{name: one.label for name, one in selections_of(needs_vectors=True).items()},
    "grpo-dra": "GRPO, DRA", "grpo-rare": "GRPO, rare", "grpo-dpwriter": "GRPO, DPWriter",
}  # fmt: skip
COLUMNS = {
    "reddit_reward": "reward",
    "reward_b": "reward B",  # of --folds
    "semantic_diversity": "semantic diversity",
    "style_diversity": "style diversity",
    "distinct_k": "distinct samples",
}
RLAIF_COLUMNS = {"reddit_reward": "reward", "craft": "craft", "semantic_diversity": "semantic", "style_diversity": "style"}
_TWO_DIGITS = ("distinct_k", "craft")
WIDTH = 100
_FIGURES = ("ablation.png", "popularity.png", "reward_diversity.png", "training.png", "captions.png")


def print_ending(parts: list[Part], root: Path, args: argparse.Namespace) -> None:
    """Print table, paths, next commands. The first report is the main one; a control's or that of all strengths comes after."""
    reports = [part.report.output for part in parts if part.report]
    if not reports:
        return
    models, columns = root / reports[0] / "models.csv", RLAIF_COLUMNS if args.rlaif and args.folds is None else COLUMNS
    print("\n".join(["", *(table(models, columns) if models.is_file() else []), ""]))
    print("\n".join([*paths(root, reports[0]), *(f"further  {other}/report.html" for other in reports[1:]), ""]))
    print("\n".join(following(args)))


def table(models: Path, shown: dict[str, str] = COLUMNS) -> list[str]:
    """The rows there are, mean and 95% interval, of a report's models.csv; over all seeds where there are several."""
    with models.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    of_folds = rows and "measure" in rows[0]  # a row a measure
    rows = _wide(rows) if of_folds else rows
    seeds = {row["seed"] for row in rows if row["seed"] not in ("", "all")}
    named = {} if of_folds else ROWS
    found = [(label, row) for name, label in named.items() if (row := _row(rows, name, len(seeds) > 1))]
    if len(found) < 2:  # most of an ablation's models have other names
        found = [(row["model"], row) for row in rows if row["seed"] == "all" or len(seeds) < 2]
    columns = [name for name in shown if any(row.get(f"{name}_mean") for _, row in found)]
    lines = [
        ["", *(shown[name] for name in columns)],
        *([label, *(_interval(row, name) for name in columns)] for label, row in found),
    ]
    lines = [line[: _fitting(lines)] for line in lines]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    several = "" if len(seeds) < 2 else f", {len(seeds)} seeds"
    return [*texts, f"Mean over prompts{several} [95% interval]. Diversity: mean distance between the samples of a prompt."]


def _wide(rows: list[dict]) -> list[dict]:
    """One row a model, of rows of one measure each."""
    found: dict[tuple[str, str], dict] = {}
    for row in rows:
        own = found.setdefault((row["regime"], row["model"]), {"model": row["model"], "seed": ""})
        own |= {f"{row['measure']}_{part}": row[part] for part in ("mean", "low", "high")}
    return list(found.values())


def _fitting(lines: list[list[str]]) -> int:
    """How many columns fit the width."""
    total = 0
    for place, cells in enumerate(zip(*lines, strict=True)):
        total += max(map(len, cells)) + (2 if place else 0)
        if total > WIDTH:
            return place
    return len(lines[0])


def _row(rows: list[dict], name: str, several: bool) -> dict | None:
    """The row of a model trained to its end; over all seeds where there are several and it has them."""
    own = [row for row in rows if row["model"] in (name, f"{name} (1)")]
    return next((row for row in own if row["seed"] == "all"), own[0] if own else None) if several else own[0] if own else None


def _interval(row: dict, name: str) -> str:
    values = [row.get(f"{name}_{part}") for part in ("mean", "low", "high")]
    if not all(values):
        return "–"
    digits = 2 if name in _TWO_DIGITS else 3
    mean, low, high = (re.sub(r"^(-?)0\.", r"\1.", f"{float(value):.{digits}f}") for value in values)
    return f"{mean} [{low}, {high}]"


def paths(root: Path, report: str) -> list[str]:
    """Where figure and report lie."""
    figures = [name for name in _FIGURES if (root / report / name).is_file()]
    has_page = (root / report / "report.html").is_file() or not (root / report / "report.md").is_file()
    page = "report.html (all tables: report.md)" if has_page else "report.md"
    return [*(f"figure   {report}/{name}" for name in figures), f"report   {report}/{page}"]


def following(args: argparse.Namespace) -> list[str]:
    """The commands that make sense after these flags, for a recipe that has them."""
    base = f"bash reproduce.sh --recipe {shlex.quote(args.recipe)}" if args.recipe != "miniature" else "bash reproduce.sh"
    base += f" --source {shlex.quote(args.source)}" if args.source else ""
    more = f" --out {shlex.quote(args.out)}" if args.out else ""
    own = table_of(args.recipe)
    lines = []
    if args.methods and args.folds is None:
        group = "" if args.methods == GROUPS[0] else f" {args.methods}"
        told = f" --strengths {' '.join(args.strengths)}" if args.strengths else ""
        again = f"{base}{' --claims' if args.claims else ''} --methods{group}{told}"
        seeds = ("8 9 10", "seeds 8 to 10") if args.claims else ("0 1 2", "three seeds")
        several = [(f"{again} --seeds {seeds[0]}{more}", seeds[1])] if len(args.seeds or ()) < 2 else []
        return _aligned([*several, ("less docs/METHODS.md", "what each method is")])
    if args.rlaif and args.folds is None:
        return _aligned(
            [(f"{base} --rlaif --seeds 0 1 2{more}", "three seeds"), ("less docs/RLAIF.md", "what the numbers mean")]
        )
    if own.laptop and own.own_data:
        if args.size != "full":
            lines.append((f"{base} --size full{more}", "the whole of the recipe"))
        lines.append((f"{base} --folds --seeds 0 1 2 --dry_run", "does weighting pay on these votes: docs/REAL.md"))
    elif not args.full:
        lines.append((f"{base} --full{more}", "three seeds, DivPO, more" if own is PAPER else "seeds 0 to 2"))
    if not args.controls and args.recipe not in TABLES:
        lines.append((f"{base} --controls{more}", "other weights and ways to sample"))
    if not args.ablation and own.ablation:
        lines.append((f"{base} --ablation{more}", "fewer responses (figure 3)"))
    if args.recipe == "miniature":
        if args.popularity is None:
            lines.append((f"{base} --popularity{more}", "other votes on the same texts"))
        lines.append(("bash reproduce.sh --recipe llama-3.1-8b --dry_run", "the 8B model: docs/RUN_8B.md"))
        lines.append(("source .venv/bin/activate", "then the README's commands"))
    else:
        folder = f"{args.out or f'runs/{args.recipe}'}/seed{args.seed}"
        lines += [(text.format(run=shlex.quote(folder)), what) for text, what in own.after]
    return _aligned(lines)


def _aligned(lines: list[tuple[str, str]]) -> list[str]:
    width = max(len(command) for command, _ in lines)
    return [f"{'next' if i == 0 else '':9}{command.ljust(width)}  {what}" for i, (command, what) in enumerate(lines)]
