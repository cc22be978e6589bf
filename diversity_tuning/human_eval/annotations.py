"""What annotators answered, read from Potato's folder and put together with the key: a row per answer, or pairs of stories."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.data.schema import PROMPT, PROMPT_ID
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.csvfiles import read_csv
from diversity_tuning.human_eval.study import read_condition
from diversity_tuning.judging.read import Judged

QUALITY, DIVERSITY = "quality", "diversity"
QUESTIONS = (QUALITY, DIVERSITY)
HARD = "hard to decide"
UNDECIDED = "undecided"
STATE = "user_state.json"
COLUMNS = ["annotator", "id", "question", "answer", "side", "choice", "pair", "seconds"]
_SET_NAMES = {"Set A": "A", "Set B": "B"}


def read_key(paths: list[str | Path]) -> pd.DataFrame:
    """One or more ``key.csv``, indexed by item id: set_a, set_b and the prompt."""
    tables = []
    for path in paths:
        # ids are hexadecimal: 0000000012 and 12e4567890 would be read as numbers
        table = read_csv(Path(path), ["id", PROMPT_ID, PROMPT, "set_a", "set_b"])
        names = pd.read_csv(path, usecols=["id", "set_a", "set_b"], dtype=str, keep_default_na=False)
        table[["id", "set_a", "set_b"]] = names[["id", "set_a", "set_b"]]
        wrong = (table["set_a"] == table["set_b"]) | (table[["id", "set_a", "set_b"]] == "").any(axis=1)
        if wrong.any():
            raise UserError(f"{path}, row {int(wrong.argmax()) + 1}: not two different conditions; was the key edited?")
        tables.append(table)
    key = pd.concat(tables, ignore_index=True).drop_duplicates(["id", "set_a", "set_b"])
    if key["id"].duplicated().any():
        raise UserError(f"the keys say different things of item {key['id'][key['id'].duplicated()].iloc[0]}")
    return key.set_index("id")


def read_answers(folders: list[str | Path], key: pd.DataFrame, exclude: list[str] | None = None) -> pd.DataFrame:
    """Every answer as a row of :data:`COLUMNS`; annotators are numbered from 1, their names stay in their files.

    ``answer`` is the label, ``side`` "A", "B" or None, ``choice`` a condition or "undecided", ``pair`` both conditions in
    alphabetical order, ``seconds`` how long the page was open (NaN where Potato did not say, as for an annotator's last page).
    """
    if missing := [folder for folder in folders if not Path(folder).is_dir()]:
        raise UserError(f"{missing[0]}: no such folder; it is the annotations/ of a study")
    states = [path for folder in folders for path in sorted(Path(folder).glob(f"*/{STATE}"))]
    names = [path.parent.name for path in states]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"annotator '{twice}' is in two of the folders; give the folders of different studies")
    unknown = sorted(set(exclude or []) - set(names))
    if unknown:
        raise UserError(f"--exclude {unknown[0]}: no such annotator; there is {', '.join(sorted(names))}")
    kept = [path for path in sorted(states, key=lambda path: path.parent.name) if path.parent.name not in (exclude or [])]
    rows = [row for number, path in enumerate(kept, start=1) for row in _read_state(path, number, key)]
    if not rows:
        raise UserError(f"{', '.join(map(str, folders))}: no answers yet")
    return pd.DataFrame(rows, columns=COLUMNS)


def _read_state(path: Path, annotator: int, key: pd.DataFrame) -> list[tuple]:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        answers = state["instance_id_to_label_to_value"].items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not an annotator's file of Potato 2 ({error.__class__.__name__}: {error})") from None
    times = state.get("instance_id_to_behavioral_data") or {}
    rows = []
    for item, labels in answers:
        if item not in key.index:
            raise UserError(f"{path}: item '{item}' is not in the key; give the key.csv of every item file of the study")
        given = _labels(labels, f"{path}, item '{item}'")
        seconds = _seconds(times, item)
        for question in QUESTIONS:
            if question in given:
                side = _side(question, given[question], f"{path}, item '{item}'")
                sets = key.loc[item, ["set_a", "set_b"]]
                choice = UNDECIDED if side is None else sets.iloc["AB".index(side)]
                rows.append((annotator, item, question, given[question], side, choice, tuple(sorted(sets)), seconds))
    return rows


def _labels(labels: object, where: str) -> dict[str, str]:
    """Question -> label, from Potato's pairs of ``{"schema", "name"}`` and value."""
    given: dict[str, str] = {}
    try:
        pairs = [(label["schema"], label["name"]) for label, value in labels if value not in (None, False, "")]
    except (TypeError, KeyError, ValueError):
        raise UserError(f"{where}: answers are not in the form of Potato 2") from None
    for question, label in pairs:
        if question in QUESTIONS and given.setdefault(question, label) != label:
            raise UserError(f"{where}: two answers to '{question}' ({given[question]!r}, {label!r}); delete one")
    return given


def _side(question: str, label: object, where: str) -> str | None:
    """The side that a label names; None for hard to decide."""
    label = str(label)
    if label == HARD:
        return None
    if question == DIVERSITY and label in _SET_NAMES:
        return _SET_NAMES[label]
    side, _, number = label.partition("-")
    if question == QUALITY and side in ("A", "B") and number.isdecimal() and int(number) >= 1:
        return side
    raise UserError(f"{where}: '{label}' is no answer to '{question}'")


def _seconds(times: object, item: str) -> float:
    try:
        milliseconds = float(times[item]["total_time_ms"])
    except (TypeError, KeyError, ValueError):
        return float("nan")
    return milliseconds / 1000 if 0 < milliseconds < float("inf") else float("nan")


def preferred_stories(annotations: list[str | Path], keys: list[str | Path], runs: list[str | Path]) -> Judged:
    """Each annotator's best story of an item, against every other story of that item that the annotator was shown.

    ``annotations``: folders of Potato; ``keys``: the ``key.csv`` of every item file; ``runs``: the evaluated runs whose stories
    were shown, named as the key names them. Hard to decide gives nothing. Annotators who disagree give opposite comparisons.
    Stories are whole, also where summaries were shown.
    """
    key = read_key(keys)
    missing = [name for name in ("samples_a", "samples_b") if name not in key]
    if missing:
        raise UserError(f"{keys[0]}: no column '{missing[0]}'; give the key.csv that prepare_human_eval_data wrote")
    conditions = {condition.name: condition for condition in (read_condition(run, None) for run in runs)}
    answers = read_answers(annotations, key)
    answers = answers[(answers["question"] == QUALITY) & answers["side"].notna()]
    prompts, responses, labels, pairs = [], [], [], []
    for item, answer in zip(answers["id"], answers["answer"], strict=True):
        shown = _shown(key.loc[item], conditions)
        if answer not in shown:
            raise UserError(f"item '{item}': '{answer}' was not shown; there was {', '.join(shown)}")
        best = len(responses)
        texts = [shown.pop(answer), *shown.values()]
        prompts += [key.loc[item, "prompt"]] * len(texts)
        responses += texts
        labels += [True] + [False] * (len(texts) - 1)
        pairs += [(best, best + other) for other in range(1, len(texts))]
    if not pairs:
        raise UserError(f"{', '.join(map(str, annotations))}: no answer about quality names a story")
    return Judged(prompts, responses, np.array(labels), np.array(pairs), from_pairs=True)


def _shown(item, conditions: dict) -> dict[str, str]:
    """Label, as A-1, to the story that stood there."""
    shown = {}
    for side in "ab":
        name, prompt = item[f"set_{side}"], item["prompt"]
        if name not in conditions:
            raise UserError(f"--runs: no run '{name}', which the key names; there is {', '.join(conditions)}")
        stories = conditions[name].stories.get(prompt, {})
        for number, sample in enumerate(map(int, str(item[f"samples_{side}"]).split()), start=1):
            if sample not in stories:
                raise UserError(f"run '{name}': no sample {sample} of the prompt {prompt[:60]!r}, which was shown")
            shown[f"{side.upper()}-{number}"] = stories[sample]
    return shown
