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

from dataclasses import asdict, replace
from pathlib import Path

from diversity_tuning.cli import command
from diversity_tuning.flags import parse_flags
from diversity_tuning.next_steps import print_next
from scripts_multi_agent.common import run_role

FOLDERS = ("0_retrieval", "1_positive", "2_negative", "3_judge", "4_reflect", "pairs")


@command
def main(argv=None) -> None:
    from studies.judges.retrieval import RetrievalConfig
    from studies.judges.stages import SETTINGS, StageConfig
    from studies.judges.verdict_pairs import PairsConfig

    configs = parse_flags(
        (StageConfig, RetrievalConfig, PairsConfig), "scripts_multi_agent.main", __doc__, argv,
        defaults=asdict(SETTINGS), without=("debate", "batch_size"), extra="evaluation",
    )  # fmt: skip
    run(*configs)
    print_next("5_verdicts_to_preference", Path(configs[0].output) / "pairs")


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


def run(config, retrieval, pairs) -> None:
    """The stages in their order, each from the folder of the one before."""
    from diversity_tuning.judging.roles import load_role
    from studies.judges.retrieval import run_retrieval
    from studies.judges.stages import STAGES
    from studies.judges.verdict_pairs import make_pairs
    from studies.judges.verdict_report import check_labels

    output = Path(config.output)
    places = [str(output / name) for name in FOLDERS]
    caps = Caps(config.engine, str(output / "vllm.log"))
    caps.engine()  # what is missing or wrong is told before anything is embedded
    for stage in STAGES:
        load_role(stage.role, config.language, config.task, config.prompts)
    cache = retrieval.embedding_cache or str(output / "embeddings")
    device = retrieval.device or "auto"
    rows = run_retrieval(replace(retrieval, output=places[0], embedding_cache=cache, device=device, update=True))
    check_labels(rows, config.label_column)
    for stage, source, place in zip(STAGES, places, places[1:-1], strict=False):
        run_role(stage, replace(config, source=source, output=place), caps.engine)
    make_pairs(replace(pairs, source=places[-2], output=places[-1]), update=True)


if __name__ == "__main__":
    main()
