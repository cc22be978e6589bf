"""A judge's verdicts beside the rules: how often the two agree on one constraint.

The judge is any that ``scripts_eval.judge_samples`` takes, with principles that ask for the constraint alone. Neither of the
two is the truth; where they differ, a person should look.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.rendering import NONE, Table
from diversity_tuning.judging.agreement import kappa
from studies.horror.constraints import CONSTRAINTS
from studies.horror.report_data import Results


def tables(results: Results, words: Sequence[str]) -> list[Table]:
    """A table for each ``CONSTRAINT=FOLDER``: the rules' verdicts by the judge's, of the first seed's models."""
    return [_table(results, *_parsed(word)) for word in words]


def _parsed(word: str) -> tuple[str, Path]:
    name, equals, folder = word.partition("=")
    if not equals or name not in CONSTRAINTS:
        raise UserError(f"--judged {word}: give CONSTRAINT=FOLDER, with one of {', '.join(CONSTRAINTS)}")
    return name, Path(folder)


def _table(results: Results, name: str, folder: Path) -> Table:
    verdicts = _verdicts(folder, results.seeds[0])
    counted: dict[str, list[tuple[bool, bool]]] = {}
    without = 0
    for model, rows in results.stories.items():
        for row in rows:
            score = verdicts.get((model, row.get("prompt_id"), row.get("sample")), "not judged")
            without += score is None
            if isinstance(score, bool):
                counted.setdefault(model, []).append((row["constraints"][name], score))
    if not counted:
        raise UserError(f"--judged {folder}: no verdict on a story below {results.seeds[0]}")
    counted["all"] = [pair for pairs in counted.values() for pair in pairs]
    note = (
        f"Constraint {name}, verdicts of {folder.name} on the first seed's stories. κ: agreement beyond chance. Stories without"
        f" a verdict, left out: {without}. Neither is the truth: read the stories on which they differ."
    )
    header = ["model", "stories", "both: kept", "rules alone: kept", "judge alone: kept", "both: failed", "agree", "κ"]
    return Table(f"judge_{name}", f"Rules and judge: {name}", note, header, [_row(*item) for item in counted.items()])


def _row(model: str, pairs: list[tuple[bool, bool]]) -> list[str]:
    rules, judge = np.array(pairs, dtype=bool).T
    cells = [rules & judge, rules & ~judge, ~rules & judge, ~rules & ~judge]
    figures = [(rules == judge).mean(), float(np.ravel(kappa(judge, rules))[0])]
    shown = [f"{one:.3f}" if one == one else NONE for one in figures]
    return [model, str(len(pairs)), *(str(int(cell.sum())) for cell in cells), *shown]


def _verdicts(folder: Path, seed: Path) -> dict[tuple, bool | None]:
    """(model, prompt_id, sample) -> kept, None without a verdict; of the samples that lie below ``seed``."""
    path, found, number = folder / "judged.jsonl", {}, 0
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            row = json.loads(line)
            run, score = Path(row["run"]), row["score"]
            if score not in (None, 0, 1):
                raise UserError(f"{path}, line {number}: score {score}; a judge's verdicts are 0 and 1, not a reward's numbers")
            if run.resolve().is_relative_to(seed.resolve()):
                found[run.name, row["prompt_id"], row["sample"]] = None if score is None else bool(score)
    except OSError as error:
        raise UserError(f"--judged {folder}: {error.strerror}; give a folder of scripts_eval.judge_samples") from None
    except UserError:
        raise
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}, line {number}: not a row of scripts_eval.judge_samples") from None
    return found
