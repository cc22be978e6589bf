"""What the commands share in which a judge or reward scores texts."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag
from diversity_tuning.ranges import Flags
from diversity_tuning.reward_functions import check_reward, is_judge, load_reward


@dataclass(frozen=True)
class JudgeFlags(Flags):
    """An LLM judge, in place of what its file says."""

    judge_base_url: str | None = flag("where its server is now", default=None)
    judge_cache: str | None = flag("folder of its paid answers", default=None)
    judge_max_cost: float | None = flag(
        "US dollars to spend in this run at most; needs its file's prices", default=None, least=0
    )


@dataclass(frozen=True, kw_only=True)
class ScorerConfig(Flags):
    """Who scores, and how."""

    reward: str = flag("a reward model's folder or hub id, judge.yaml, builtin:length or module:function")
    output: str = flag("folder")
    draws: int = flag("bootstrap draws", default=1000, least=1)
    seed: int = flag("of all draws", default=0, least=0)
    batch_size: int = flag("texts that a reward model scores at once", default=32, least=1)
    device: str | None = flag("cpu, cuda, …; default: cuda where there is one", default=None)
    overwrite: bool = flag("redo what is there", default=False)
    judge: JudgeFlags = field(default_factory=JudgeFlags)

    def __post_init__(self):
        super().__post_init__()
        check_reward(self.reward)
        if not is_judge(self.reward) and any(value is not None for value in asdict(self.judge).values()):
            raise UserError(f"--judge_…: only for an LLM judge, and --reward {self.reward} is none")

    def load(self) -> tuple[Callable, Callable]:
        """The reward, and a function of prompts and responses (n texts each) to float (n,), NaN where there is no score."""
        import numpy as np

        moved = {name.removeprefix("judge_"): value for name, value in asdict(self.judge).items()}
        reward = load_reward(self.reward, self.device, self.batch_size, **moved)
        return reward, lambda prompts, responses: np.array(reward(prompts, responses, [True] * len(prompts)), dtype=float)


def about(reward: Callable) -> dict:
    """What a record keeps of an LLM judge; nothing of another reward."""
    return {"judge": reward.about} if hasattr(reward, "about") else {}
