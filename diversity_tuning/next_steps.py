"""What to run after a command: one line at its end that runs as printed.

Flags are filled in from what lies near the output: the data, the models and the recipe that the next command needs. A word in
capitals is left where nothing near fits.
"""

import shlex
from pathlib import Path

from diversity_tuning.cli import is_part_of_another, words_of_command
from diversity_tuning.console import as_run_here, in_repository
from diversity_tuning.objectives import trainings
from diversity_tuning.outputs import read_json, read_provenance
from diversity_tuning.recipe import read_recipe

DATA_STAGE = "python -m scripts_dataset_cleaner."
_DDPO = "python -m scripts_dpo.generation_ddpo_model_train {ddpo.yaml} {start} --source {PAIRS} --output_dir {beside}/ddpo"
SFT_LINE = (
    "python -m scripts_finetuning.generation_model_train {generation.yaml} {model} --source {FILTERED}"
    " --output_dir {beside}/generation"
)
_EVALUATE = (
    "python -m scripts_eval.generation_eval1_1 {eval1_1.yaml} {style} {policy} --source {FILTERED} --reward_model {REWARD}"
    " --output {beside}/eval-{name}"
)
_LOOK = "python -m scripts_eval.quick_look {policy} --prompts {source} --output {beside}/look"
_WEIGH = (
    DATA_STAGE + "3_data_prep_for_diversified_training {3_data_prep_for_diversified_training.yaml} {style}"
    " --source_pair {UNWEIGHTED} --data_path_pair_div {beside}/pairs-both"
)
# Stage -> the commands that may follow. The first is printed whose words in braces are all known, else the last; an empty one
# is not.
NEXT: dict[str, tuple[str, ...]] = {
    "0_data_prep_scoring": (
        DATA_STAGE + "1_data_prep_filtering {1_data_prep_filtering.yaml} --source {output} --data_path {beside}/filtered"
        " --model_to_use {TOKENIZER}",
        DATA_STAGE + "1_data_prep_filtering {1_data_prep_filtering.yaml} --source {output} --data_path {beside}/filtered",
    ),
    "1_data_prep_filtering": (
        DATA_STAGE
        + "2_data_prep_to_preference {2_data_prep_to_preference.yaml} --source {output} --data_path_pair {beside}/pairs"
        " --data_path_filtered {beside}/unpaired",
    ),
    "2_data_prep_to_preference": (
        _WEIGH.replace("{style}", "{STYLE}"),
        "python -m diversity_tuning.stylometry fit {stylometry.yaml!} --source {FILTERED} --output {beside}/stylometry",
        _WEIGH,
    ),
    "3_data_prep_for_diversified_training": (_DDPO, SFT_LINE),
    "4_data_prep_divpo": (
        _DDPO.replace("ddpo", "dpo").replace("{PAIRS}", "{output}").replace("{beside}/dpo", "{beside}/{selection}"),
        SFT_LINE,
    ),
    "generation": (_DDPO,),
    "reward": (
        "python -m scripts_reward_modeling.reward_model_perf_analysis --reward_model {output} --source {FILTERED}"
        " --output {beside}/reward-check",
    ),
    "reward_pairs": ("python -m scripts_eval.judge_agreement --reward {output} --pairs {PAIRS} --output {beside}/agreement",),
    "policy": (_EVALUATE, _LOOK),  # after any training of a policy that has no line of its own
    "reward_check": (_EVALUATE.replace("{policy}", "{trained}"),),
    "stylometry": (_WEIGH.replace("{style}", "--style_model builtin:stylometry:{output}"),),
    "distinct_threshold": (_EVALUATE.replace("{policy}", "{trained}") + " --distinct_threshold {output}",),
    "sample": (
        "python -m scripts_eval.score {style} --output {output} --reward_model {REWARD}",
        "python -m scripts_eval.score {style} --output {output}",
    ),
    "score": ("python -m scripts_eval.report --results {beside} --output {beside}/../report --compare all",),
    "report": ("open {output}/report.html",),
    "human_items": ("bash human-eval/run.sh --items {output}/items.jsonl --study STUDY",),
    "human_analysis": ("python -m scripts_eval.report --human {output} --results RUNS --output {beside}/report",),
}
# Word in braces -> stages whose newest output near is meant.
_NEAR = {
    "PAIRS": ("3_data_prep_for_diversified_training",),
    "UNWEIGHTED": ("2_data_prep_to_preference",),
    "FILTERED": ("1_data_prep_filtering",),
    "REWARD": ("reward", "reward_pairs"),
    "TOKENIZER": ("tokenizer",),
    "SCORED": ("0_data_prep_scoring",),
}
_BASE, _SFT_STAGE, _STYLE = "base_model", "generation", "stylometry"
_UNKNOWN = {
    "model": "--model_name_or_path MODEL", "start": "--model_name_or_path MODEL --adapter SFT", "source": "PROMPTS.txt",
    "policy": "--adapter ADAPTER --base_model MODEL", "trained": "--adapter ADAPTER --base_model MODEL",
}  # fmt: skip
ADAPTER_FILE = "adapter_config.json"


def register_next(stage: str, *lines: str) -> None:
    """Say what follows a stage of one's own; ``lines`` are those of :data:`NEXT`."""
    NEXT[stage] = lines


def print_next(stage: str, output: str | Path) -> None:
    """``next: …``, the command that usually follows. A command that another one calls says nothing."""
    if is_part_of_another():
        return
    line = next_line(stage, Path(output))
    if line:
        print(f"next: {line}", flush=True)


def next_line(stage: str, output: Path) -> str | None:
    """The line after ``stage`` wrote ``output``, or None where the command that follows does not exist here."""
    lines = NEXT.get(stage, NEXT["policy"])
    filled = [_fill(line, stage, output) for line in lines]
    known = [line for line, missing in filled if not missing]
    line: str | None = as_run_here(" ".join((known[0] if known else filled[-1][0]).split()))
    lost = not in_repository() and any(word in line for word in ("-m scripts_", "-m studies", "bash "))
    return None if lost or not line else line


def _fill(line: str, stage: str, output: Path) -> tuple[str, bool]:
    """The line with its words in braces replaced, and whether one of them is not known."""
    missing, parts = False, line.split("{")
    text = parts[0]
    for part in parts[1:]:
        word, _, rest = part.partition("}")
        found = _word(word, stage, output)
        missing |= found is None
        text += (_UNKNOWN.get(word, word.upper()) if found is None else found) + rest
    return text, missing


def _word(word: str, stage: str, output: Path) -> str | None:
    """What a word in braces stands for near an output; None where nothing there fits."""
    if word.endswith((".yaml", ".yaml!")):  # with !: needed
        recipe, name = _recipe_folder(), word.rstrip("!")
        there = recipe is not None and (recipe / name).is_file()
        return f"--config {_quoted(recipe / name)}" if there else None if word.endswith("!") else ""
    if word in ("output", "beside", "name"):
        return {"output": _quoted(output), "beside": _quoted(output.parent), "name": output.name}[word]
    if word == "selection":
        return _given("selection") or "divpo"
    if word in _NEAR:
        near = output if stage in _NEAR[word] else _near(output, _NEAR[word])
        return near and _quoted(near)
    if word == "source":
        source = _given("source")
        return _quoted(source) if source else None
    if word.lower() == "style":
        style = _near(output, (_STYLE,))
        return f"--style_model builtin:stylometry:{_quoted(style)}" if style else None if word == "STYLE" else ""
    if word == "policy":
        return _policy(output)
    if word == "trained":
        trained = _near(output, tuple(one.name for one in trainings().values() if one.makes == "policy"))
        return _policy(trained) if trained else None
    if word == "model":
        return _model(output if stage == _BASE else _near(output, (_BASE,)))
    if word == "start":
        return _start(output if stage == _SFT_STAGE else _near(output, (_SFT_STAGE,)))
    raise ValueError(f"a next step has the unknown word {{{word}}}")


def _policy(folder: Path) -> str | None:
    """The flags that sample what a training wrote: an adapter of its base, or a whole model."""
    if not (folder / ADAPTER_FILE).is_file():
        return f"--base_model {_quoted(folder)}"
    base = _base_of(folder)
    return f"--adapter {_quoted(folder)} --base_model {_quoted(base)}" if base else None


def _start(sft: Path | None) -> str | None:
    """The flags that start preference training from an SFT output."""
    if sft is None:
        return None
    if not (sft / ADAPTER_FILE).is_file():
        return f"--model_name_or_path {_quoted(sft)}"
    base = _base_of(sft)
    return f"--model_name_or_path {_quoted(base)} --adapter {_quoted(sft)}" if base else None


def _model(made: Path | None) -> str | None:
    """The flag with the base model that was made near, or nothing where the recipe of SFT names one."""
    if made:
        return f"--model_name_or_path {_quoted(made)}"
    recipe = _recipe_folder()
    named = recipe and (recipe / "generation.yaml").is_file() and read_recipe(recipe / "generation.yaml")
    return "" if named and "model_name_or_path" in named else None


def _base_of(adapter: Path) -> str | None:
    """The base model that an adapter says it was trained on."""
    return read_json(adapter / ADAPTER_FILE).get("base_model_name_or_path")


def _near(output: Path, stages: tuple[str, ...]) -> Path | None:
    """The newest output of one of ``stages`` beside ``output``, in the folders beside it, or one level above."""
    found = []
    for root in (output.parent, output.parent.parent):
        for pattern in ("*/provenance.json", "*/*/provenance.json"):
            for path in root.glob(pattern):
                hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
                if not hidden and path.parent != output and read_provenance(path.parent).get("stage") in stages:
                    found.append(path)
        if found:
            return max(found, key=lambda path: path.stat().st_mtime).parent
    return None


def _recipe_folder() -> Path | None:
    """The folder of the recipe that this process was started with."""
    config = _given("config")
    return Path(config).parent if config else None


def _given(flag: str) -> str | None:
    """The value of a flag of the command that was started."""
    words = words_of_command()
    for place, word in enumerate(words):
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name == flag:
            return value if equals else next(iter(words[place + 1 :]), None)
    return None


def _quoted(path: str | Path) -> str:
    return shlex.quote(str(path))
