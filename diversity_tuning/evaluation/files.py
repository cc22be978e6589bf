"""Names of the files of a run folder, and its metrics.json."""

import json
from pathlib import Path

from diversity_tuning.errors import UserError

SAMPLES, RECORD = "samples.jsonl", "sampling.json"  # of the sampling step
SCORES, PROMPTS, METRICS = "scores.csv", "prompts.csv", "metrics.json"  # of the scoring step
GOLD_ROWS = "gold.csv"  # the data's own responses under the published column names
DIGEST = "prompt_digest"  # stands for the prompt in a prompts.csv that is published without texts


def read_metrics(folder: str | Path) -> dict:
    """A run folder's metrics.json; a :class:`UserError` where it is not there, or has other types than scoring writes."""
    path = Path(folder) / METRICS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        wrong = _wrong_key(content)
    except FileNotFoundError:
        raise UserError(f"{folder}: not a scored run (no {METRICS}); run scripts_eval.score on it first") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not written by scripts_eval ({type(error).__name__})") from None
    if wrong:
        raise UserError(f"{path}: not written by scripts_eval ({wrong}); score the run again with --overwrite")
    return content


def _wrong_key(content: object) -> str | None:
    """The first key that is missing or of another type."""
    if not isinstance(content, dict):
        return "no object"
    number, text = int | float | None, str | None
    kinds = {"name": text, "method": text, "strength": text | int | float, "seed": int | None, "means": dict, "counts": dict}
    for key, kind in kinds.items():
        if key not in content or not isinstance(content[key], kind) or isinstance(content[key], bool):
            return repr(key)
    for name, value in content["means"].items():
        bounds = (value or {}).values() if isinstance(value, dict | None) else [value, ""]
        if not all(isinstance(one, number) and not isinstance(one, bool) for one in bounds):
            return f"'means', {name!r}"
    return next((f"'counts', {name!r}" for name, value in content["counts"].items() if not isinstance(value, int | None)), None)
