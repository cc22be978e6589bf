"""A published study: values per prompt and labels per sample of all its runs, and a provenance with a record a run."""

import gzip
import io
import json
import os
from pathlib import Path

import pandas as pd

from diversity_tuning.data.schema import REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.csvfiles import read_csv, write_csv
from diversity_tuning.evaluation.files import DIGEST
from diversity_tuning.outputs import PROVENANCE, read_provenance
from diversity_tuning.runs import library_versions, write_text

TABLE = "prompts.csv.gz"
SAMPLES_TABLE = "samples.csv.gz"  # reward and labels of every sample, without texts; of runs that were scored with diagnostics
STAGE = "published"
RUN, _COMMON = "run", "every_run"  # in provenance.json: name of a run, and what the records of all have in common
LABELS = ("name", "method", "strength", "seed")  # of a run: in its record, and in every row of the table
_ALWAYS = (REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY)  # columns of every run, with values or without


def is_study(folder: Path) -> bool:
    """Whether a folder holds a published study."""
    return (folder / TABLE).is_file() and read_provenance(folder).get("stage") == STAGE


def read_study(folder: Path) -> dict:
    """The provenance of a study, ``runs`` (a record a run) and ``reports`` (place -> what was asked for) in it.

    A study that is not there yet is empty. :class:`UserError` where the folder holds anything else.
    """
    made = read_provenance(folder)
    if made.get("stage") != STAGE and folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder}: not empty, and no study that scripts_eval.leaderboard wrote; choose another folder")
    made = made if made.get("stage") == STAGE else {}
    common = made.pop(_COMMON, {})
    made["runs"] = [common | record for record in made.get("runs", [])]
    return {"stage": STAGE, "reports": {}, **made}


def read_table(folder: Path, name: str = TABLE) -> pd.DataFrame:
    """The values of a study, per prompt or per sample, and the run of each row; without rows where there are none."""
    if not (folder / name).is_file():
        return pd.DataFrame(columns=[RUN])
    table = read_csv(folder / name, [RUN, DIGEST], (RUN, *LABELS, DIGEST))
    return table.drop(columns=list(LABELS), errors="ignore")


def prompts_of(table: pd.DataFrame, run: str) -> pd.DataFrame:
    """The rows of one run, with the columns that it has."""
    own = table[table[RUN] == run].drop(columns=RUN)
    kept = [name for name in own if name in _ALWAYS or own[name].notna().any()]
    return own[kept].reset_index(drop=True)


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
    rest = {name: value for name, value in made.items() if name != "runs"} | {_COMMON: common, "versions": library_versions()}
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
