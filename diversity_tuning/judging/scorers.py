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
    if is_judge(name) and Path(name).is_file():
        return
    if not Path(name).is_dir() and (Path(name).exists() or name.count("/") != 1 or name.startswith((".", "/", "~"))):
        raise UserError(f"--reward {name}: not there; give a reward model's folder or hub id, a judge.yaml, or {LENGTH}")


def is_judge(name: str) -> bool:
    """Whether the name is that of an LLM judge's file."""
    return name.endswith((".yaml", ".yml"))


class JudgeScorer:
    """An LLM judge as a :data:`Scorer`: 1 good, 0 bad, NaN without a verdict."""

    def __init__(self, reward):
        self.reward = reward

    def __call__(self, prompts: list[str], responses: list[str]) -> np.ndarray:
        return np.array(self.reward(prompts, responses, [True] * len(prompts)), dtype=float)

    @property
    def about(self) -> dict:
        """Which judge, and what it was asked."""
        return self.reward.about


def load_scorer(name: str, device: str | None = None, batch_size: int = 32, **engine) -> Scorer:
    """The judge of that name: ``builtin:length``, a reward model's folder or hub id, or an LLM judge's ``judge.yaml``.

    ``engine``: fields of :class:`~diversity_tuning.generation.engine.EngineConfig` in place of those of an LLM judge's file.
    """
    check_scorer_name(name)
    if name == LENGTH:
        return length
    if is_judge(name):
        from diversity_tuning.judging.judge_reward import JudgeReward

        return JudgeScorer(JudgeReward(name, **engine))
    from diversity_tuning.reward import load_reward_model

    model = load_reward_model(name, device)
    return lambda prompts, responses: model.score(prompts, responses, batch_size)
