"""The reward of an LLM judge with principles: 1 for a response that it judges good, 0 for a bad one.

    reward = JudgeReward("runs/judge/judge.yaml")
    reward(["Write a story."], ["Once …"], [True])  # [1.0], [0.0], or [None] where no verdict could be had

The server of the judge may have moved since its file was written: ``base_url``, or JUDGE_BASE_URL in the environment, replaces
the file's. JUDGE_CACHE names the folder of paid answers (default: transcripts; empty: none is kept), JUDGE_MAX_COST and
JUDGE_MAX_REQUESTS cap one run; of these, one that is empty counts as not set.
"""

import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from diversity_tuning.errors import UserError
from diversity_tuning.generation.engine import EngineConfig, engine_settings, make_engine
from diversity_tuning.generation.requests import Engine
from diversity_tuning.judging.principles import principles_hash, read_judge
from diversity_tuning.judging.roles import HOPELESS, Failed, Usage, ask, prompt_hash

_VARIABLES = {  # environment variable -> field of EngineConfig, and its kind
    "JUDGE_BASE_URL": ("base_url", str), "JUDGE_CACHE": ("cache", str), "JUDGE_MAX_COST": ("max_cost", float),
    "JUDGE_MAX_REQUESTS": ("max_requests", int),
}  # fmt: skip


class JudgeReward:
    """A judge as a reward of :mod:`diversity_tuning.reward_functions`: one call asks for all its verdicts at once.

    ``engine``: one that is there already, in place of the file's. Equal prompts and responses are asked once in the object's
    life, and of several processes the first one asks for all, so that caps and ``concurrency`` are those of the run; the engine
    keeps paid answers on disk, so that a later process does not ask again either. A bad reply is asked for
    again twice. What then has no verdict is None, and counted in :attr:`failed`, with the last reason in :attr:`reason`. A
    completion that was cut has 0 without being asked about.
    """

    def __init__(self, path: str | Path, engine: Engine | None = None, base_url: str | None = None, **overrides):
        self.path, self.name = str(path), f"judge:{Path(path).parent.name or Path(path).stem}"
        judge = read_judge(path)
        try:
            self.role = judge.role()
            config = engine_of(judge.engine, {"base_url": base_url, **overrides})
            self.engine = engine or make_engine(config, log=f"{path}.vllm.log")
            self._settings = engine_settings(config)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        self.principles, self.sampling, self.seed = judge.principles, judge.sampling, judge.seed
        self.asked = self.failed = 0
        self.reasons: Counter[str] = Counter()
        self.reason, self.usage = "", Usage()
        self._known: dict[tuple[str, str], float] = {}
        self._told = False

    def __call__(self, prompts: list[str], completions: list[str], finished: list[bool]) -> list[float | None]:
        """Verdicts in order; a :class:`UserError` when the engine asks for nothing more (a cap, a server that is gone).

        Of several processes every one calls it, as often as the others.
        """
        return by_first_process(self._verdicts, prompts, completions, finished)

    def _verdicts(self, prompts: list[str], completions: list[str], finished: list[bool]) -> list[float | None]:
        rows = list(zip(prompts, completions, strict=True))
        whole = [row for row, done in zip(rows, finished, strict=True) if done]
        asked = [row for row in dict.fromkeys(whole) if row not in self._known]
        inputs = [{"query": query, "response": response, "principles": self.principles} for query, response in asked]
        patience = None if self._known else HOPELESS
        answers = ask(self.engine, self.role, inputs, self.sampling, self.seed, patience=patience)
        stopped = ""
        for row, answer in zip(asked, answers, strict=True):
            self.asked += 1
            self.usage.add(answer.usage)
            if isinstance(answer, Failed):
                self.failed, self.reason = self.failed + 1, answer.reason
                self.reasons[answer.reason] += 1
                stopped = stopped or (answer.reason if answer.stopped else "")
            else:
                self._known[row] = float(answer.value["verdict"])
        if stopped:
            raise UserError(f"{self.path}: the judge gives no more verdicts ({stopped}); the same command goes on from there")
        if asked and self.failed > self.asked / 2 and not self._told:  # training on the rest is hardly meant
            self._told = True
            told = f"warning: {self.path}: {self.failed} of {self.asked} verdicts failed, the last: {self.reason}"
            print(told, file=sys.stderr, flush=True)
        return [self._known.get(row) if done else 0.0 for row, done in zip(rows, finished, strict=True)]

    @property
    def about(self) -> dict:
        """Which judge it is and what it was asked, for a run's record."""
        return {
            "principles_hash": principles_hash(self.principles), "prompt_hash": prompt_hash([self.role]),
            **self._settings, "asked": self.asked, "failed": self.failed,
            **dataclasses.asdict(self.usage),
        }  # fmt: skip


def by_first_process(function: Callable[..., list], *columns: list) -> list:
    """``function`` of the rows of all processes, called on the first one alone; each gets its own rows' results.

    What it raises there as a :class:`UserError` is raised on every process, so that none waits for the others.
    """
    distributed = sys.modules.get("torch.distributed")  # a process that has not loaded it is the only one
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return function(*columns)
    parts: list = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, columns)
    found: list = [None, ""]
    if distributed.get_rank() == 0:
        together = [[value for part in parts for value in part[place]] for place in range(len(columns))]
        try:
            found[0] = function(*together)
        except UserError as error:
            found[1] = str(error)
    distributed.broadcast_object_list(found, src=0)
    if found[1]:
        raise UserError(found[1])
    start = sum(len(part[0]) for part in parts[: distributed.get_rank()])
    return found[0][start : start + len(columns[0])]


def engine_of(config: EngineConfig, overrides: Mapping[str, object]) -> EngineConfig:
    """The configuration with what the environment, and before it ``overrides`` that are not None, say in its place."""
    changed = {name: value for name, value in overrides.items() if value is not None}
    for variable, (name, kind) in _VARIABLES.items():
        text = os.environ.get(variable)
        if text is None or name in changed or (not text and name != "cache"):  # an empty cache is one that is not kept
            continue
        try:
            changed[name] = kind(text)
        except ValueError:
            raise UserError(f"{variable}={text}: not a number") from None
    return dataclasses.replace(config, **changed)
