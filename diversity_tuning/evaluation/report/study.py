"""A published study, as the repository's results/ has them: a table of per-prompt values of all runs, and a record of each."""

from pathlib import Path

import pandas as pd

from diversity_tuning.data.schema import REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.csvfiles import read_csv
from diversity_tuning.evaluation.files import DIGEST
from diversity_tuning.outputs import read_provenance

TABLE = "prompts.csv.gz"
STAGE = "published"
RUN, COMMON = "run", "every_run"  # in provenance.json: name of a run, and what the records of all have in common
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
    common = made.pop(COMMON, {})
    made["runs"] = [common | record for record in made.get("runs", [])]
    return {"stage": STAGE, "reports": {}, **made}


def read_table(folder: Path) -> pd.DataFrame:
    """The per-prompt values of a study, and the name of the run of each row; without rows where there are none."""
    if not (folder / TABLE).is_file():
        return pd.DataFrame(columns=[RUN])
    table = read_csv(folder / TABLE, [RUN, DIGEST], (RUN, *LABELS, DIGEST))
    return table.drop(columns=list(LABELS), errors="ignore")


def prompts_of(table: pd.DataFrame, run: str) -> pd.DataFrame:
    """The rows of one run, with the columns that it has."""
    own = table[table[RUN] == run].drop(columns=RUN)
    kept = [name for name in own if name in _ALWAYS or own[name].notna().any()]
    return own[kept].reset_index(drop=True)
