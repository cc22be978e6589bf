"""GRPO that can keep diversity: each completion's deviation within its group multiplies its reward or its advantage."""

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import trl
from accelerate.utils import gather_object
from transformers.hf_argparser import HfArg

from diversity_tuning.deviation import mean_cosine_distance
from diversity_tuning.embeddings.encoder import check_finite
from diversity_tuning.errors import UserError
from diversity_tuning.partition import number_or_none, read_threshold
from diversity_tuning.ranges import TrainingRanges
from diversity_tuning.thinking import cut_thinking, decode_response, marks_thinking, template_opens_thinking
from diversity_tuning.trainers.group_advantages import DEVIATIONS, Group, combined_rewards, group_advantages, inverted
from diversity_tuning.trainers.head_choice import OURS, TRL, CheckedHeadMixin, ChosenHeadMixin, LMHeadArguments
from diversity_tuning.trainers.precision import FiniteMixin
from diversity_tuning.trainers.weights import check_choices
from diversity_tuning.unsharded import unsharded

logger = logging.getLogger(__name__)


@dataclass
class GRPOConfig(TrainingRanges, LMHeadArguments, trl.GRPOConfig):
    """:class:`trl.GRPOConfig` plus the deviation, what a cut completion is worth, and the choice of the LM head."""

    deviation: str = HfArg(
        default="none",
        metadata={"choices": list(DEVIATIONS)},
        help="What the deviation within the group multiplies: nothing, the 'reward', or the 'advantage' where it is "
        "positive. The reward times something else: 'darling', the share of the group in other classes (arXiv 2509.02534); "
        "'dra', one over the similarity to the group (2505.09655); 'dpwriter', word sequences of its own (2601.09609). "
        "'rare': every advantage over the size of the completion's class (2601.08763).",
    )
    encoders: list[str] = HfArg(
        default_factory=list,
        help="Encoders of the deviation, one for each type: builtin:minilm, builtin:stylometry:FOLDER, a "
        "sentence-transformers id or folder. With --deviation none they are only logged.",
    )
    deviation_power: float = HfArg(default=1.0, help="δ, or what stands for it, to this power; 0: all weigh 1.")
    deviation_minimum: float = HfArg(default=0.0, help="Smaller δ are raised to this; the mean may then exceed 1.")
    diversity_share: float = HfArg(
        default=0.6, help="With dpwriter: λ, the part of the reward that word sequences of its own earn, 0 to 1."
    )
    reward_origin: str | None = HfArg(
        default=None,
        help="What δ scales the reward from: 'minimum' of the group, or 'zero' (the plain product; for rewards that are "
        "never negative). Default: minimum with 'reward'; zero, as published, with darling, dra and dpwriter.",
    )
    distinct_threshold: str | None = HfArg(
        default=None,
        help="With darling and rare: cosine distance, of the first encoder, up to which two completions are the same; a "
        "number or an output of scripts_eval.distinct_threshold.",
    )
    truncated_reward: str = HfArg(
        default="minimum",
        help="Reward of a completion cut at the length limit: its group's 'minimum' over finished ones, or a number.",
    )

    def __post_init__(self):
        super().__post_init__()
        check_choices(self, "deviation")
        if "classes" in DEVIATIONS[self.deviation].needs and self.distinct_threshold is None:
            raise ValueError(
                f"deviation '{self.deviation}' needs a distinct_threshold: a number, or an output of "
                "scripts_eval.distinct_threshold"
            )
        if self.reward_origin not in (None, "minimum", "zero"):
            raise ValueError(f"reward_origin is minimum or zero, not {self.reward_origin!r}")
        value = number_or_none(self.truncated_reward)
        if self.truncated_reward != "minimum" and (value is None or not np.isfinite(value)):
            raise ValueError(f"truncated_reward is minimum or a number, not {self.truncated_reward!r}")
        for name in ("deviation_power", "deviation_minimum", "beta"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be a finite number, at least 0, not {getattr(self, name)}")
        if not 0 <= self.diversity_share <= 1:
            raise ValueError(f"diversity_share is a part of the reward, 0 to 1, not {self.diversity_share}")
        if self.mask_truncated_completions:
            raise ValueError(
                "mask_truncated_completions leaves the rewards of cut completions in the mean of their group, which then "
                "punishes finished ones; leave it off and set truncated_reward"
            )
        if self.entropy_coef or self.use_adaptive_entropy:
            if self.lm_head == OURS:
                raise ValueError(
                    f"lm_head {OURS} has no gradient of the entropy, which entropy_coef asks for: leave it at auto"
                )
            self.lm_head = TRL
        if self.lm_head == OURS and self.temperature != 1:
            raise ValueError(f"lm_head {OURS} knows no temperature but 1, not {self.temperature}: leave lm_head at auto")
        if self.multi_objective_aggregation != "sum_then_normalize":
            raise ValueError("rewards are summed, then normalised; leave multi_objective_aggregation at sum_then_normalize")


@dataclass
class _Scored:
    """The completions of all processes: N texts, whether they ended by themselves, their rewards (N, F).

    ``thinking``: int (N,), characters of reasoning cut off before a text, -1 where it was not closed.
    """

    texts: list[str]
    finished: np.ndarray
    rewards: torch.Tensor
    vectors: dict[str, np.ndarray]  # encoder -> (N, d)
    thinking: np.ndarray


class GRPOTrainer(FiniteMixin, ChosenHeadMixin, CheckedHeadMixin, trl.GRPOTrainer):
    """:class:`trl.GRPOTrainer` whose only change is the advantages: :func:`.group_advantages.group_advantages` for TRL's.

    With ``deviation="none"``, no cut completion and no failed reward they are TRL's. Otherwise: a completion's diversity within
    its group multiplies its reward or advantage; a cut completion never has the reward of its text; a failed reward
    (None, NaN) takes the completion out of its group.

    Diversity is taken among the *finished* completions of a group; the others have 1, and so have all where fewer than two are
    finished. δ: :func:`diversity_tuning.deviation.response_weights`, mean 1 over them. With one encoder the completion
    nearest to the others has δ = 0, and with several one that is nearest in any type: ``deviation_minimum`` raises that.
    Other diversities are in :data:`.group_advantages.DEVIATIONS`; those of classes join pairs within ``distinct_threshold`` of
    the first encoder. A negative reward weighed from zero is inverted: that is warned of once and logged as ``inverted/share``.

    ``rewards``: functions ``(prompts, completions, finished) -> [float | None]`` of texts
    (:mod:`diversity_tuning.reward_functions`), which get the columns of the data
    that they name besides; they come before TRL's ``reward_funcs``, and ``args.reward_weights`` has one entry for
    each of both. ``encoders`` replaces those that the configuration names: a dict of name to callable, texts to vectors
    (n, d). Prompts are texts or conversations.
    """

    _tag_names = ("trl", "grpo")

    def __init__(
        self, model, reward_funcs=None, args: GRPOConfig | None = None, *others,
        rewards: Sequence[Callable] = (), encoders: dict[str, Callable] | None = None, **kwargs,
    ):  # fmt: skip
        args = args or GRPOConfig()
        if not isinstance(args, GRPOConfig):
            raise TypeError("args must be a diversity_tuning GRPOConfig, not TRL's")
        check_encoders(args, encoders)
        theirs = reward_funcs if isinstance(reward_funcs, list) else [] if reward_funcs is None else [reward_funcs]
        super().__init__(model, [*map(self._as_reward_func, rewards), *theirs], args, *others, **kwargs)
        self._encoders = load_encoders(args.encoders, str(self.accelerator.device)) if encoders is None else encoders
        self._threshold = None
        self._deviation = DEVIATIONS[args.deviation]
        if "classes" in self._deviation.needs:
            first = next(iter(args.encoders if encoders is None else encoders))
            self._threshold = read_threshold(args.distinct_threshold, first)["threshold"]
        self._truncated = None if args.truncated_reward == "minimum" else float(args.truncated_reward)
        self._origin = args.reward_origin or self._deviation.origin
        self._warned = False
        self._scored: _Scored | None = None

    def _get_per_token_logps_and_entropies(self, model, input_ids, *args, **kwargs):
        with self._head(input_ids):
            return super()._get_per_token_logps_and_entropies(model, input_ids, *args, **kwargs)

    def _as_reward_func(self, reward: Callable) -> Callable:
        """A reward of texts as TRL calls its reward functions."""

        named, takes_all = columns_of(reward)

        def function(prompts, completions, completion_ids, **columns):
            texts, finished, _cut = self._responses(completions, completion_ids)
            taken = {name: values for name, values in columns.items() if takes_all or name in named}
            with unsharded():  # it may load what it needs when it is first called
                return reward(list(map(text_of, prompts)), texts, finished.tolist(), **taken)

        function.__name__ = getattr(reward, "name", None) or getattr(reward, "__name__", type(reward).__name__)
        return function

    def _responses(self, completions: list, completion_ids: list[list[int]]) -> tuple[list[str], np.ndarray, np.ndarray]:
        """The texts without the reasoning before them, which are finished, bool (n,), and what was cut, in characters (n,).

        Finished is what ends with a token that ends a turn; the others were cut at ``max_completion_length``. A completion
        whose reasoning is not closed has no response: text ``''``, not finished, -1 characters.
        """
        tokenizer, texts, cut = getattr(self.processing_class, "tokenizer", self.processing_class), [], []
        for completion, ids in zip(completions, completion_ids, strict=True):
            text = decode_response(tokenizer, ids) if marks_thinking(tokenizer, ids) else text_of(completion)
            told = cut_thinking(text, template_opens_thinking(tokenizer))
            texts.append("" if told is None else told if told == text else told.lstrip())
            cut.append(-1 if told is None else len(text) - len(told))
        ended = np.array([bool(ids) and ids[-1] in self.eos_token_ids for ids in completion_ids], dtype=bool)
        return texts, ended & (np.array(cut, dtype=int) >= 0), np.array(cut, dtype=int)

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        texts, ended, cut = self._responses(completions, completion_ids_list)
        vectors = {}
        for name, encode in self._encoders.items():  # every process embeds its own completions
            with np.errstate(over="ignore"):  # told below
                found = np.asarray(encode(texts)).astype(np.float32)
            check_finite(found, texts, name)
            own = torch.as_tensor(found, device=rewards.device)
            vectors[name] = self.accelerator.gather(own).cpu().numpy()
        finished, thinking = gather_object(ended.tolist()), np.array(gather_object(cut.tolist()))
        self._scored = _Scored(gather_object(texts), np.array(finished, dtype=bool), rewards, vectors, thinking)
        return rewards

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        mode = "train" if self.model.training else "eval"
        group = self.num_generations if mode == "train" else self.num_generations_eval
        scored, self._scored = self._scored, None
        rewards = combined_rewards(scored.rewards, self.reward_weights.to(scored.rewards.device))
        diversity = self._diversity(scored, group)
        finished, weights = (torch.as_tensor(one, device=rewards.device) for one in (scored.finished, diversity))
        advantages = group_advantages(
            rewards, finished, weights.to(rewards.dtype), group,
            self.args.deviation, self._origin, self._truncated, self.scale_rewards,
        )  # fmt: skip
        turned = inverted(rewards, weights, finished, self.args.deviation, self._origin)
        if count := int(turned.sum()):
            if not self._warned and self.accelerator.is_main_process:
                logger.warning(
                    "--deviation %s: %d of %d completions have a negative reward; weighed from zero, the common one of two"
                    " equally bad completions is preferred; give --reward_origin minimum, or rewards that are never negative",
                    self.args.deviation, count, len(turned),
                )  # fmt: skip
            self._warned = True
        if self._deviation.multiplies == "reward":
            self._metrics[mode]["inverted/share"].append(turned.float().mean().item())
        own = self.accelerator.process_index * len(inputs)
        output["advantages"] = advantages[own : own + len(inputs)]
        for name, value in group_metrics(scored, rewards.cpu().numpy(), diversity, advantages.cpu().numpy(), group).items():
            self._metrics[mode][name].append(value)
        logged = self._logs["advantages"]  # TRL's own are at its end: those of the table of completions become ours
        for _ in range(min(len(advantages), len(logged))):
            logged.pop()
        logged.extend(advantages.tolist())
        return output

    def _diversity(self, scored: _Scored, group: int) -> np.ndarray:
        """What the deviation multiplies by, of each completion within its group: float64 (N,), 1 for one that was cut."""
        diversity, args = np.ones(len(scored.texts)), self.args
        for rows in finished_rows(scored.finished, group):
            if len(rows) > 1:
                vectors = [one[rows] for one in scored.vectors.values()]
                texts = [scored.texts[i] for i in rows]
                settings = args.deviation_power, args.deviation_minimum, self._threshold, args.diversity_share
                diversity[rows] = self._deviation.of(Group(texts, vectors, *settings))
        return diversity


def check_encoders(args: GRPOConfig, encoders: dict[str, Callable] | None = None) -> None:
    """:class:`UserError` where the deviation needs encoders and there are none."""
    if "encoders" in DEVIATIONS[args.deviation].needs and not (args.encoders or encoders):
        raise UserError(f"--deviation {args.deviation} needs --encoders, such as builtin:minilm")


def columns_of(reward: Callable) -> tuple[dict[str, bool], bool]:
    """What a reward takes besides its three arguments: columns of the data (name: whether needed), and whether any (``**``)."""
    named: dict[str, bool] = {}
    try:
        parameters = list(inspect.signature(reward).parameters.values())
    except (TypeError, ValueError):  # of what is not written in Python
        return named, False
    for one in parameters[3:]:
        if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
            named[one.name] = one.default is one.empty
    return named, any(one.kind is one.VAR_KEYWORD for one in parameters)


def load_encoders(names: Sequence[str], device: str) -> dict[str, Callable]:
    """Encoders by name as functions of texts, under a short name for the log: ``minilm``, ``stylometry``, or the last part."""
    from diversity_tuning.embeddings import load_encoder

    loaded: dict[str, Callable] = {}
    for name in names:
        short = "stylometry" if name.startswith("builtin:stylometry") else name.rstrip("/").split(":")[-1].split("/")[-1]
        loaded[short if short not in loaded else name] = load_encoder(name, device=device).encode
    return loaded


def text_of(messages: str | list[dict]) -> str:
    """The text of a prompt or a completion: itself, or the contents of its messages, joined by line breaks."""
    return messages if isinstance(messages, str) else "\n".join(message["content"] or "" for message in messages)


def finished_rows(finished: np.ndarray, group: int) -> list[np.ndarray]:
    """For each group the row numbers of its finished completions."""
    return [start + np.flatnonzero(finished[start : start + group]) for start in range(0, len(finished), group)]


def opening(text: str) -> str:
    """How a text begins: its first three words in lower case; in scripts without spaces, its first four characters."""
    words = text.lower().split()
    if words and any(ord(character) >= 0x2E80 for character in words[0]):
        return words[0][:4]
    return " ".join(words[:3])


def group_metrics(
    scored: _Scored, rewards: np.ndarray, diversity: np.ndarray, advantages: np.ndarray, group: int
) -> dict[str, float]:
    """What is logged of one generation batch, over all processes. NaN where there is nothing to say.

    ``finished/reward``: mean reward of finished completions before any weighting; ``truncated/share``, ``failed/share`` (no
    reward though finished); ``thinking/characters``: reasoning cut off before a response, ``thinking/not_closed``: share that
    is reasoning alone, which counts as truncated; ``length/characters``; ``openings/distinct``: different openings over
    finished completions of the batch, ``openings/in_group`` the same within a group; ``diversity/NAME``: mean cosine distance
    within a group by that encoder; ``delta/…``: of the diversity that multiplies; ``groups/without_signal``: share with all
    advantages 0.
    """
    finished, thinking = scored.finished, scored.thinking
    groups = [rows for rows in finished_rows(finished, group) if len(rows) > 1]
    starts = [opening(text) for text in scored.texts]
    ended = np.flatnonzero(finished)
    metrics = {
        "finished/reward": _mean(rewards[finished & ~np.isnan(rewards)]),
        "truncated/share": float(1 - finished.mean()),
        "failed/share": float((finished & np.isnan(rewards)).mean()),
        "thinking/characters": _mean(thinking[thinking >= 0]),
        "thinking/not_closed": float((thinking < 0).mean()),
        "length/characters": _mean([len(text) for text in scored.texts]),
        "openings/distinct": len({starts[i] for i in ended}) / len(ended) if len(ended) else float("nan"),
        "openings/in_group": _mean([len({starts[i] for i in rows}) / len(rows) for rows in groups]),
        "groups/without_signal": float((advantages.reshape(-1, group) == 0).all(axis=1).mean()),
    }
    for name, vectors in scored.vectors.items():
        metrics[f"diversity/{name}"] = _mean([mean_cosine_distance(vectors[rows]).mean() for rows in groups])
    if scored.vectors or (diversity != 1).any():
        weights = [diversity[rows] for rows in groups]
        metrics["delta/mean"] = _mean([one.mean() for one in weights])
        metrics["delta/std"] = _mean([one.std() for one in weights])
        metrics["delta/max"] = _mean([one.max() for one in weights])
        metrics["delta/effective_share"] = _mean([one.sum() ** 2 / (len(one) * (one**2).sum()) for one in weights])
    return metrics


def _mean(values) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
