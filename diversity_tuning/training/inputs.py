"""What a GRPO run reads besides data and model, for its record: rewards, encoders, a threshold. Known without torch."""

from pathlib import Path

from diversity_tuning.embeddings.encoder import WINDOWS, encoder_input, require_encoder
from diversity_tuning.errors import UserError
from diversity_tuning.missing import require
from diversity_tuning.reward_functions import check_reward, parse_reward, source_of


def grpo_inputs(settings: dict) -> tuple[dict, dict[str, str]]:
    """The settings of recipe and flags to record, and the further inputs to take fingerprints of.

    A reward, an encoder or a threshold that lies in a folder or file counts by its content, not by where it lies: it becomes
    an input ``reward_0``, ``encoder_0``, ``distinct_threshold``; so does the module of a function, without those that it
    imports. :class:`UserError` for a reward that is none.
    """
    kept = {key: value for key, value in settings.items() if key not in ("reward", "encoders", "distinct_threshold")}
    inputs = {}
    rewards = words_of(settings.get("reward", []))
    if not rewards:
        raise UserError("grpo: --reward is missing, in the flags and in the recipe")
    for place, text in enumerate(rewards):
        check_reward(text)
        name, weight = parse_reward(text)
        found = _keep(name, f"reward_{place}", inputs)
        if not found and (source := source_of(name)):
            inputs[f"reward_{place}_source"] = source
        kept[f"reward_{place}_weight" if found else f"reward_{place}"] = f"{weight:g}" if found else f"{name}={weight:g}"
    for place, name in enumerate(words_of(settings.get("encoders", []))):
        require_encoder(name)
        if not _keep(encoder_input(name), f"encoder_{place}", inputs):
            kept[f"encoder_{place}"] = name
    threshold = settings.get("distinct_threshold")
    if threshold is not None:
        require("evaluation", ("scipy",))
    if threshold is not None and not _keep(str(threshold), "distinct_threshold", inputs):
        kept["distinct_threshold"] = threshold
    return kept, inputs


def words_of(setting: object) -> list[str]:
    """The values of a flag that takes several: a list, or the only one."""
    return [str(word) for word in (setting if isinstance(setting, list) else [setting])]


def _keep(path: str, name: str, inputs: dict[str, str]) -> bool:
    """Take a path that exists as an input, an encoder's perhaps with how it is read; says whether it does."""
    found = bool(path) and Path(path.removesuffix(WINDOWS)).exists()
    if found:
        inputs[name] = path
    return found
