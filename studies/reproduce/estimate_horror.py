"""How long the recipe horror-smollm2 will take, before it starts: from its sizes and what stories were measured to cost."""

from studies.reproduce.commands import Run, settings
from studies.reproduce.estimate import summed
from studies.reproduce.plans import Part
from studies.reproduce.stages import Stage

_PROMPT, _STORY = 0.137, 0.182  # thousands of tokens of the synthetic ones (boundaries.json)
# Seconds of one core, SmolLM2-135M in bfloat16: a thousand tokens of SFT, of pairs with their reference, read, and written in
# batches of about 20; a story embedded, a command's start.
_SFT, _PAIRS, _READ, _WRITTEN, _EMBEDDED, _START = 7.5, 8.4, 1.2, 6.0, 0.05, 15.0
_FLOAT32 = 1.9  # times as long
_POLICIES = {"accuracy_easy": 3, "accuracy_hard": 4}  # that read the test pairs, SFT among them as the reference


def estimate(parts: list[Part], cores: int) -> str:
    """A line such as "about 35 min on 2 free cores (…)"."""
    run = parts[0].run
    rows = [getattr(row, "lanes", ((row,),)) for part in parts for row in part.rows]
    timed = ([[(stage.name, _seconds(stage, run)) for stage in lane] for lane in lanes] for lanes in rows)
    total, work, longest = summed(timed, cores)
    return f"about {total / 60:.0f} min on {cores} free cores ({work / 60:.0f} core-minutes; longest: {longest} min)"


def _seconds(stage: Stage, run: Run) -> float:
    """Processor seconds of a stage."""
    sizes, recipe = settings(Stage("specifications", "specifications", "{config}"), run), settings(stage, run)
    pairs = {
        split: sizes.number(f"preference_{split}", 0) * sizes.number("pairs", 3) for split in ("train", "validation", "test")
    }
    shared = _PROMPT + 2 * _STORY  # both stories of a pair after one prompt
    scale = 1 if run.dtype else _FLOAT32
    if stage.name.startswith("train_"):
        sft = stage.needs == "generation"
        kind, cost, text = ("sft", _SFT, _PROMPT + _STORY) if sft else ("preference", _PAIRS, shared)
        each = 1 if sft else sizes.number("pairs", 3)
        trained = each * sizes.number(f"{kind}_train", 0) * recipe.number("num_train_epochs", 1)
        batch = recipe.number("per_device_train_batch_size", 1) * recipe.number("gradient_accumulation_steps", 1)
        evaluations = trained / batch // recipe.number("eval_steps", 1)
        validated = evaluations * each * sizes.number(f"{kind}_validation", 0)
        return _START + scale * text * (cost * trained + _READ * validated)
    if stage.name.startswith("sample_"):
        length = recipe.number("max_new_tokens", 352) / 1000 if stage.name == "sample_base" else _STORY
        return _START + scale * _WRITTEN * length * recipe.number("num_prompts", 50) * recipe.number("num_samples", 4)
    if stage.name in _POLICIES:
        read = 2 * len(("easy", "hard")) * pairs["test"] * (_PROMPT + _STORY)
        return _START + _POLICIES[stage.name] * scale * _READ * read
    if stage.name.startswith("weights_"):
        return _START + 2 * _EMBEDDED * sum(pairs.values())
    return _START / 2
