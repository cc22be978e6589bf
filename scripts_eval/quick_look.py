r"""A first look at models: sample a file of prompts, score the samples, and print quality and diversity as one table.

    python -m scripts_eval.quick_look --adapter runs/mine/dpo runs/mine/ddpo --base_model meta-llama/Llama-3.1-8B \
        --prompts prompts.txt --reward_model runs/mine/reward --output runs/mine/look
    python -m scripts_eval.quick_look --base_model Qwen/Qwen2.5-0.5B-Instruct --prompts prompts.jsonl --output runs/look

Prompts are a .txt file (one a line) or a .jsonl, .jsonl.gz, .parquet or .csv file with a column 'prompt'. Without --adapter the
base or instruct model itself is sampled; --with_base does that too. Each model gets a run folder below --output, as
scripts_eval.sample and scripts_eval.score write it; a stopped run resumes with the same command.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.quick_look")

import argparse
from pathlib import Path

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.data.tables import check_source_name, may_be_hub_id
from diversity_tuning.errors import UserError

_SAMPLING = (
    "num_prompts num_samples max_new_tokens temperature top_k top_p repetition_penalty seed system_prompt dtype"
    " sample_batch_size device"
).split()
_SCORING = "reward_model semantic_model style_model embedding_cache device".split()


@command
def main(argv=None) -> None:
    args = parse_with_recipe(make_parser(), argv)
    check_inputs(args)
    models = named_models(args.adapter, args.base_model, args.with_base)
    from scripts_eval import generation_eval1_2, sample, score

    output, switches = Path(args.output), ["--trust_remote_code"] if args.trust_remote_code else []
    runs = {name: str(output / name) for name in models}
    for name, adapter in models.items():
        print(f"{name}: sampling", flush=True)
        model = ["--base_model", args.base_model, *(["--adapter", adapter] if adapter else [])]
        where = ["--source", args.prompts, "--split", "train", "--start", "0", "--output", runs[name]]
        again = ["--overwrite"] if args.overwrite else []
        sample.main([*where, *model, *_flags(args, _SAMPLING), *switches, *again])
    for run in runs.values():
        # The samples decide what is there; scores are cheap, and made anew with whatever models are given now.
        score.main(["--output", run, *_flags(args, _SCORING), *switches, "--overwrite"])
    generation_eval1_2.main(["--val_files", *(str(Path(run).resolve()) for run in runs.values())])
    _show(args, output, list(runs.values()))


def make_parser() -> Parser:
    """The flags: models, prompts, how to sample and score."""
    parser = Parser("scripts_eval.quick_look", __doc__)
    parser.add_argument("--adapter", nargs="+", default=[], help="LoRA adapters of the base model, one run each")
    parser.add_argument("--base_model", required=True, help="the model that they were trained on, folder or hub id")
    parser.add_argument("--with_base", action="store_true", help="sample the base model without adapter too")
    parser.add_argument("--prompts", required=True, help=".txt, one a line; or .jsonl, .jsonl.gz, .parquet, .csv with 'prompt'")
    parser.add_argument("--output", required=True, help="folder for the run folders and the table")
    parser.add_argument("--num_prompts", type=at_least(1), default=100, help="the first so many prompts")
    group = parser.add_argument_group("sampling")
    group.add_argument(
        "--num_samples", type=at_least(2), default=4, help="responses per prompt, 2 or more: diversity is among them"
    )
    group.add_argument("--max_new_tokens", type=at_least(1), default=512, help="tokens where a response is cut")
    group.add_argument("--temperature", type=float, default=1.0, help="temperature")
    group.add_argument("--top_k", type=int, default=50, help="most likely tokens that are kept; 0 keeps all")
    group.add_argument("--top_p", type=float, default=0.95, help="probability that is kept")
    group.add_argument("--repetition_penalty", type=float, default=1.1, help="1 for none; applies to the prompt's tokens too")
    group.add_argument("--seed", type=int, default=42, help="decides every sample")
    group.add_argument("--system_prompt", default=None, help="system line, for instruct models")
    group.add_argument("--sample_batch_size", type=at_least(1), default=64, help="responses at once; does not change them")
    group.add_argument("--dtype", default=None, help="precision of the weights, such as bfloat16; default: as saved")
    group = parser.add_argument_group("scoring")
    group.add_argument("--reward_model", default=None, help="trained reward model; without one there is no column reward")
    group.add_argument(
        "--semantic_model", default="builtin:minilm", help="semantic embedding model; the default needs no network"
    )
    group.add_argument("--style_model", default="none", help="style embedding model; none leaves style out")
    group.add_argument("--embedding_cache", default=None, help="folder that keeps embeddings between runs")
    parser.add_argument("--device", default=None, help="cpu, cuda, …; default: cuda where there is one")
    parser.add_argument("--trust_remote_code", action="store_true", help="run the hub's code")
    parser.add_argument("--overwrite", action="store_true", help="sample anew")
    return parser


def check_inputs(args: argparse.Namespace) -> None:
    """What is not there is said before anything is sampled."""
    check_source_name(args.prompts, "--prompts")
    for flag, name in (("reward_model", args.reward_model), *(("adapter", adapter) for adapter in args.adapter)):
        if name and not Path(name).exists() and not may_be_hub_id(name):
            raise UserError(f"--{flag} {name}: not there; was its training finished?")
    for adapter in args.adapter:
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


def _flags(args: argparse.Namespace, names: list[str]) -> list[str]:
    return [f"--{name}={value}" for name in names if (value := getattr(args, name)) is not None]


def _show(args: argparse.Namespace, output: Path, runs: list[str]) -> None:
    """Print and keep the table; say where the texts are and what to do next."""
    from diversity_tuning.evaluation.report.overview import terminal_table
    from diversity_tuning.runs import write_text

    encoders = {"semantic": args.semantic_model, "style": args.style_model}
    table = terminal_table([Path(run) for run in runs])
    table += "\n" + ", ".join(f"{kind} by {model}" for kind, model in encoders.items() if model != "none")
    write_text(output / "quick_look.txt", table + "\n")
    print(f"\n{table}\n")
    print(f"the table:      {output / 'quick_look.txt'}")
    print(f"the responses:  {output}/*/scores.csv; per prompt: {output}/*/prompts.csv")
    print("next, intervals of the differences, figures, and the texts side by side:")
    print(f"  python -m scripts_eval.report --runs {' '.join(runs)} --output {output}/report --compare all", flush=True)


if __name__ == "__main__":
    main()
