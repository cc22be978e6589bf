r"""Sample responses of several adapters of one base model from one vLLM server, each into its own run folder.

python -m scripts_eval.sample_adapters --config recipes/llama-3.1-8b/eval1_1.yaml --source data/filtered \
    --adapters sft=runs/generation dpo=runs/dpo ddpo-both=runs/ddpo-both --output results
R=runs/miniature/seed0; python -m scripts_eval.sample_adapters --config recipes/miniature/eval1_1.yaml \
    --source $R/data/filtered --base_model $R/base --adapters dpo=$R/dpo ddpo-both=$R/ddpo-both --output runs/my-samples

Needs vLLM (`vllm` on the PATH, or VLLM=/path/to/bin/vllm). The server is started on all visible GPUs with every adapter, and
stopped at the end, after an error and after Ctrl-C. Adapters whose samples are there are skipped. To score them:
scripts_eval.generation_eval1_1 with the same flags, --engine vllm and --adapter, or scripts_eval.score.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.sample_adapters")

import dataclasses

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.sampling.run import add_output_arguments, add_sampling_arguments, sample_run, sampling_config
from diversity_tuning.evaluation.scoring.run import add_scoring_arguments
from diversity_tuning.generation.engine import make_server


@command
def main(argv=None) -> None:
    parser = Parser("scripts_eval.sample_adapters", __doc__)
    add_sampling_arguments(parser)
    add_scoring_arguments(parser, reward_required=False)  # a recipe's settings for what comes next; nothing is scored here
    parser.add_argument(
        "--adapters", nargs="+", required=True, metavar="NAME=FOLDER", help="adapters, each sampled into OUTPUT/NAME"
    )
    add_output_arguments(parser)
    parser.set_defaults(engine="vllm")
    args = parse_with_recipe(parser, argv)
    config, adapters = sampling_config(args), parse_adapters(args.adapters)
    if config.engine.engine != "vllm" or config.engine.adapter or config.engine.base_url or config.engine.model:
        raise UserError("one vLLM server is started for --adapters; leave --engine, --adapter, --base_url and --model out")
    root = config.output.rstrip("/")
    with make_server(config.engine, adapters, f"{root}.vllm.log") as server:
        for name, folder in adapters.items():
            engine = dataclasses.replace(config.engine, model=name, adapter=folder)
            sample_run(dataclasses.replace(config, engine=engine, output=f"{root}/{name}"), server)


def parse_adapters(words: list[str]) -> dict[str, str]:
    """``NAME=FOLDER`` words as a dict, in their order."""
    adapters: dict[str, str] = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if not (name and equals and folder) or "/" in name or name in adapters:
            raise UserError(f"--adapters {word}: give NAME=FOLDER, each name once and without a slash")
        adapters[name] = folder
    return adapters


if __name__ == "__main__":
    main()
