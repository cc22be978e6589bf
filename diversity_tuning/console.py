"""The commands of the library, and how they are called: ``diversity-tuning NAME`` or, in the repository, a module.

diversity-tuning ddpo --help                            installed by pip
python -m scripts_dpo.generation_ddpo_model_train --help    the same in the repository
"""

import importlib
import importlib.metadata
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from diversity_tuning.names import nearest
from diversity_tuning.objectives import trainings

CONSOLE = "diversity-tuning"


@dataclass(frozen=True)
class Command:
    """A command: ``module`` of the library has its ``main(argv)``, ``script`` is its module in the repository."""

    module: str
    script: str
    about: str


_DATA, _EVAL, _REWARD = "scripts_dataset_cleaner", "scripts_eval", "scripts_reward_modeling"
COMMANDS = {
    "describe": Command("commands.describe", f"{_DATA}.describe", "a page about any data: sizes, votes, δ"),
    "votes": Command("commands.votes", f"{_DATA}.0_data_prep_scoring", "stage 0: votes mapped to [-1, 1], splits"),
    "filter": Command("commands.filter", f"{_DATA}.1_data_prep_filtering", "stage 1: leave out what is no response"),
    "pair": Command("commands.pair", f"{_DATA}.2_data_prep_to_preference", "stage 2: preference pairs within a prompt"),
    "weigh": Command("commands.weigh", f"{_DATA}.3_data_prep_for_diversified_training", "stage 3: δ, the weight of a pair"),
    "divpo": Command("commands.divpo", f"{_DATA}.4_data_prep_divpo", "stage 4: DivPO's pairs, a baseline"),
    "sample": Command("commands.sample", f"{_EVAL}.sample", "sample responses to prompts"),
    "score": Command("commands.score", f"{_EVAL}.score", "score samples: reward, diversity"),
    "evaluate": Command("commands.evaluate", f"{_EVAL}.generation_eval1_1", "sample and score"),
    "look": Command("commands.look", f"{_EVAL}.quick_look", "a first look at models: one table"),
    "report": Command("commands.report", f"{_EVAL}.report", "tables, figures and a page of scored runs"),
    "distinct": Command(
        "commands.distinct", f"{_EVAL}.distinct_threshold", "the distance below which two samples are the same"
    ),
    "auxiliary": Command(
        "commands.auxiliary", f"{_EVAL}.generation_eval1_2", "n-gram diversity, homogenization, compression of scored runs"
    ),
    "references": Command(
        "commands.references", f"{_EVAL}.generation_eval2", "the data's own responses, measured like a model's"
    ),
    "texts": Command("commands.texts", f"{_EVAL}.score_texts", "score responses that were sampled elsewhere"),
    "adapters": Command("commands.adapters", f"{_EVAL}.sample_adapters", "sample several adapters from one vLLM server"),
    "reward_check": Command(
        "commands.reward_check", f"{_REWARD}.reward_model_perf_analysis", "check a reward model on held-out responses"
    ),
    "judge_samples": Command("commands.judge_samples", f"{_EVAL}.judge_samples", "a judge's verdicts on policies' samples"),
    "judge_agreement": Command(
        "commands.judge_agreement", f"{_EVAL}.judge_agreement", "how far a judge or reward agrees with people"
    ),
    "human_analysis": Command(
        "commands.human_analysis", f"{_EVAL}.human_eval_analysis", "win rates and agreement of a human study"
    ),
    "human_items": Command(
        "commands.human_items", f"{_EVAL}.prepare_human_eval_data", "the items of a human study from two runs"
    ),
    "human_power": Command("commands.human_power", f"{_EVAL}.human_eval_power", "what a human study of a given size can find"),
}


def commands() -> dict[str, Command]:
    """:data:`COMMANDS` and everything that can be trained."""
    trained = {one.command: Command("training.command", one.module, one.card) for one in trainings().values()}
    return {**COMMANDS, **trained}


def in_repository() -> bool:
    """Whether this is a checkout of the repository, with its stage scripts beside the library."""
    return (Path(__file__).parents[1] / "scripts_eval").is_dir()


def as_run_here(text: str) -> str:
    """``text`` with every command in the form that exists here: as a module of the repository, or of the installed package."""
    if in_repository():
        return text
    names = {command.script: name for name, command in commands().items()}
    text = re.sub(r"python -m diversity_tuning\.training (?=[a-z])", f"{CONSOLE} ", text)
    found = re.compile(r"(?:python -m )?(scripts_\w+(?:\.\w+)+)")
    return found.sub(lambda match: f"{CONSOLE} {names[match[1]]}" if match[1] in names else match[0], text)


def main(argv: list[str] | None = None) -> int:
    """``diversity-tuning NAME …``: run a command of :data:`COMMANDS`."""
    words, known = sys.argv[1:] if argv is None else argv, commands()
    if not words or words[0] in ("-h", "--help"):
        width = max(map(len, known))
        rows = [f"  {name:{width}}  {command.about}" for name, command in known.items()]
        try:
            print("\n".join([f"usage: {CONSOLE} NAME [flags]", "", *rows, "", f"Flags of a command: {CONSOLE} NAME --help"]))
            sys.stdout.flush()
        except BrokenPipeError:  # `| head` is no error
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if words[0] == "--version":
        print(f"{CONSOLE} {importlib.metadata.version(CONSOLE)}")
        return 0
    name = words[0].replace("-", "_")
    if name not in known:
        print(f"error: no command '{words[0]}'{nearest(words[0], known)} (see {CONSOLE} --help)", file=sys.stderr)
        return 2
    module = importlib.import_module(f"diversity_tuning.{known[name].module}")
    trained = {one.command: one.name for one in trainings().values()}
    run = module.training_command(trained[name]) if name in trained else module.main
    return run(words[1:])


if __name__ == "__main__":
    raise SystemExit(main())
