"""The distance threshold of distinct_k: a number, or what a calibration found for the same encoder."""

import json
from pathlib import Path

from diversity_tuning.errors import UserError

FILE = "threshold.json"


def read_threshold(given: str | None, semantic_model: str) -> dict:
    """The threshold as a dict with ``threshold``: a number given, the file of a calibration for this encoder, or None."""
    if given is None:
        return {"threshold": None}
    number = number_or_none(given)
    if number is not None:
        if not 0 <= number <= 2:
            raise UserError(f"--distinct_threshold {given}: a cosine distance lies between 0 and 2")
        return {"threshold": number}
    path = Path(given) / FILE if Path(given).is_dir() else Path(given)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        made_for, threshold = content["semantic_model"], float(content["threshold"])
    except FileNotFoundError:
        raise UserError(
            f"--distinct_threshold {given}: neither a number nor an output of scripts_eval.distinct_threshold"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not written by scripts_eval.distinct_threshold ({error!r})") from None
    if made_for != semantic_model:
        raise UserError(f"{path}: calibrated for the encoder {made_for}, not for {semantic_model}; calibrate again")
    return {**content, "threshold": threshold}


def number_or_none(text: object) -> float | None:
    """The number a text stands for."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
