"""Which parts of the table run for which flags: one seed, --full, --ablation."""

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diversity_tuning.errors import UserError
from diversity_tuning.reproduce import stages
from diversity_tuning.reproduce.commands import Report, Run
from diversity_tuning.reproduce.horror import HORROR
from diversity_tuning.reproduce.stages import Lanes, Stage, Table

stages.TABLES.setdefault("horror", HORROR)

METHODS = ("dpo", "ddpo-both", "orpo", "dorpo-both")
_ABLATION = ("ddpo-both:dpo", "ddpo-minimum:ddpo-both", "ddpo-sorted:ddpo-both", "ddpo-both:divpo")


@dataclass(frozen=True)
class Part:
    """Rows of the table for one run; the report's, where the rows are those."""

    run: Run
    rows: tuple[Stage | Lanes, ...]
    report: Report | None = None


def parts(run: Run, root: str, full: bool = False, ablation: bool = False) -> Iterator[Part]:
    """What `reproduce.sh` runs, in order. ``run``: the first seed; ``root``: the folder of all seeds and of the report."""
    table = table_of(run.recipe)
    if ablation:
        if table.ablation is None:
            raise UserError(f"--ablation: the recipe {run.recipe} has none")
        fewer = dataclasses.replace(run, suite="-ablation")
        yield _part(run, table.seed)
        yield _part(fewer, table.ablation)
        yield _report(table, f"{root}/report-ablation", [fewer], _ABLATION, ("--ablation",))
        return
    if not full:
        yield _part(run, table.seed)
        yield _report(table, f"{root}/report", [run])
        return
    runs = [dataclasses.replace(run, seed=seed, folder=f"{root}/seed{seed}") for seed in range(3)]
    for one in runs:
        yield _part(one, table.seed)
        if table.extras:
            yield _part(one, table.extras({model: _checkpoints(one, model) for model in METHODS}))
    yield _report(table, f"{root}/report", runs)
    control = dataclasses.replace(run, recipe=f"{run.recipe}-control", seed=0, folder=f"{root}-control/seed0")
    if (run.root / "recipes" / control.recipe).is_dir():
        yield _part(control, _without(table.seed, "orpo"))
        yield _report(table, f"{root}-control/report", [control], ("ddpo-both:dpo",))


def table_of(recipe: str) -> Table:
    """The rows of a recipe: its own table, or the paper's."""
    return stages.TABLES.get(recipe, stages.PAPER)


def _part(run: Run, rows: tuple[Stage | Lanes, ...]) -> Part:
    """The rows that the recipe has files for, and that the engine needs."""

    def kept(sequence):
        return tuple(row for row in sequence if run.has(row.needs) and row.only in (None, run.engine))

    return Part(run, tuple(Lanes(tuple(map(kept, row.lanes))) if isinstance(row, Lanes) else row for row in _kept(rows, kept)))


def _kept(rows, kept) -> Iterator[Stage | Lanes]:
    for row in rows:
        if isinstance(row, Lanes) or kept([row]):
            yield row


def _without(rows: tuple[Stage | Lanes, ...], word: str) -> tuple[Stage | Lanes, ...]:
    """The rows whose name does not hold the word."""
    kept = []
    for row in rows:
        if isinstance(row, Lanes):
            kept.append(Lanes(tuple(tuple(stage for stage in lane if word not in stage.name) for lane in row.lanes)))
        elif word not in row.name:
            kept.append(row)
    return tuple(kept)


def _report(
    table: Table, output: str, runs: list[Run], compare: tuple[str, ...] | None = None, flags: tuple[str, ...] = ()
) -> Part:
    results, folders = tuple(f"{run.evaluations()}/*/" for run in runs), tuple(run.folder for run in runs)
    report = Report(output, results, folders, flags=flags)
    report = dataclasses.replace(report, compare=compare) if compare else report
    return Part(runs[0], table.report, report)


def _checkpoints(run: Run, model: str) -> int:
    """How many checkpoints a training leaves, by the share of it that its recipe saves after."""
    recipe = model.partition("-")[0]
    text = (Path(run.root) / "recipes" / run.recipe / f"{recipe}.yaml").read_text(encoding="utf-8")
    share = re.search(r"^save_steps: *(0?\.\d+)", text, re.MULTILINE)
    return round(1 / float(share[1])) if share else 1
