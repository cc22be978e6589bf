"""Reinforcement learning with GRPO from prompts and rewards."""

import contextlib
import json
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from datasets import Dataset
from transformers.hf_argparser import HfArg

from diversity_tuning.data import schema
from diversity_tuning.data.examples import prompts
from diversity_tuning.errors import UserError
from diversity_tuning.ranges import Range
from diversity_tuning.reward_functions import check_reward, load_reward, parse_reward
from diversity_tuning.trainers import GRPOConfig, GRPOTrainer
from diversity_tuning.trainers.group_relative import check_encoders, columns_of
from diversity_tuning.trainers.portable import check_chat_template
from diversity_tuning.training.arguments import RunArguments, first_rows, given_to_trainer, parse, rows_of
from diversity_tuning.training.life_cycle import TrainingRun
from diversity_tuning.training.models import policy_of, tokenizer_of

_OF_TRL = ("prompt", "completion", "completions", "completion_ids", "image", "images")  # what TRL itself gives or reads


@dataclass
class GRPOArguments(RunArguments):
    """Where the prompts come from and what is rewarded."""

    reward: list[str] = HfArg(
        default_factory=list,
        help="Rewards with weights, NAME or NAME=WEIGHT: a reward model's folder, builtin:length, module:function. "
        "They are summed.",
    )
    reward_batch_size: int = HfArg(
        default=32, help="Completions that a reward model scores at once.", metadata={"range": Range(least=1)}
    )
    max_prompt_length: int | None = HfArg(
        default=None,
        help="Prompts of more tokens, with the chat template, are left out and counted.",
        metadata={"range": Range(least=1)},
    )


def train_grpo(training_run: TrainingRun) -> None:
    """GRPO on the prompts of a data stage or of rows with a prompt, from ``--adapter``, else from the model itself."""
    arguments, model_config, config = parse(training_run, GRPOConfig, GRPOArguments)
    check_encoders(config)
    if config.use_vllm and find_spec("vllm") is None:
        raise UserError("--use_vllm true needs the package vllm in this environment: pip install vllm, or leave it out")
    names = rewards_of(arguments, config)
    rewards = [load_reward(name, str(config.device), batch_size=arguments.reward_batch_size) for name in names]
    data, counts = {}, {}
    tokenizer = tokenizer_of(arguments, model_config, config)
    for name, rows, limit, where in rows_of(arguments):
        found = prompts_of(rows, where, rewards)
        check_chat_template(found, tokenizer)
        short = short_prompts(found, tokenizer, arguments.max_prompt_length)
        data[name] = first_rows(short, limit)
        counts |= {f"{name}_prompts": len(data[name]), f"{name}_prompts_too_long": len(found) - len(short)}
    policy = policy_of(arguments, model_config, config, training_run, tokenizer)
    with vllm_in_one_line():
        trainer = GRPOTrainer(rewards=rewards, **policy, **given_to_trainer(arguments, config, data))
    if trainer.is_world_process_zero():
        print(updates_line(config), flush=True)
    training_run.train(trainer, counts)


@contextlib.contextmanager
def vllm_in_one_line():
    """What goes wrong in vLLM, or in TRL's use of it, as a :class:`UserError`: another version, no GPU, no server."""
    try:
        yield
    except Exception as error:
        modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
        if not any(f"{name}.".startswith(("vllm.", "trl.generation.vllm")) for name in modules):
            raise
        said = " ".join(str(error).split())[:300]
        raise UserError(f"--use_vllm true: {type(error).__name__}: {said}; leave it out to sample with transformers") from error


def updates_line(config: GRPOConfig) -> str:
    """How many updates a generation makes, and of how many completions: the number of processes decides it."""
    update = config.per_device_train_batch_size * config.world_size * config.gradient_accumulation_steps
    generated, group = config.generation_batch_size, config.num_generations
    each = f"{generated} completions ({generated // group} prompts x {group})"
    parts = f"{config.per_device_train_batch_size} x {config.gradient_accumulation_steps} x {config.world_size} processes"
    if generated >= update:
        return f"a generation: {each}, {generated / update:g} updates of {update} completions ({parts})"
    return f"an update: {update} completions ({parts}), from {update / generated:g} generations of {each}"


def rewards_of(arguments: GRPOArguments, config: GRPOConfig) -> list[str]:
    """The names of the rewards; their weights go to the trainer's configuration."""
    if not arguments.reward:
        raise UserError("grpo: --reward is missing, in the flags and in the recipe")
    if config.reward_weights is not None:
        raise UserError("give weights with the rewards, --reward NAME=WEIGHT, and not as --reward_weights")
    for text in arguments.reward:
        check_reward(text)
    names, config.reward_weights = map(list, zip(*map(parse_reward, arguments.reward), strict=True))
    return names


def prompts_of(rows: Dataset, where: str, rewards: Sequence[Callable] = ()) -> Dataset:
    """The different prompts of ``rows`` as conversations, in the order of their first row: ``prompt``, and what rewards take.

    Columns that one of the ``rewards`` takes stay beside it; equal prompts with other values in them are then different rows.
    Rows have ``post_title`` and ``post_text`` (stages 0 and 1), or are as :func:`diversity_tuning.data.examples.prompts` reads
    them: ``prompt`` (a text or messages), or pairs, whose messages before the response are the prompt. Posts without a prompt
    are left out and counted. :class:`UserError` otherwise, naming ``where``.
    """
    taken = _taken(rows.column_names, rewards, where)
    if schema.POST_TITLE in rows.column_names and schema.PROMPT not in rows.column_names:
        found = posts(rows, where)
    else:
        found = prompts(rows, where)[schema.PROMPT]
    beside = rows.select_columns(taken) if taken else [{}] * len(rows)
    different: dict[tuple[str, str], dict] = {}
    for messages, row in zip(found, beside, strict=True):
        if messages:
            different.setdefault((json.dumps(messages), json.dumps(row, default=str)), row)
    columns = {name: [row[name] for row in different.values()] for name in taken}
    return Dataset.from_dict({"prompt": [json.loads(text) for text, _ in different], **columns})


def _taken(columns: list[str], rewards: Sequence[Callable], where: str) -> list[str]:
    """The columns that a reward takes; :class:`UserError` where one that it needs is not there."""
    taken: dict[str, None] = {}
    for reward in rewards:
        named, takes_all = columns_of(reward)
        for name, needed in named.items():
            if needed and name not in columns:
                called = getattr(reward, "__name__", type(reward).__name__)
                raise UserError(f"{where}: the reward {called} takes a column '{name}'; there is {', '.join(columns)}")
        taken |= dict.fromkeys(name for name in columns if takes_all or name in named)
    return [name for name in taken if name not in _OF_TRL]


def posts(rows: Dataset, where: str) -> list[list[dict]]:
    """The prompts of stages 0 and 1, as messages; none for an empty one, and these are counted."""
    columns = [name for name in (schema.POST_TITLE, schema.POST_TEXT) if name in rows.column_names]
    texts = [schema.prompt_text(row[schema.POST_TITLE], row.get(schema.POST_TEXT)) for row in rows.select_columns(columns)]
    found = [[{"role": "user", "content": text}] if text.strip() else [] for text in texts]
    if empty := found.count([]):
        print(f"{where}: {empty} of {len(texts)} prompts are empty and left out", flush=True)
    if empty == len(texts):
        raise UserError(f"{where}: no prompt")
    return found


def short_prompts(prompts: Dataset, tokenizer, limit: int | None) -> Dataset:
    """Those of at most ``limit`` tokens, counted with the chat template and the head of the response."""
    if limit is None:
        return prompts

    def fits(row: dict) -> bool:
        text = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
        return len(tokenizer(text, add_special_tokens=False)["input_ids"]) <= limit

    kept = prompts.filter(fits)
    if len(kept) == 0:
        raise UserError(f"no prompt has at most --max_prompt_length {limit} tokens")
    return kept
