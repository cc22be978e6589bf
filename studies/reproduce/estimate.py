"""How long a recipe for a laptop will take, before it starts: from the texts' lengths and what a step was measured to cost."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from diversity_tuning.data import schema
from diversity_tuning.recipe import Recipe
from studies.reproduce.commands import Run, settings
from studies.reproduce.plans import Part
from studies.reproduce.stages import Lanes, Stage

# Seconds of one core, measured with SmolLM2-135M in bfloat16 on a processor with AVX-512 for it (docs/OWN_DATA.md).
_START = 15.0  # a command's imports and its model
_TRAINED = 5.0  # a thousand tokens, forward and backward
_READ = 1.0  # a thousand tokens, forward
_WRITTEN = 4.5  # a thousand tokens sampled
_EMBEDDED, _LONG = (0.003, 0.25), 0.3  # a short text; a thousand tokens of one longer than .3 thousand, by windows
_FLOAT32 = 1.9  # times as long
_TEST = 0.2  # of the prompts
_CHARACTERS, _TEMPLATE = 4.0, 25  # of a token; tokens of the chat template and the words around the prompt


def estimate(parts: list[Part], source: str, cores: int) -> str:
    """A line such as "about 21 min on 2 cores: train_dpo 6, …", or nothing for a source that is not read line by line."""
    lengths = list(_lengths(Path(source)))
    if not lengths:
        return ""
    if most := _of_split(parts[0].run).number("most", 0):
        lengths = [(prompt, response, min(number, most)) for prompt, response, number in lengths]
    took: list[tuple[str, float]] = []
    total = 0.0
    for part in parts:
        for row in part.rows:
            lanes = row.lanes if isinstance(row, Lanes) else ((row,),)
            seconds = [[(stage.name, _seconds(stage, part.run, lengths)) for stage in lane] for lane in lanes]
            took += [one for lane in seconds for one in lane]
            whole = [sum(second for _, second in lane) for lane in seconds]
            total += max(whole) if cores >= len(whole) else sum(whole)
    longest = sorted(took, key=lambda one: -one[1])[:5]
    shown = ", ".join(f"{name} {seconds / 60:.0f}" for name, seconds in longest)
    return f"about {total / 60:.0f} min on {cores} free cores ({len(lengths)} prompts; longest: {shown} min)"


def _lengths(path: Path) -> Iterator[tuple[float, float, int]]:
    """Tokens of the prompt, mean tokens of its responses, and how many, of every row of a JSON Lines file."""
    if path.suffix not in (".jsonl", ".gz"):  # rows of Parquet are not read line by line; some recipes make their own
        return
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig") as stream:
        for line in filter(str.strip, stream):
            row = json.loads(line)
            texts = row[schema.COMMENT_TEXTS] or [""]
            prompt = len(schema.prompt_text(row[schema.POST_TITLE], row[schema.POST_TEXT])) / _CHARACTERS
            yield prompt + _TEMPLATE, sum(map(len, texts)) / len(texts) / _CHARACTERS, len(texts)


def _seconds(stage: Stage, run: Run, lengths: list[tuple[float, float, int]]) -> float:
    """Processor seconds of a stage."""
    recipe = settings(stage, run)
    responses = sum(number for *_, number in lengths)
    tokens = sum((prompt + response) * number for prompt, response, number in lengths) / responses  # of a text with its prompt
    most = recipe.number("max_length", float("inf"))
    tokens = min(tokens, most) / 1000
    scale = 1 if run.dtype else _FLOAT32
    embedded = _EMBEDDED[1] * tokens if tokens > _LONG else _EMBEDDED[0]
    held_out = len(lengths) / _of_split(run).number("folds", 1 / _TEST)
    answers = held_out * recipe.number("num_samples", 4)
    if stage.name.startswith("train_"):
        return _START + scale * _training(stage, recipe, run, tokens, lengths)
    if stage.needs == "eval1_1" and stage.name.startswith("eval_"):
        texts = min(recipe.number("num_prompts", 1000), _TEST * len(lengths)) * recipe.number("num_samples", 4)
        return 2 * _START + texts * (scale * (_WRITTEN * _written(recipe, lengths) + _READ * tokens) + embedded)
    if stage.needs == "sample":
        return 2 * _START + answers * scale * _WRITTEN * _written(recipe, lengths)
    if stage.needs == "measure" and stage.name == "measure":  # of each of the eight models or so, by three models
        samples = settings(Stage("sample", "sample", "{config}"), run).number("num_samples", 4)
        return 2 * _START + 8 * held_out * samples * (3 * scale * _READ * tokens + embedded)
    if stage.name in ("reward_b", "dial"):
        return _START + embedded * responses * (0.5 if stage.name == "reward_b" else 1)
    if stage.name == "reward_check":  # with the own and with another prompt
        return _START + 2 * _FLOAT32 * _READ * tokens * _held_out(recipe, lengths)
    if stage.needs == "eval2":
        return 2 * _START + (_FLOAT32 * _READ * tokens + embedded) * _held_out(recipe, lengths)
    if stage.name.startswith("3_"):
        return _START + embedded * 2 * _pairs(run, lengths)
    return _START


def _of_split(run: Run) -> Recipe:
    """The settings of --folds' split; none where the run has no folds."""
    return settings(Stage("split", "split", "{config}"), run) if run.size.startswith("folds") else Recipe({}, None)


def _held_out(recipe: Recipe, lengths: list) -> float:
    """Responses to test prompts that are measured."""
    most, prompts = recipe.number("max_responses", float("inf")), recipe.number("num_prompts", float("inf"))
    return min(_TEST, prompts / len(lengths)) * sum(min(number, most) for *_, number in lengths)


def _training(stage: Stage, recipe: Recipe, run: Run, tokens: float, lengths: list) -> float:
    batch = recipe.number("per_device_train_batch_size", 8) * recipe.number("gradient_accumulation_steps", 1)
    pairs = stage.needs not in ("generation", "reward")
    responses = sum(number for *_, number in lengths)
    examples = (1 - _TEST) * (_pairs(run, lengths) if pairs else responses)
    steps = recipe.number("max_steps", -1)
    trained = steps * batch if steps > 0 else examples * recipe.number("num_train_epochs", 3)
    if not pairs:
        return trained * _TRAINED * tokens
    prompt = sum(prompt * number for prompt, _, number in lengths) / responses / 1000
    pair = 2 * tokens - (min(prompt, tokens) if recipe.get("share_prompts") else 0)
    return pair * (trained * _TRAINED + examples * _READ)  # and the reference


def _pairs(run: Run, lengths: list) -> float:
    most = settings(Stage("2_pairs", "2_data_prep_to_preference", "{config}"), run).number("max_pairs", 5)
    return sum(min(most, number / 2) for *_, number in lengths)


def _written(recipe: Recipe, lengths: list) -> float:
    """Thousands of tokens of a sample: twice as many as people write, at most what is allowed."""
    people = sum(response for _, response, _ in lengths) / len(lengths)
    return min(2 * people, recipe.number("max_new_tokens", 2048)) / 1000
