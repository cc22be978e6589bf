"""How long a recipe for a laptop will take, before it starts: from the texts' lengths and what a step was measured to cost."""

import gzip
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from diversity_tuning.data import schema
from diversity_tuning.generation.baselines import TRIES
from diversity_tuning.recipe import Recipe
from studies.reproduce.commands import Run, settings
from studies.reproduce.plans import Part
from studies.reproduce.stages import Lanes, Stage

# Seconds of one core, measured with SmolLM2-135M in bfloat16 on a processor with AVX-512 for it: `--size quick` of `ocsai`
# (stages' seconds and progress of its trainings), its sampling in benchmarks.sampling, measures and reward B of a fold.
_START = 18.0  # a command's imports and its language model
_SMALL = 5.0  # of a command without one
_TRAINED = {"generation": 6.8, "reward": 3.5, "pairs": 6.7}  # a thousand tokens, forward and backward
_ODDS = 17.0  # a thousand tokens of ORPO's pairs of short texts, whose prompts the head reads too
_REFERENCE = 1.65  # a thousand tokens of pairs, forward and log-probabilities
_READ = 1.15  # a thousand tokens, forward
_WRITTEN = 3.9  # a thousand tokens sampled
_GENERATED = 6.5  # a thousand tokens of room for a completion of GRPO: TRL's rows wait for the longest
_EMBEDDED, _LONG = (0.0036, 0.25), 0.3  # a short text; a thousand tokens of one longer than .3 thousand, by windows
_FLOAT32 = 1.9  # times as long
_TEST = 0.2  # of the prompts
_OTHER = 0.54  # of the responses, of which reward B is made and weighed
_ANOTHER = 45  # tokens that ask for another answer
_CHARACTERS, _TEMPLATE = 4.0, 25  # of a token; tokens of the chat template and the words around the prompt


def estimate(parts: list[Part], source: str, cores: int) -> str:
    """A line such as "about 21 min on 2 cores: train_dpo 6, …", or nothing for a source that is not read line by line."""
    lengths = list(read_lengths(Path(source)))
    if not lengths:
        return ""
    if most := _of_split(parts[0].run).number("most", 0):
        lengths = [(prompt, response, min(number, most)) for prompt, response, number in lengths]
    total, _, longest = summed(predicted(parts, lengths), cores)
    return f"about {total / 60:.0f} min on {cores} free cores ({len(lengths)} prompts; longest: {longest} min)"


def summed(rows: Iterable[list[list[tuple[str, float]]]], cores: int) -> tuple[float, float, str]:
    """Seconds by the clock and of processors, and the five longest stages with their minutes, of :func:`predicted` rows."""
    total, took = 0.0, []
    for lanes in rows:
        took += [one for lane in lanes for one in lane]
        whole = [sum(seconds for _, seconds in lane) for lane in lanes]
        total += max(whole) if cores >= len(whole) else sum(whole)
    longest = sorted(took, key=lambda one: -one[1])[:5]
    return total, sum(seconds for _, seconds in took), ", ".join(f"{name} {seconds / 60:.0f}" for name, seconds in longest)


def predicted(parts: list[Part], lengths: list[tuple[float, float, int]]) -> Iterator[list[list[tuple[str, float]]]]:
    """The lanes of every row, of stages' names with the processor seconds they take. ``lengths``: of :func:`read_lengths`."""
    for part in parts:
        rows = [row.lanes if isinstance(row, Lanes) else ((row,),) for row in part.rows]
        models = sum(stage.name.startswith("sample_") for row in rows for lane in row for stage in lane)
        for lanes in rows:
            yield [[(stage.name, _seconds(stage, part.run, lengths, models)) for stage in lane] for lane in lanes]


def read_lengths(path: Path) -> Iterator[tuple[float, float, int]]:
    """Tokens of the prompt, mean tokens of its responses, and how many, of every row of a JSON Lines file."""
    if path.suffix not in (".jsonl", ".gz"):  # rows of Parquet are not read line by line; some recipes make their own
        return
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig") as stream:
        for line in filter(str.strip, stream):
            row = json.loads(line)
            texts = row[schema.COMMENT_TEXTS] or [""]
            prompt = len(schema.prompt_text(row[schema.POST_TITLE], row[schema.POST_TEXT])) / _CHARACTERS
            yield prompt + _TEMPLATE, sum(map(len, texts)) / len(texts) / _CHARACTERS, len(texts)


def _seconds(stage: Stage, run: Run, lengths: list[tuple[float, float, int]], models: int = 0) -> float:
    """Processor seconds of a stage; ``models``: how many are sampled by then."""
    recipe = _settings(stage, run)
    scale = 1 if run.dtype else _FLOAT32
    texts = _sampled(recipe, run, lengths)
    written = texts * scale * _WRITTEN * _written(stage, recipe, lengths)
    tokens = _tokens(recipe, lengths)
    read = _FLOAT32 * _READ * tokens  # a text by the reward model
    embedded = _EMBEDDED[1] * tokens if tokens > _LONG else _EMBEDDED[0]
    if stage.name.startswith("train_"):
        return _START + scale * _training(stage, recipe, run, lengths)
    if stage.name.startswith("sample_"):
        return _START + written * (TRIES if recipe.get("verbalized") else 1) + scale * _READ * _history(stage, recipe, texts)
    if stage.needs == "eval1_1" and stage.name.startswith("eval_"):
        return _START + written + texts * (read + embedded)
    if stage.name == "reward_check":  # with the own and with another prompt
        return _START + 2 * read * _held_out(recipe, lengths)
    if stage.needs == "eval2":
        return _START + (read + embedded) * _held_out(recipe, lengths)
    if stage.name == "measure":  # reward, log-likelihood and two encoders' vectors of models' and people's answers
        texts = (models + 1) * _sampled(settings(Stage("sample", "sample", "{config}"), run), run, lengths)
        alone = sum(response for _, response, _ in lengths) / len(lengths) / 1000
        return _START + texts * (read * (1 + scale / _FLOAT32) + _FLOAT32 * _READ * alone + embedded)
    if stage.name == "dial":
        return _SMALL + embedded * _responses(lengths)
    if stage.needs == "judge":
        return _START + embedded * _OTHER * _responses(lengths)
    if stage.name.startswith("3_"):
        return _SMALL + embedded * 2 * _pairs(run, lengths)
    return _START if stage.name.startswith("1_") else _SMALL  # the first opens the model, which is converted then


def _settings(stage: Stage, run: Run) -> Recipe:
    """The stage's recipe with the numbers that its command says otherwise."""
    recipe = settings(stage, run)
    return Recipe({**recipe, **dict(re.findall(r"--(num_train_epochs) ([\d.]+)", stage.command))}, recipe.path)


def _tokens(recipe: Recipe, lengths: list[tuple[float, float, int]]) -> float:
    """Thousands of tokens of a text with its prompt."""
    whole = sum((prompt + response) * number for prompt, response, number in lengths) / _responses(lengths)
    return min(whole, recipe.number("max_length", float("inf"))) / 1000


def _responses(lengths: list[tuple[float, float, int]]) -> int:
    return sum(number for *_, number in lengths)


def _sampled(recipe: Recipe, run: Run, lengths: list[tuple[float, float, int]]) -> float:
    """Texts that are sampled of a model."""
    held_out = len(lengths) / _of_split(run).number("folds", 1 / _TEST)
    return min(recipe.number("num_prompts", 1000), held_out) * recipe.number("num_samples", 4)


def _of_split(run: Run) -> Recipe:
    """The settings of --folds' split; none where the run has no folds."""
    return settings(Stage("split", "split", "{config}"), run) if run.size.startswith("folds") else Recipe({}, None)


def _held_out(recipe: Recipe, lengths: list[tuple[float, float, int]]) -> float:
    """Responses to test prompts that are measured."""
    most, prompts = recipe.number("max_responses", float("inf")), recipe.number("num_prompts", float("inf"))
    return min(_TEST, prompts / len(lengths)) * sum(min(number, most) for *_, number in lengths)


def _training(stage: Stage, recipe: Recipe, run: Run, lengths: list[tuple[float, float, int]]) -> float:
    micro = recipe.number("per_device_train_batch_size", 8)
    examples = (1 - _TEST) * (_responses(lengths) if stage.needs in _TRAINED else _pairs(run, lengths))
    steps = recipe.number("max_steps", -1) * micro * recipe.number("gradient_accumulation_steps", 1)
    trained = steps if steps > 0 else examples * recipe.number("num_train_epochs", 3)
    text = _tokens(recipe, lengths)
    if stage.needs == "grpo":
        return steps * _completion(recipe, lengths)  # steps: completions
    if stage.needs in _TRAINED:
        return trained * _TRAINED[stage.needs] * text
    pair = 2 * text
    if recipe.get("share_prompts"):  # once a pair, the words around it once a batch
        prompt = sum(prompt * number for prompt, _, number in lengths) / _responses(lengths) / 1000
        pair = max(0, pair - prompt - (1 - 1 / micro) * _TEMPLATE / 1000)
    references = examples * _REFERENCE if recipe.get("precompute_ref_log_probs") else 0  # ORPO has none
    return pair * (trained * (_ODDS if stage.needs.endswith("orpo") else _TRAINED["pairs"]) + references)


def _completion(recipe: Recipe, lengths: list[tuple[float, float, int]]) -> float:
    """Seconds of a completion of GRPO: written, scored by the reward model, read by the reference, trained on."""
    prompt, people = (sum(one[i] for one in lengths) / len(lengths) for i in (0, 1))
    answer = min(2 * people, recipe.number("max_completion_length", 256)) / 1000
    read = _FLOAT32 * _READ + _REFERENCE + _TRAINED["generation"]
    return _GENERATED * recipe.number("max_completion_length", 256) / 1000 + read * (prompt / 1000 + answer)


def _history(stage: Stage, recipe: Recipe, texts: float) -> float:
    """Thousands of tokens that are read again where every answer is asked for in sight of the ones before."""
    if "--iterative" not in stage.command:
        return 0.0
    before = (recipe.number("num_samples", 4) - 1) / 2
    return texts * before * (recipe.number("max_new_tokens", 2048) + _ANOTHER) / 1000


def _pairs(run: Run, lengths: list[tuple[float, float, int]]) -> float:
    most = settings(Stage("2_pairs", "2_data_prep_to_preference", "{config}"), run).number("max_pairs", 5)
    return sum(min(most, number / 2) for *_, number in lengths)


def _written(stage: Stage, recipe: Recipe, lengths: list[tuple[float, float, int]]) -> float:
    """Thousands of tokens of a sample: twice as many as people write, all that are allowed where no adapter was taught to."""
    people = sum(response for _, response, _ in lengths) / len(lengths)
    most = recipe.number("max_new_tokens", 2048)
    return (min(2 * people, most) if "--adapter" in stage.command else most) / 1000
