r"""Sample responses of several adapters of one base model from one vLLM server, each into its own run folder.

python -m scripts_eval.sample_adapters --config eval1_1.yaml --source data/filtered \
    --adapters sft=runs/generation dpo=runs/dpo ddpo-both=runs/ddpo-both --output results
R=runs/mine; python -m scripts_eval.sample_adapters --config eval1_1.yaml \
    --source $R/data/filtered --base_model $R/base --adapters dpo=$R/dpo ddpo-both=$R/ddpo-both --output runs/my-samples

Needs vLLM (`vllm` on the PATH, or VLLM=/path/to/bin/vllm). The server is started on all visible GPUs with every adapter, and
stopped at the end, after an error and after Ctrl-C. Adapters whose samples are there are skipped. To score them:
scripts_eval.generation_eval1_1 with the same flags, --engine vllm and --adapter, or scripts_eval.score.
"""

from dataclasses import dataclass, replace

from diversity_tuning.cli import command
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.sampling.run import SamplingConfig, sample_run
from diversity_tuning.evaluation.scoring.run import ScoringConfig
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.generation.engine import make_server
from diversity_tuning.ranges import Flags


@dataclass(frozen=True)
class AdaptersConfig(Flags):
    """What is sampled."""

    adapters: list[str] = flag("adapters, each sampled into OUTPUT/NAME", metavar="NAME=FOLDER")


@command
def main(argv=None) -> None:
    # A recipe has settings of the scoring that comes next; nothing is scored here.
    classes = (AdaptersConfig, SamplingConfig, ScoringConfig)
    named, config, _ = parse_flags(classes, "scripts_eval.sample_adapters", __doc__, argv, defaults={"engine": "vllm"})
    adapters = parse_adapters(named.adapters)
    if config.engine.engine != "vllm" or config.engine.adapter or config.engine.base_url or config.engine.model:
        raise UserError("one vLLM server is started for --adapters; leave --engine, --adapter, --base_url and --model out")
    root = config.output.rstrip("/")
    with make_server(config.engine, adapters, f"{root}.vllm.log") as server:
        for name, folder in adapters.items():
            engine = replace(config.engine, model=name, adapter=folder)
            sample_run(replace(config, engine=engine, output=f"{root}/{name}"), server)


def parse_adapters(words: list[str]) -> dict[str, str]:
    """``NAME=FOLDER`` words as a dict, in their order."""
    adapters: dict[str, str] = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if not (name and equals and folder) or "/" in name or name in adapters:
            raise UserError(f"--adapters {word}: give NAME=FOLDER, each name once and without a slash")
        adapters[name] = folder
    return adapters
