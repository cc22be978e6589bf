"""The results folder: a table, a provenance and the reports of each study, and an index of all runs in README.md."""

import csv
import gzip
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from diversity_tuning.data.schema import PROMPT, PROMPT_ID, REDDIT_REWARD
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.csvfiles import read_csv, write_csv
from diversity_tuning.evaluation.diagnostics import KEY, by_record, shown_name
from diversity_tuning.evaluation.files import DIGEST, METRICS, PROMPTS, SCORES, read_metrics
from diversity_tuning.evaluation.rendering import NONE, interval
from diversity_tuning.evaluation.report.build import FOLDERS, RUNS, SETTINGS
from diversity_tuning.evaluation.report.runs import (
    COMMON,
    LABELS,
    RUN,
    SAMPLES_TABLE,
    STAGE,
    TABLE,
    read_study,
    read_table,
)
from diversity_tuning.outputs import check_ours, check_place, read_provenance
from diversity_tuning.public import as_text, table_lines
from diversity_tuning.runs import PROVENANCE, library_versions, write_text

MARK = "<!-- From here on written by python -m scripts_eval.leaderboard -->"
REPORT_FILES = ("report.md", "*.csv", "*.png", "*.json")  # of a report, what is published
_KEPT = ("counts", "means", "command", "distinct_k", "samples_per_prompt", "split", "quality_threshold", KEY)  # of metrics.json


def study_folder(results: Path, study: str) -> Path:
    """The study's folder right below ``results``. :class:`UserError` for a name, or a link, that leads elsewhere."""
    folder = results / study
    below = folder.resolve().parent == results.resolve()
    if Path(study).name != study or study.startswith(".") or not below:
        raise UserError(f"--study {study}: give the name of one folder in {results}, nothing is written outside it")
    return folder


def publish(runs: list[Path], study: Path) -> list[str]:
    """Add scored runs to a study, without their texts, in the place of those of the same name. Returns their names.

    Values per prompt and labels per sample go into the study's tables, counts, means, settings and inputs into a record of its
    provenance.
    """
    check_place(study)
    made = read_study(study)
    of_prompts, of_samples = read_table(study), read_table(study, SAMPLES_TABLE)
    records = {record[RUN]: record for record in made["runs"]}
    names = []
    for run in runs:
        record = _record(run)
        records[name := record[RUN]] = record
        of_prompts, of_samples = _replaced(of_prompts, name, _rows(run)), _replaced(of_samples, name, sample_labels(run))
        names.append(name)
    write_study(study, made | {"runs": list(records.values())}, of_prompts, of_samples)
    return names


def _replaced(table: pd.DataFrame, name: str, rows: pd.DataFrame | None) -> pd.DataFrame:
    """A study's table with these rows of a run in the place of those that it had."""
    kept = table[table[RUN] != name]
    if rows is None:
        return kept
    rows.insert(0, RUN, name)
    return pd.concat([kept, rows], ignore_index=True) if len(kept) else rows


def _rows(run: Path) -> pd.DataFrame | None:
    return without_texts(read_csv(run / PROMPTS, [PROMPT])) if (run / PROMPTS).is_file() else None


def sample_labels(run: Path) -> pd.DataFrame | None:
    """Digest of the prompt, number of the sample, reward, and what the run's diagnostics say of each sample; no texts.

    Of a metric ``x`` its values, of a ``distinct_x`` the labels x. None where the run has no such column.
    """
    registered = by_record(read_metrics(run).get(KEY), run / METRICS).metrics
    if not registered or not (run / SCORES).is_file():
        return None
    scores = read_csv(run / SCORES, [PROMPT])
    own = [name for name in (one.column.removeprefix("distinct_") for one in registered) if name in scores]
    if not own:
        return None
    found = scores[[*(name for name in (PROMPT_ID, "sample", REDDIT_REWARD) if name in scores), *own]].copy()
    if REDDIT_REWARD in found:
        found[REDDIT_REWARD] = found[REDDIT_REWARD].map(_digits)
    found.insert(1, DIGEST, _digests(scores[PROMPT]))
    return found


def _record(run: Path) -> dict:
    content, made = read_metrics(run), read_provenance(run)
    record = {
        RUN: run_name(run, content.get("seed")),
        **{label: content.get(label) for label in LABELS},
        "name": shown_name(content, by_record(content.get(KEY), run / METRICS)),
    }
    record |= {name: content[name] for name in _KEPT if content.get(name) is not None}
    record["means"] = {
        name: value and {part: None if number is None else _digits(number) for part, number in value.items()}
        for name, value in record["means"].items()
    }
    return record | {name: made[name] for name in ("git_commit", "inputs", "versions") if made.get(name)}


def publish_report(report: Path, study: Path, part: str = "") -> list[str]:
    """Publish a finished report with the runs that it was made of; ``part``: folder below the study's that it goes to.

    Its report.md, tables and figures are copied. Where its provenance names its runs, they are published, with the columns
    that its own ``prompts.csv`` has besides, and what it was asked for goes into the study's provenance. Of another report
    provenance.json is copied, and ``prompts.csv`` as .csv.gz.
    """
    asked, target = read_provenance(report), study / part
    if not asked:
        raise UserError(f"{report}: no report of ours (no {PROVENANCE}); make it anew")
    if FOLDERS not in asked:
        check_ours(target, [*REPORT_FILES, TABLE])
        copy_report(report, target)
        return []
    names = publish([Path(os.path.normpath(report / folder)) for folder in asked[FOLDERS]], study)
    made, table = read_study(study), read_table(study)
    if (report / PROMPTS).is_file():
        table = _with_columns(table, read_csv(report / PROMPTS, [RUN], (RUN,)))
    made["reports"][part or "."] = {name: asked[name] for name in (SETTINGS, RUNS, "arguments") if name in asked}
    write_study(study, made, table)
    copy_report(report, target)
    return names


def _with_columns(table: pd.DataFrame, further: pd.DataFrame) -> pd.DataFrame:
    """The table with the numbers that a report measured besides; its rows of a run stand in the run's order."""
    new = [name for name in further.select_dtypes("number") if name not in (*table, *LABELS, "prompt")]
    parts = []
    for run, rows in table.groupby(RUN, sort=False):
        own = further.loc[further[RUN] == run, new]
        if len(own) and len(own) != len(rows):
            raise UserError(f"{run}: {len(rows)} prompts, and {len(own)} in the report's {PROMPTS}; make the report anew")
        parts.append(pd.concat([rows, own.set_index(rows.index)], axis=1) if len(own) else rows)
    return pd.concat(parts)


def copy_report(report: Path, target: Path) -> None:
    """Copy what is published of a report, in the place of an earlier one; a study's own table and provenance stay."""
    of_runs = {SETTINGS, FOLDERS} & set(read_provenance(report))
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted({path for pattern in REPORT_FILES for path in report.glob(pattern)}):
        if of_runs and path.name in (PROMPTS, PROVENANCE):
            continue
        if path.name == PROMPTS:
            write_gzip(target / TABLE, pd.read_csv(path))
        else:
            shutil.copyfile(path, target / path.name)


def without_texts(prompts: pd.DataFrame) -> pd.DataFrame:
    """The numbers of prompts.csv, to seven digits, with the first 16 hexadecimal digits of each prompt's SHA-256.

    All intervals and p-values of a report can be computed from them: the digest pairs runs and tells seeds' prompts apart.
    """
    digests = _digests(prompts[PROMPT])
    numbers = prompts.select_dtypes("number").map(lambda value: _digits(value) if isinstance(value, float) else value)
    place = numbers.columns.get_loc(PROMPT_ID) + 1 if PROMPT_ID in numbers else 0
    numbers.insert(place, DIGEST, digests)
    return numbers


def _digests(texts: Iterable[str]) -> list[str]:
    return [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]


def run_name(run: Path, seed: int | None) -> str:
    """What a run is called in a study: its folder's name, after its seed."""
    return run.resolve().name if seed is None else f"seed{seed}-{run.resolve().name}"


def write_index(results: Path) -> int:
    """Rewrite what follows the mark in ``results/README.md``: a table per study, a row per run. Returns the number of rows."""
    readme = results / "README.md"
    above = readme.read_text(encoding="utf-8").split(MARK)[0].rstrip() if readme.is_file() else "# Results"
    studies, rows = [], 0
    for study in sorted(
        path.parent for path in results.rglob(PROVENANCE) if read_provenance(path.parent).get("stage") == STAGE
    ):
        keys = ("method", "strength", "seed", RUN)
        runs = sorted(read_study(study)["runs"], key=lambda record: [str(record[key]) for key in keys])
        rows += len(runs)
        name = study.relative_to(results).as_posix()
        head = ["run", "seed", *(m.short or m.label for m in registry.in_table("main")), "recipe", "command, JSON"]
        lines = [_row(record, f"{name}/{PROVENANCE}") for record in runs]
        studies.append("\n".join([f"## {name}\n", *table_lines(head, lines), ""]))
    write_text(readme, f"{above}\n\n{MARK}\n\n" + "\n".join(studies))
    return rows


def _row(record: dict, provenance: str) -> list[str]:
    values = [interval(_numbers(record["means"].get(name))) for name in registry.columns(registry.in_table("main"))]
    recipe = re.search(r"--config[= ](\S+)/[^/\s]+", record.get("command") or "")
    links = [f"[{Path(recipe[1]).name}](../{recipe[1]})" if recipe else NONE, f"[JSON]({provenance})"]
    seed = NONE if record["seed"] is None else str(record["seed"])
    label = record["name"] or NONE
    label = f"{label} ({record['strength']})" if record["strength"] else label
    return [as_text(label).replace("|", "\\|"), seed, *values, *links]


def _numbers(value: dict | None) -> dict:
    return value or dict.fromkeys(("mean", "low", "high"))


def _digits(number: float) -> float:
    return float(f"{number:.7g}")


def write_study(folder: Path, made: dict, table: pd.DataFrame, samples: pd.DataFrame | None = None) -> None:
    """Write tables and provenance; the same values give the same bytes. A record stands in one line. No ``samples``: unchanged.

    Rows stand in the order of the records, whose :data:`LABELS` are written before their values. The versions in the
    provenance are those that wrote it; a record has its run's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = pd.DataFrame(made["runs"], columns=[RUN, *LABELS], dtype=object)
    for name, rows in ((TABLE, table), (SAMPLES_TABLE, samples)):
        if rows is not None and len(rows):
            write_gzip(folder / name, records.merge(rows, on=RUN))
    first, *others = made["runs"]
    common = {name: value for name, value in first.items() if others and all(one.get(name) == value for one in others)}
    own = [{name: value for name, value in record.items() if name not in common} for record in made["runs"]]
    lines = ",\n  ".join(json.dumps(record, sort_keys=True) for record in own)
    rest = {name: value for name, value in made.items() if name != "runs"} | {COMMON: common, "versions": library_versions()}
    head = json.dumps(rest, indent=1, sort_keys=True).removesuffix("\n}")
    write_text(folder / PROVENANCE, f'{head},\n "runs": [\n  {lines}\n ]\n}}\n')


def write_gzip(path: Path, rows: pd.DataFrame) -> None:
    """Write a table as .csv.gz, whole or not at all, the same bytes for the same rows."""
    plain, partial = path.with_name(f".{path.name}.csv"), path.with_name(f".{path.name}.partial")
    try:
        write_csv(plain, rows)
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as stream:
            stream.write(plain.read_bytes())
        partial.write_bytes(buffer.getvalue())
        os.replace(partial, path)
    finally:
        plain.unlink(missing_ok=True)


def write_cells(path: Path, lines: Iterable[Sequence]) -> None:
    """Write a header and rows of cells as they are."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(lines)
