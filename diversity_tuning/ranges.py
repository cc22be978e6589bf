"""Ranges of numbers, each stated once: with the field that is a flag, or here for the fields of transformers and TRL."""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping, Sequence

from diversity_tuning.errors import UserError


@dataclasses.dataclass(frozen=True)
class Range:
    """Finite numbers from ``least`` to ``most``, and above ``above`` and below ``below``."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        if not math.isfinite(value) or (self.least is not None and value < self.least):
            return False
        if self.most is not None and value > self.most:
            return False
        return (self.above is None or value > self.above) and (self.below is None or value < self.below)

    def __str__(self) -> str:
        low, high = (one if one is not None else other for one, other in ((self.least, self.above), (self.most, self.below)))
        if low is not None and high is not None:
            ends = [f"{end:g}" for end in (self.above, self.below) if end is not None]
            return f"between {low:g} and {high:g}" + (f", without {' and '.join(ends)}" if ends else "")
        if high is not None:
            return f"at most {high:g}" if self.below is None else f"below {high:g}"
        return "a finite number" if low is None else f"at least {low:g}" if self.above is None else f"above {low:g}"


_COUNT, _AMOUNT, _ABOVE_0 = Range(least=1), Range(least=0), Range(above=0)
_SHARE, _BELOW_1, _SEED = Range(least=0, most=1), Range(least=0, below=1), Range(least=0, below=2**32)
# Fields of transformers' and TRL's configurations. What a trainer of ours checks with words of its own is not here (beta, …).
INHERITED: Mapping[str, Range] = {
    **dict.fromkeys(
        """per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps max_steps save_total_limit
        max_length lora_r lora_alpha dataset_num_proc precompute_ref_batch_size eval_accumulation_steps torch_empty_cache_steps
        dataloader_prefetch_factor ddp_bucket_cap_mb ddp_timeout pad_to_multiple_of ref_model_sync_steps num_generations
        num_generations_eval max_completion_length generation_batch_size steps_per_generation num_iterations
        vllm_max_model_length vllm_tensor_parallel_size max_tool_calling_iterations""".split(),
        _COUNT,
    ),
    **dict.fromkeys(
        """learning_rate weight_decay max_grad_norm warmup_steps eval_delay dataloader_num_workers router_aux_loss_coef
        center_rewards_coefficient top_k epsilon epsilon_high entropy_coef entropy_coef_min entropy_coef_max entropy_coef_delta
        entropy_target vllm_importance_sampling_clip_max vllm_importance_sampling_clip_min vllm_importance_sampling_cap
        num_completions_to_print""".split(),
        _AMOUNT,
    ),
    **dict.fromkeys(
        """num_train_epochs logging_steps eval_steps save_steps adam_epsilon neftune_noise_alpha discopop_tau temperature
        repetition_penalty delta vllm_server_timeout sapo_temperature_neg sapo_temperature_pos vespo_k_pos vespo_lambda_pos
        vespo_k_neg vespo_lambda_neg off_policy_mask_threshold""".split(),
        _ABOVE_0,
    ),
    **dict.fromkeys("ref_model_mixup_alpha ld_alpha min_p top_entropy_quantile".split(), _SHARE),
    **dict.fromkeys("lora_dropout adam_beta1 adam_beta2 label_smoothing_factor".split(), _BELOW_1),
    **dict.fromkeys("top_p vllm_gpu_memory_utilization".split(), Range(above=0, most=1)),
    **dict.fromkeys("vllm_server_port vllm_group_port".split(), Range(least=1, below=2**16)),
    **dict.fromkeys("f_alpha_divergence_coef loss_weights reward_weights".split(), Range()),
    **dict.fromkeys("seed data_seed".split(), _SEED),
}  # fmt: skip


def check_training(config) -> None:
    """A :class:`UserError` for a number that no training can use: outside :data:`INHERITED`, or its field's ``range``.

    A field's default always passes: -1 of ``max_steps`` says that it is not used.
    """
    for field in dataclasses.fields(config):
        allowed = field.metadata.get("range") or INHERITED.get(field.name)
        value = getattr(config, field.name, None)
        if allowed is None or value is None or value == default_of(field):
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, int | float) and not isinstance(one, bool) and one not in allowed:
                raise UserError(f"--{field.name} {one}: give {_words(allowed) if math.isfinite(one) else 'a finite number'}")


def default_of(field: dataclasses.Field):
    """The default of a dataclass's field; ``dataclasses.MISSING`` where it has none."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _words(allowed: Range) -> str:
    """``1 or more, below 5``."""
    low = f"{allowed.least:g} or more" if allowed.least is not None else f"a number above {allowed.above:g}"
    if allowed.below is not None:
        return f"{low}, below {allowed.below:g}"
    return low if allowed.most is None else f"{low}, at most {allowed.most:g}"


class TrainingRanges:
    """Before the configuration of a trainer: its numbers are checked (:func:`check_training`), whoever builds it."""

    def __post_init__(self):
        check_training(self)
        getattr(super(), "__post_init__", lambda: None)()


class Flags:
    """A configuration whose fields are flags (:func:`~diversity_tuning.flags.flag`), checked whoever builds it.

    A number must be one, in the range that its flag has; a value with choices one of them. A :class:`UserError` else.
    """

    def __post_init__(self):
        for name, whole, allowed, choices in _checked(type(self)):
            value = getattr(self, name)
            for one in value if isinstance(value, list | tuple) else [value]:
                if one is None:
                    continue
                if choices is not None and one not in choices:
                    raise UserError(f"--{name} {one!r}: is one of {', '.join(map(str, choices))}")
                if allowed is None:
                    continue
                if isinstance(one, bool) or not isinstance(one, int | float) or (whole and one != int(one)):
                    raise UserError(f"--{name} {one!r}: must be a {'whole ' if whole else ''}number")
                if one not in allowed:
                    raise UserError(f"--{name} {one}: must be {allowed}")


@functools.cache
def _checked(config: type) -> list[tuple[str, bool, Range | None, Sequence | None]]:
    """Name, whether a whole number, range (None where it is no number) and choices of each flag with something to check."""
    hints, found = typing.get_type_hints(config), []
    for field in (field for field in dataclasses.fields(config) if "help" in field.metadata):
        about, kind = field.metadata, kind_of(hints[field.name])[0]
        bounds = Range(**{end: about[end] for end in ("least", "most", "above", "below")})
        if kind in (int, float) or about["choices"] is not None:
            found.append((field.name, kind is int, bounds if kind in (int, float) else None, about["choices"]))
    return found


def kind_of(hint) -> tuple[type, bool]:
    """The type of one value, and whether there may be several: ``int | None`` is (int, False), ``list[str]`` (str, True)."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return kind_of(next(one for one in inside if one is not type(None)))
    if origin in (list, tuple, Sequence):
        return inside[0], True
    return hint, False
