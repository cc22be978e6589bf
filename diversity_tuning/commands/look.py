r"""A first look at models: sample a file of prompts, score the samples, and print quality and diversity as one table.

    python -m scripts_eval.quick_look --adapter runs/mine/dpo runs/mine/ddpo --base_model meta-llama/Llama-3.1-8B \
        --prompts prompts.txt --reward_model runs/mine/reward --output runs/mine/look
    python -m scripts_eval.quick_look --base_model Qwen/Qwen2.5-0.5B-Instruct --prompts prompts.jsonl --output runs/look

Prompts are a .txt file (one a line) or a .jsonl, .jsonl.gz, .parquet or .csv file with a column 'prompt'. Without --adapter the
base or instruct model itself is sampled; --with_base does that too. Each model gets a run folder below --output, as
scripts_eval.sample and scripts_eval.score write it; a stopped run resumes with the same command.
"""

import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

from diversity_tuning.cli import as_part, command
from diversity_tuning.data.tables import check_source_name, may_be_hub_id
from diversity_tuning.deviation_types import TYPES, models_of
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.sampling.run import SamplingConfig, sample_run
from diversity_tuning.evaluation.scoring.run import ScoringConfig, score_run
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.public import printable
from diversity_tuning.ranges import Flags

_SHOWN = 400  # most characters of a text that is shown

# Defaults that differ from those of scripts_eval.sample and scripts_eval.score: any prompts, short answers, no network.
_DEFAULTS = {"num_prompts": 100, "max_new_tokens": 512, "semantic_model": "builtin:minilm", "style_model": "none"}
_NOT_HERE = ("source", "split", "start", "engine", "verbalized", "iterative", "seed_of_thought", "accept_failures", "min_p")
_NOT_HERE += ("diagnostics", "batch_size", "distinct_threshold", "distinct_classifier", "quality_threshold")
_NOT_HERE += ("name", "method", "strength", "training_seed", "model", "base_url", "extra_body", "max_requests", "max_cost")
_NOT_HERE += ("price_input", "price_output", "concurrency", "timeout", "max_retries", "cache", "tensor_parallel")
_NOT_HERE += ("data_parallel", "vllm_flags", "server_timeout")


@dataclass(frozen=True)
class LookConfig(Flags):
    """Which models are looked at, and on which prompts."""

    prompts: str = flag(".txt, one a line; or .jsonl, .jsonl.gz, .parquet, .csv with 'prompt'")
    adapter: list[str] = flag("LoRA adapters of the base model, one run each", factory=list)
    with_base: bool = flag("sample the base model without adapter too", default=False)


@command
def main(argv=None) -> None:
    classes = (LookConfig, SamplingConfig, ScoringConfig)
    look, sampling, scoring = parse_flags(
        classes, "scripts_eval.quick_look", __doc__, argv, extra="evaluation",
        defaults=_DEFAULTS, required=["base_model"], without=_NOT_HERE, given={"source": ""},
    )  # fmt: skip
    check_inputs(look, sampling, scoring)
    base = sampling.engine.base_model
    models = named_models(look.adapter, base, look.with_base)
    output = Path(sampling.output)
    runs = {name: str(output / name) for name in models}
    for name, adapter in models.items():
        print(f"{name}: sampling", flush=True)
        engine = replace(sampling.engine, adapter=adapter)
        where = {"source": look.prompts, "split": "train", "start": 0, "output": runs[name]}
        sample_run(replace(sampling, engine=engine, **where))
    from diversity_tuning.evaluation.scoring.auxiliary import add_to_run

    with as_part():
        for run in runs.values():
            # The samples decide what is there; scores are cheap, and made anew with whatever models are given now.
            score_run(replace(scoring, output=run, overwrite=True, log_prob_model=scoring.log_prob_model or base))
        for run in runs.values():
            add_to_run(Path(run), "whole")
    _show(scoring, output, list(runs.values()))


def check_inputs(look: LookConfig, sampling: SamplingConfig, scoring: ScoringConfig) -> None:
    """What is not there is said before anything is sampled."""
    if sampling.num_samples < 2:
        raise UserError(f"--num_samples {sampling.num_samples}: give 2 or more, diversity is among them")
    check_source_name(look.prompts, "--prompts")
    for flag_name, name in (("reward_model", scoring.reward_model), *(("adapter", adapter) for adapter in look.adapter)):
        if name and not Path(name).exists() and not may_be_hub_id(name):
            raise UserError(f"--{flag_name} {name}: not there; was its training finished?")
    for adapter in look.adapter:
        if Path(adapter).exists() and not (Path(adapter) / "adapter_config.json").is_file():
            raise UserError(f"--adapter {adapter}: no adapter here (adapter_config.json); give a whole model as --base_model")


def named_models(adapters: list[str], base_model: str, with_base: bool) -> dict[str, str | None]:
    """Name -> adapter (None: the base model alone). Folders of one name are told apart by the folder that they lie in."""
    found: dict[str, str | None] = {"base": None} if with_base else {}
    if not adapters:
        return {Path(base_model).resolve().name: None}
    names = [Path(adapter).resolve().name for adapter in adapters]
    for adapter, name in zip(adapters, names, strict=True):
        if names.count(name) > 1 or name == "base":
            name = f"{Path(adapter).resolve().parent.name}-{name}"
        if name in found:
            raise UserError(f"--adapter {adapter}: another adapter is called {name} too; rename or leave one out")
        found[name] = adapter
    return found


def _show(scoring: ScoringConfig, output: Path, runs: list[str]) -> None:
    """Print and keep the table; say where the texts are and what to do next."""
    from diversity_tuning.console import as_run_here
    from diversity_tuning.evaluation.report.overview import terminal_table
    from diversity_tuning.runs import write_text

    table = terminal_table([Path(run) for run in runs])
    table += "\n" + ", ".join(
        f"{TYPES[kind].label} by {model}" for kind, model in models_of(scoring).items() if model != "none"
    )
    write_text(output / "quick_look.txt", table + "\n")
    for run in runs:
        print("\n".join(["", f"{Path(run).name}:", *_two_samples(Path(run))]))
    print(f"\n{table}\n")
    print(f"the table:      {output / 'quick_look.txt'}")
    print(f"the responses:  {output}/*/scores.csv; per prompt: {output}/*/prompts.csv")
    print("next, intervals of the differences, figures, and the texts side by side:")
    report = f"  python -m scripts_eval.report --runs {' '.join(runs)} --output {output}/report --compare all"
    print(as_run_here(report), flush=True)


def _two_samples(run: Path) -> list[str]:
    """Lines that show how a model answers its first prompt, twice: numbers do not tell babble from diversity."""
    from diversity_tuning.evaluation.sampling.samples import read_samples

    first, *others = read_samples(run)
    second = next(row for row in others if row.prompt_id == first.prompt_id)
    texts = [first.prompt, first.response, second.response]
    shown = [textwrap.shorten(printable(text), _SHOWN, placeholder=" …") for text in texts]
    heads = ("  prompt: ", "  - ", "  - ")
    return [
        textwrap.fill(text, 100, initial_indent=head, subsequent_indent="    ") for head, text in zip(heads, shown, strict=True)
    ]
