"""Rows of specifications and stories: read, checked against the constraints, summed up, compared with labels."""

import hashlib
import json
from pathlib import Path

import numpy as np

from diversity_tuning.errors import UserError
from studies.horror import acts, constraints, cues, ends, taboo, twist, wording
from studies.horror.constraints import CONSTRAINTS, check
from studies.horror.play.prompts import read_prompt
from studies.horror.specification import FIELDS, from_mapping, from_prompt
from studies.pools import pools_file

MODULES = (acts, constraints, cues, ends, taboo, twist, wording)  # the rules


def rules() -> str:
    """A digest of the rules' source text, so that an output made by other rules is not taken for this one's."""
    files = [Path(module.__file__) for module in MODULES]
    files += [path for file in files if (path := pools_file(file, file.stem)).exists()]
    content = b"".join(file.read_bytes() for file in files)
    return hashlib.sha256(content).hexdigest()[:16]


def read(source: str, labelled: bool = False) -> list[dict]:
    """The rows of a JSON-lines file, with ``specification`` (a mapping) and ``story``; any other column is kept.

    A row without ``specification`` but with ``prompt`` and ``response``, as samples have them, gets both from these; a rule is
    to be broken where the prompt does not say that it is kept.
    """
    try:
        lines = Path(source).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{source}: no such file; give JSON lines with specification and story") from None
    except UnicodeDecodeError:
        raise UserError(f"{source}: not UTF-8 text; give JSON lines with specification and story") from None
    rows = [_row(line, f"{source}, line {number}", labelled) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise UserError(f"{source}: no row in it; give JSON lines with specification and story")
    return rows


def _row(line: str, where: str, labelled: bool) -> dict:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg}); give one object per line") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: not an object; give one object per line")
    if "specification" not in row and isinstance(row.get("prompt"), str):
        spec = from_prompt(row["prompt"])
        given = vars(spec) if spec else read_prompt(row["prompt"])
        if not given.keys() >= FIELDS.keys():
            missing = ", ".join(label for name, label in FIELDS.items() if name not in given)
            raise UserError(f"{where}: its prompt gives no {missing}; give a column 'specification'")
        row = {**row, "specification": {"taboo_kept": False, **given}, "story": row.get("response")}
    if not isinstance(row.get("story"), str):
        raise UserError(f"{where}: column 'story' is missing or not a text; rows need specification and story")
    from_mapping(row.get("specification"), f"{where}, specification")
    finished = row.get("finished")
    if finished is not None and not isinstance(finished, bool):
        raise UserError(f"{where}: column 'finished' must be true or false, not {finished!r}")
    if labelled:
        _check_labels(row.get("labels"), where)
    return row


def _check_labels(labels, where: str) -> None:
    if not isinstance(labels, dict) or set(labels) != set(CONSTRAINTS) or not all(isinstance(v, bool) for v in labels.values()):
        raise UserError(f"{where}: 'labels' must be an object of booleans with the fields {', '.join(CONSTRAINTS)}")


def checked(rows: list[dict]) -> list[dict]:
    """The rows, each with ``constraints``: an object of booleans."""
    return [
        {**row, "constraints": check(from_mapping(row["specification"]), row["story"], row.get("finished"))} for row in rows
    ]


def rates(rows: list[dict], name: str) -> np.ndarray:
    """Share of the stories that keep a constraint, per specification in order of appearance: ``(specifications,)``."""
    found: dict[str, list[bool]] = {}
    for row in rows:
        found.setdefault(json.dumps(row["specification"], sort_keys=True), []).append(row["constraints"][name])
    return np.array([np.mean(values) for values in found.values()])


def summary(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Per constraint, and for all of them: ``rate``, ``low``, ``high`` (95% bootstrap over specifications), ``n`` (stories)."""
    from diversity_tuning.evaluation.statistics import mean_interval

    rows = [{**row, "constraints": {**row["constraints"], "all": all(row["constraints"].values())}} for row in rows]
    found = {}
    for name in (*CONSTRAINTS, "all"):
        interval = mean_interval(rates(rows, name))
        rate = float(np.mean([row["constraints"][name] for row in rows]))
        found[name] = {"rate": rate, "low": interval["low"], "high": interval["high"], "n": len(rows)}
    return found


def table(found: dict[str, dict[str, float]]) -> str:
    """A summary as lines of text."""
    return "\n".join(
        f"{name:18} {one['rate']:.3f} [{one['low']:.3f}, {one['high']:.3f}]  n {one['n']}" for name, one in found.items()
    )


def confusion(rows: list[dict]) -> dict[str, dict[str, int]]:
    """Per constraint, and over all: counts of label × rule, ``kept_kept`` … ``failed_failed`` (label first)."""
    words = {True: "kept", False: "failed"}
    found = {name: {f"{a}_{b}": 0 for a in words.values() for b in words.values()} for name in (*CONSTRAINTS, "over_all")}
    for row in rows:
        for name in CONSTRAINTS:
            cell = f"{words[row['labels'][name]]}_{words[row['constraints'][name]]}"
            found[name][cell] += 1
            found["over_all"][cell] += 1
    return found


def confusion_table(found: dict[str, dict[str, int]]) -> str:
    """A confusion matrix as lines of text."""
    lines = [f"{'label / rule':18} " + " ".join(f"{cell.replace('_', '/'):>13}" for cell in found["over_all"])]
    lines += [f"{name:18} " + " ".join(f"{count:>13}" for count in cells.values()) for name, cells in found.items()]
    return "\n".join(lines)
