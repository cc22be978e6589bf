"""Which parts of the table run for which flags: one seed or several, and the kinds of :data:`KINDS`."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diversity_tuning.errors import UserError
from diversity_tuning.objectives import OBJECTIVES
from diversity_tuning.recipe import Recipe, read_recipe
from studies.reproduce import claims, controls, dial, methods, popularity, rlaif, stages
from studies.reproduce.commands import Report, Run
from studies.reproduce.stages import Lanes, Stage, Table

KINDS = ("", "full", "ablation", "controls", "claims", "popularity", "rlaif", "methods", "folds")
METHODS = tuple(one.run for one in OBJECTIVES.values() if one.script)  # whose checkpoints --full samples
_SPLITS = "0_data_prep_scoring"  # the recipe file of the stage that makes the splits
_BASELINES = ("dpo", "ddpo-both")  # what the controls are compared with
_ABLATION = ("ddpo-both:dpo", "ddpo-minimum:ddpo-both", "ddpo-sorted:ddpo-both", "ddpo-both:divpo")


@dataclass(frozen=True)
class Part:
    """Rows of the table for one run; the report's, where the rows are those."""

    run: Run
    rows: tuple[Stage | Lanes, ...]
    report: Report | None = None


def parts(
    run: Run, root: str, kind: str = "", seeds: Sequence[int] = (), values: Sequence[float] = (),
    group: str = "", fixed: Mapping[str, str] | None = None,
) -> Iterator[Part]:  # fmt: skip
    """What `reproduce.sh` runs, in order. ``root``: the folder of all seeds and of the report; ``kind``: of :data:`KINDS`.

    ``seeds``: default ``run``'s own. ``values``: of the kind popularity, in the kind folds of the dial; ``group``: of methods,
    in the kinds folds and claims those on pairs, in the kind folds also ``rlaif``. ``fixed``: methods of one strength, and it
    (:func:`methods.models`).
    """
    table = table_of(run.recipe)
    runs = [dataclasses.replace(run, seed=seed, folder=f"{root}/seed{seed}") for seed in seeds or [run.seed]]
    if (
        run.split == "validation"
        and kind != "folds"
        and run.has(_SPLITS)
        and not _recipe(run, _SPLITS).number("validation_size", 0)
    ):
        raise UserError(f"--split validation: the recipe {run.recipe} makes none; set validation_size in its {_SPLITS}.yaml")
    if kind in ("controls", "ablation") and not _has(table, kind):
        raise UserError(f"--{kind}: the recipe {run.recipe} has none")
    if kind == "rlaif":
        yield from _rlaif(runs, root)
        return
    if kind == "methods":
        yield from _methods(runs, root, group or methods.GROUPS[0], fixed or {})
        return
    if kind == "popularity":
        yield from _popularity(runs, root, values or popularity.VALUES)
        return
    if kind == "folds":
        yield from _folds(runs, root, group, values)
        return
    if kind == "claims":
        yield from _claims(runs, root, group, fixed or {})
        return
    for one in runs:
        yield _part(one, table.seed)
        yield from _more(table, one, kind)
    if kind == "ablation":
        suites = [_suite(one, kind) for one in runs]
        yield _report(table, f"{root}/report-ablation{run.of_split}", suites, _ABLATION, ("--ablation",))
    elif kind == "controls":
        suites = [suite for one in runs for suite in (one, _suite(one, kind))]
        flags = ("--controls", *controls.METHODS, "--baselines", *_BASELINES, "--anchor", "sft")
        yield _report(table, f"{root}/report-controls{run.of_split}", suites, flags=flags)
    else:
        yield _report(table, f"{root}/report{run.of_split}", runs)


def _rlaif(runs: list[Run], root: str) -> Iterator[Part]:
    """GRPO after the stages of each seed; one report of all."""
    first = runs[0]
    if not (first.makes_model and first.has("grpo")):
        hint = "give --folds --rlaif" if first.has("folds") and first.has("grpo") else "GRPO on it: docs/RLAIF.md"
        raise UserError(f"--rlaif: of the miniature, not of the recipe {first.recipe}; {hint}")
    for one in runs:
        yield _part(one, _without(table_of(one.recipe).seed, *rlaif.UNUSED))
        saved = {model: _checkpoints(one, model) for model in ("dpo", "grpo")}
        yield _part(_suite(one, "rlaif"), rlaif.rows(saved))
    results = [f"{one.evaluations()}/{name}/" for one in runs for name in rlaif.COMPARED]
    results += [f"{_suite(one, 'rlaif').evaluations()}/*/" for one in runs]
    folders = tuple(one.folder for one in runs)
    yield Part(first, rlaif.REPORT, Report(f"{root}/report-rlaif{first.of_split}", tuple(results), folders, rlaif.PAIRS))


def _methods(runs: list[Run], root: str, group: str, fixed: Mapping[str, str]) -> Iterator[Part]:
    """The trainings of each seed, every strength of every method on validation prompts, the chosen ones on test prompts."""
    first, own = runs[0], "" if group == methods.GROUPS[0] else f"-{group}"
    if not (first.makes_model and first.has("grpo")):
        raise UserError(f"--methods: of the miniature, not of the recipe {first.recipe}; the methods on it: docs/METHODS.md")
    if first.split:
        raise UserError(
            f"--methods --split {first.split}: strengths are chosen on validation and reported on test; leave it out"
        )
    suites = [_suite(one, f"methods{own}") for one in runs]
    strengths = _strengths(first)
    for one, suite in zip(runs, suites, strict=True):
        methods.check_chosen(one.root / one.folder / f"chosen-{group}", one.root / suite.evaluations(), fixed)
        unused = methods.UNUSED if group == methods.GROUPS[0] else (*methods.UNUSED, "dpo", "orpo")
        yield _part(one, _without(table_of(one.recipe).seed, *unused))
        yield _part(dataclasses.replace(suite, split="validation"), methods.validation_rows(group, strengths, fixed))
        yield _part(suite, methods.test_rows(group))
    table, anchor = table_of(first.recipe), ("--anchor", "sft")
    shown = methods.sampled(methods.validation_rows(group, strengths, fixed)) if fixed else ()
    chosen_on = [dataclasses.replace(suite, split="validation") for suite in suites]
    pairs = methods.to_baseline(group, strengths, fixed)
    yield _report(table, f"{root}/report-methods{own}", suites, methods.COMPARE[group], anchor)
    yield _report(table, f"{root}/report-methods{own}-validation", chosen_on, pairs, anchor, shown)


def _folds(runs: list[Run], root: str, group: str, values: Sequence[float]) -> Iterator[Part]:
    """Every seed a fold, the control in the first alone; other methods or GRPO where ``group`` says so; one report.

    With ``values`` the same texts with other votes, and a report of these; the control then in every fold.
    """
    first, table = runs[0], table_of(runs[0].recipe)
    if not (table.laptop and table.own_data):
        raise UserError(f"--folds: of the recipe smollm2, not of {first.recipe}")
    more = {"": (), methods.GROUPS[0]: stages.FOLDS.methods, "rlaif": stages.FOLDS.rlaif}
    if group not in more:
        raise UserError(f"--folds --methods {group}: on folds there are those on pairs; give --methods alone")
    values = _once("--dial", values)
    *rows, measure = stages.FOLDS.seed
    rows = (*rows, *more[group], measure)
    for one in runs:
        yield _part(one, rows if one is first or values else _without(rows, "permuted"))
    yield Part(first, stages.FOLDS.report, Report(f"{root}/report{first.of_split}", (), tuple(one.folder for one in runs)))
    points = []
    for one in runs:
        for value in values:
            other = dataclasses.replace(one, folder=dial.folder_of(one.folder, value), main=one.folder)
            points.append(f"{value:g}={(other if value else one).folder}")
            if value:
                yield _part(other, dial.rows(value, one))
    if points:
        yield Part(first, dial.REPORT, Report(f"{root}/report-dial{first.of_split}", tuple(points), ()))


def _claims(runs: list[Run], root: str, group: str, fixed: Mapping[str, str]) -> Iterator[Part]:
    """The trainings of each seed that the announced outcomes need, and their report; with a group, other methods as well."""
    first = runs[0]
    if not (first.makes_model and first.has("world")):
        raise UserError(f"--claims: of the miniature, whose plots rules can tell, not of the recipe {first.recipe}")
    if group not in ("", methods.GROUPS[0]):
        raise UserError(f"--claims --methods {group}: no GRPO is trained here; give --methods alone")
    if bool(group) != bool(fixed):
        raise UserError("--claims --methods: name them with their strengths, such as --strengths spl=3 crpo=2")
    suites = [_suite(one, "claims") for one in runs]
    rows = (*claims.rows(_checkpoints(first, "dpo")), *(methods.claims_rows(_strengths(first), fixed) if group else ()))
    for one, suite in zip(runs, suites, strict=True):
        yield _part(one, _without(table_of(one.recipe).seed, *claims.UNUSED))
        yield _part(suite, rows)
    own, place = ("-methods" if group else ""), f"{root}/report-claims"
    compare = ("ddpo-both:dpo", *(f"{method}:{other}" for method in fixed for other in ("dpo", "ddpo-both")))
    made = _report(
        table_of(first.recipe), f"{place}{own}{first.of_split}", suites, compare, claims.FLAGS, methods.sampled(rows)
    )
    yield dataclasses.replace(made, rows=claims.report(tuple(fixed)))


def _popularity(runs: list[Run], root: str, values: Sequence[float]) -> Iterator[Part]:
    """The main run of each seed, then the same texts with other votes; one report of all."""
    first = runs[0]
    if not (first.makes_model and first.has("world")):
        raise UserError(f"--popularity: of the miniature, whose votes are made here, not of the recipe {first.recipe}")
    values = _once("--popularity", values)
    own = _recipe(first, "world").number("popularity", 1.0)
    points = []
    for one in runs:
        yield _part(one, _without(table_of(one.recipe).seed, *popularity.UNUSED))
        for value in values:
            other = dataclasses.replace(one, folder=popularity.folder_of(one.folder, value), main=one.folder)
            points.append(f"{value:g}={(one if value == own else other).folder}")
            if value != own:
                yield _part(other, popularity.rows(value))
    marks = [f"{file.stem}={popularity.MARKS}/{file.name}" for file in sorted((first.root / popularity.MARKS).glob("*.json"))]
    flags = (*(("--split", first.split) if first.split else ()), *(("--mark", *marks) if marks else ()))
    report = Report(f"{root}/report-popularity{first.of_split}", tuple(points), (), flags=flags)
    yield Part(first, popularity.REPORT, report)


def _once(flag: str, values: Sequence[float]) -> list[float]:
    """The numbers as folders and reports name them; :class:`UserError` for one that is there twice or is not finite."""
    shown = list(map("{:g}".format, values))
    if len(set(map(float, shown))) < len(shown) or not all(map(math.isfinite, values)):
        raise UserError(f"{flag} {' '.join(shown)}: give finite numbers of at most six digits, each once")
    return list(map(float, shown))


def _more(table: Table, run: Run, kind: str) -> Iterator[Part]:
    """What a kind of reproduction adds to the rows of one seed."""
    if kind == "full" and table is stages.PAPER:
        yield _part(run, stages.extras({model: _checkpoints(run, model) for model in METHODS}, _divpo_differs(run)))
    if kind == "ablation":
        yield _part(_suite(run, kind), table.ablation)
    if kind == "controls":
        yield _part(run, controls.curve(_checkpoints(run, "dpo")))
        yield _part(_suite(run, kind), controls.controls(_checkpoints(run, "dpo"), _beta(run)))


def _has(table: Table, kind: str) -> bool:
    return table is stages.PAPER if kind == "controls" else bool(table.ablation)


def _suite(run: Run, kind: str) -> Run:
    """The run with a folder of evaluations of its own."""
    return dataclasses.replace(run, suite=f"-{kind}")


def table_of(recipe: str) -> Table:
    """The rows of a recipe: its own table, or the paper's."""
    return stages.TABLES.get(recipe, stages.PAPER)


def _part(run: Run, rows: tuple[Stage | Lanes, ...]) -> Part:
    """The rows that the recipe has files for, and that the engine needs."""

    def kept(sequence):
        return tuple(
            row
            for row in sequence
            if run.has(row.needs) and run.has(row.trained or row.needs) and row.only in (None, run.engine)
        )

    made = (Lanes(tuple(map(kept, row.lanes))) if isinstance(row, Lanes) else row for row in rows)
    return Part(run, tuple(row for row in made if isinstance(row, Lanes) or kept([row])))


def _without(rows: tuple[Stage | Lanes, ...], *words: str) -> tuple[Stage | Lanes, ...]:
    """The rows whose name holds none of the words."""

    def stays(stage: Stage) -> bool:
        return not any(word in stage.name for word in words)

    kept = []
    for row in rows:
        if isinstance(row, Lanes):
            kept.append(Lanes(tuple(tuple(filter(stays, lane)) for lane in row.lanes)))
        elif stays(row):
            kept.append(row)
    return tuple(kept)


def _report(
    table: Table,
    output: str,
    runs: list[Run],
    compare: tuple[str, ...] | None = None,
    flags: tuple[str, ...] = (),
    names: Sequence[str] = (),
) -> Part:
    """The report of some runs, of which several may be of one seed; of these ``names`` alone where others may lie beside."""
    results = tuple(f"{run.evaluations()}/{name}/" for run in runs for name in (sorted(names) or ["*"]))
    folders = tuple(dict.fromkeys(run.folder for run in runs))
    note = ("--note", "synthetic data") if runs[0].has("world") else ()
    report = Report(output, results, folders, flags=(*flags, *note))
    report = dataclasses.replace(report, compare=compare or table.compare)
    return Part(runs[0], table.report, report)


def _checkpoints(run: Run, model: str) -> int:
    """How many checkpoints a training leaves, by the share of it that its recipe saves after."""
    share = _recipe(run, model.partition("-")[0]).number("save_steps", 1)
    return round(1 / share) if 0 < share < 1 else 1


def _divpo_differs(run: Run) -> bool:
    """Whether the recipe's stage 4 has other settings than the released code."""
    recipe = _recipe(run, "4_data_prep_divpo")
    return any(recipe.number(name, released) != released for name, released in stages.RELEASED_DIVPO.items())


def _strengths(run: Run) -> dict[str, float]:
    """β of the recipe's DPO and GRPO, λ of its ORPO."""
    return {name: _recipe(run, name).number("beta", 0.1) for name in ("dpo", "orpo", "grpo")}


def _beta(run: Run) -> float:
    """DPO's β in the recipe; TRL's default where it names none."""
    return _recipe(run, "dpo").number("beta", 0.1)


def _recipe(run: Run, name: str) -> Recipe:
    return read_recipe(Path(run.root) / "recipes" / run.recipe / f"{name}.yaml")
