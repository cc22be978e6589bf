r"""All stages of Path A: candidates to examples, strengths, weaknesses, verdicts, final verdicts, pairs.

python -m scripts_multi_agent.main --source runs/eval/sft --corpus corpus.jsonl --popularity_column clicks --output out \
    --engine openai --base_url http://localhost:8000/v1 --model MODEL
OPENAI_API_KEY=… python -m scripts_multi_agent.main --source candidates.jsonl --output out --engine openai --model gpt-4o \
    --max_cost 20 --price_input 2.5 --price_output 10

Each stage has its folder in --output (0_retrieval, 1_positive, 2_negative, 3_judge, 4_reflect, pairs) and can be run on its
own (python -m scripts_multi_agent.0_retrieval_agent --help, …). A killed run goes on by the same command;
so does one with other candidates in --source, where only new responses are asked about.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_multi_agent.main")

from pathlib import Path

from diversity_tuning.cli import Parser, command, from_flags, parse_with_recipe
from diversity_tuning.next_steps import print_next
from scripts_multi_agent.common import (
    add_pair_arguments,
    add_report_arguments,
    add_retrieval_arguments,
    add_role_arguments,
    run_pairs,
    run_role,
    stage_config,
)


@command
def main(argv=None) -> None:
    parser = Parser("scripts_multi_agent.main", __doc__)
    add_retrieval_arguments(parser)
    add_role_arguments(parser)
    add_report_arguments(parser)
    add_pair_arguments(parser)
    args = parse_with_recipe(parser, argv)
    run(args)
    print_next("5_verdicts_to_preference", Path(args.output) / "pairs")


class Caps:
    """Makes an engine for each stage, such that ``--max_requests`` and ``--max_cost`` hold for all stages together."""

    def __init__(self, config, log: str):
        self.config, self.log, self.budget = config, log, None

    def engine(self):
        """An engine that spends from what all of them may spend."""
        from diversity_tuning.generation.engine import make_engine

        engine = make_engine(self.config, log=self.log)
        if hasattr(engine, "budget"):
            self.budget = engine.budget = self.budget or engine.budget
        return engine


def run(args) -> None:
    """The stages in their order, each from the folder of the one before."""
    from diversity_tuning.judging.retrieval import RetrievalConfig, run_retrieval
    from diversity_tuning.judging.roles import load_role
    from diversity_tuning.judging.stages import STAGES
    from diversity_tuning.judging.verdict_report import check_labels

    output = Path(args.output)
    places = {name: str(output / name) for name in ("0_retrieval", "1_positive", "2_negative", "3_judge", "4_reflect", "pairs")}
    config = stage_config(args, source="", output="")
    caps = Caps(config.engine, str(output / "vllm.log"))
    caps.engine()  # what is missing or wrong is told before anything is embedded
    for stage in STAGES:
        load_role(stage.role, config.language, config.task, config.prompts)
    cache = args.embedding_cache or str(output / "embeddings")
    options = {"output": places["0_retrieval"], "embedding_cache": cache, "device": args.device or "auto", "update": True}
    check_labels(run_retrieval(from_flags(RetrievalConfig, args, **options)), args.label_column)
    source = places["0_retrieval"]
    for stage, name in zip(STAGES, list(places)[1:-1], strict=True):
        run_role(stage, args, stage_config(args, source=source, output=places[name]), caps.engine)
        source = places[name]
    run_pairs(args, source, places["pairs"], update=True)


if __name__ == "__main__":
    main()
