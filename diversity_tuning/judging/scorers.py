"""Judges by their name on the command line: each scores responses to prompts, higher is better."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from diversity_tuning.errors import UserError

Scorer = Callable[[list[str], list[str]], np.ndarray]  # prompts and responses, n of each -> float (n,); NaN: no verdict
LENGTH = "builtin:length"


def length(prompts: list[str], responses: list[str]) -> np.ndarray:
    """Characters of each response: the baseline of every judge."""
    return np.array([len(response) for response in responses], dtype=float)


def check_scorer_name(name: str) -> None:
    """:class:`UserError` for a judge that is not there, before anything is loaded."""
    if name == LENGTH:
        return
    if name.startswith("builtin:"):
        raise UserError(f"--reward {name}: no such judge; the only one built in is {LENGTH}")
    if name.endswith((".yaml", ".yml")):
        raise UserError(f"--reward {name}: no judge engine here yet; give a reward model's folder or hub id, or {LENGTH}")
    if not Path(name).is_dir() and (Path(name).exists() or name.count("/") != 1 or name.startswith((".", "/", "~"))):
        raise UserError(f"--reward {name}: no such folder; give a trained reward model, its hub id, or {LENGTH}")


def load_scorer(name: str, device: str | None = None, batch_size: int = 32) -> Scorer:
    """The judge of that name: ``builtin:length``, or a reward model's folder or hub id."""
    check_scorer_name(name)
    if name == LENGTH:
        return length
    from diversity_tuning.reward import load_reward_model

    model = load_reward_model(name, device)
    return lambda prompts, responses: model.score(prompts, responses, batch_size)
