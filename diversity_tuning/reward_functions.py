"""Rewards for reinforcement learning: functions of prompts, completions and whether they finished, loaded by name.

A reward is a callable ``(prompts, completions, finished) -> list[float | None]``: texts, texts and booleans of the same
length n in; n numbers out, higher is better. None: this completion could not be scored; it then leaves its group, and is never
taken as 0. ``finished`` is False for a completion that was cut at the length limit: the trainer replaces its reward anyway,
so that a costly reward need not score it. Any such function can be used: ``module:function``. What it takes besides, as in
``def exact(prompts, completions, finished, answer)``, are columns of the data, a value for each completion; ``**columns``: all.
"""

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from diversity_tuning.errors import UserError
from diversity_tuning.unsharded import unsharded


class Reward(Protocol):
    """What the module's docstring says; ``name`` is what the log calls it, where there is one."""

    def __call__(self, prompts: list[str], completions: list[str], finished: list[bool]) -> list[float | None]: ...


class ModelReward:
    """A reward model of this project (votes or pairs): its score of prompt and completion; None where it is not finite."""

    def __init__(self, model, name: str = "model", batch_size: int = 32):
        self.model, self.name, self.batch_size = model, name, batch_size

    def __call__(self, prompts: list[str], completions: list[str], finished: list[bool]) -> list[float | None]:
        scores = self.model.score(prompts, completions, self.batch_size)
        return [float(score) if abs(score) < float("inf") else None for score in scores]


def length(prompts: list[str], completions: list[str], finished: list[bool]) -> list[float | None]:
    """The number of characters of each completion: the baseline that any reward is compared with."""
    return [float(len(completion)) for completion in completions]


BUILTIN = {"length": length}


def parse_reward(text: str) -> tuple[str, float]:
    """``NAME`` or ``NAME=WEIGHT`` to name and weight (1). What follows the last ``=`` is a weight if it is a number."""
    name, sign, number = text.rpartition("=")
    try:
        weight = float(number) if sign else 1.0
    except ValueError:
        return text, 1.0
    if abs(weight) == float("inf") or weight != weight:
        raise UserError(f"--reward {text}: the weight is not a finite number")
    return (name, weight) if sign else (text, 1.0)


def check_reward(text: str) -> None:
    """:class:`UserError` for what can be no reward, without loading one."""
    name, _ = parse_reward(text)
    path = Path(name)
    if path.is_dir() or (path.exists() and is_judge(name)) or _is_function(name):
        return
    if name.startswith("builtin:"):
        if name.removeprefix("builtin:") not in BUILTIN:
            raise UserError(
                f"--reward {name}: no such judge or rule; there is {', '.join(f'builtin:{one}' for one in BUILTIN)}"
            )
    elif path.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1 or is_judge(name):
        raise UserError(
            f"--reward {name}: not there; give a reward model's folder or hub id, judge.yaml, builtin:length or module:function"
        )


def is_judge(name: str) -> bool:
    """Whether the name is that of an LLM judge's file."""
    return name.endswith((".yaml", ".yml"))


@unsharded()
def load_reward(name: str, device: str | None = None, batch_size: int = 32, **judge) -> Callable:
    """The reward of this name; raises :class:`UserError`.

    A folder or hub id: a reward model, trained on votes or on pairs (:func:`diversity_tuning.reward_model.load_reward_model`),
    on ``device``. ``judge.yaml``: an LLM that judges by principles
    (:class:`diversity_tuning.judging.judge_reward.JudgeReward`). ``builtin:length``: a rule of this module.
    ``module:function``: a function with the signature above. ``judge``: fields of
    :class:`~diversity_tuning.generation.engine.EngineConfig` in place of those of an LLM judge's file.
    """
    check_reward(name)
    if name.startswith("builtin:"):
        return BUILTIN[name.removeprefix("builtin:")]
    if is_judge(name):
        from diversity_tuning.judging.judge_reward import JudgeReward

        return JudgeReward(name, **judge)
    if _is_function(name):
        module, _, function = name.partition(":")
        try:
            found = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise UserError(f"--reward {name}: {error}") from None
        if not callable(found):
            raise UserError(f"--reward {name}: not a function")
        return found
    from diversity_tuning.reward_model import load_reward_model

    return ModelReward(load_reward_model(name, device), Path(name).name, batch_size)


def _is_function(name: str) -> bool:
    module, sign, function = name.partition(":")
    words = [*module.split("."), function]
    return bool(sign) and module != "builtin" and all(word.isidentifier() for word in words) and not Path(name).exists()


def source_of(name: str) -> str | None:
    """The file that ``module:function`` is written in; None for another reward, and where there is no such file."""
    if not _is_function(name):
        return None
    try:
        found = importlib.util.find_spec(name.partition(":")[0])
    except (ImportError, ValueError):
        return None
    return found.origin if found and found.origin and Path(found.origin).is_file() else None
