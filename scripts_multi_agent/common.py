"""What the stages that ask an LLM share on their command lines."""

import argparse
from collections.abc import Callable

from diversity_tuning.cli import Parser, at_least, command, from_flags, parse_with_recipe
from diversity_tuning.next_steps import print_next


def stage_command(name: str, text: str) -> Callable[..., int]:
    """``main(argv)`` of the stage of that name, which asks an LLM; ``text`` is its module's docstring."""

    @command
    def main(argv=None) -> None:
        from diversity_tuning.judging.stages import STAGES

        stage = next(one for one in STAGES if one.name == name)
        parser = Parser(f"scripts_multi_agent.{name}", text)
        parser.add_argument("--source", required=True, help="output folder of the stage before")
        add_role_arguments(parser)
        if "strengths" in stage.reads:
            parser.add_argument("--no_debate", action="store_true", help=f"hide strengths and weaknesses from {stage.role}")
        if stage is STAGES[-1]:
            add_report_arguments(parser)
        args = parse_with_recipe(parser, argv)
        run_role(stage, args, stage_config(args, debate=not getattr(args, "no_debate", False)))
        print_next(name, args.output)

    return main


def run_role(stage, args: argparse.Namespace, config, engine: Callable | None = None) -> None:
    """Ask the stage's role, and after the last one report on all; ``engine`` makes one."""
    from diversity_tuning.judging.stages import REFLECT, read_rows, run_stage

    if stage is not REFLECT:
        run_stage(stage, config, engine)
        return
    from diversity_tuning.judging.verdict_report import check_labels, table, write_report

    check_labels(read_rows(config.source, ()), args.label_column)
    rows = run_stage(stage, config, engine)
    model = config.engine.model or config.engine.base_model
    print(table(write_report(rows, config.output, args.label_column, prices(args), model=model)), flush=True)


def run_pairs(args: argparse.Namespace, source: str, output: str, update: bool = False) -> None:
    """Read, pair, save, report; nothing where the same pairs are there already. ``update``: replace those of other rows."""
    from diversity_tuning.judging.verdict_pairs import make_pairs

    options = {"length_match": args.length_match, "max_pairs": args.max_pairs, "validation_share": args.validation_share}
    make_pairs(source, output, args.verdict, **options, seed=args.seed, overwrite=args.overwrite, update=update)


def add_role_arguments(parser: Parser) -> None:
    """Who answers, by which prompts, and where to."""
    from diversity_tuning.generation.engine import add_engine_arguments

    parser.add_argument("--output", required=True, help="output folder")
    parser.add_argument("--language", choices=["en", "zh"], default="en", help="language of the prompts")
    parser.add_argument("--task", default="stories", help="rubric: stories, greetings, or one of --prompts")
    parser.add_argument("--prompts", help="folder of your own ROLE.txt and rubrics/TASK.txt; ours for what it has not")
    parser.add_argument("--retry_failed", action="store_true", help="ask again about responses whose reply was of no use")
    add_engine_arguments(parser)
    _add_sampling_arguments(parser)
    parser.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="redo what is there")


def _add_sampling_arguments(parser: Parser) -> None:
    group = parser.add_argument_group("sampling")
    group.add_argument("--system_prompt", help="system line")
    group.add_argument("--temperature", type=float, default=0.2, help="temperature, above 0")
    group.add_argument("--top_k", type=int, default=0, help="local, vllm: most likely tokens; 0 keeps all")
    group.add_argument("--top_p", type=float, default=1.0, help="probability that is kept; not sent to Anthropic")
    group.add_argument("--repetition_penalty", type=float, default=1.0, help="local, vllm: 1 is none, as JSON needs")
    group.add_argument("--max_new_tokens", type=at_least(1), default=1024, help="where a reply is cut, reasoning included")
    group.add_argument("--seed", type=int, default=0, help="decides every reply of the local engine")
    group.add_argument("--device", help="local: cpu, cuda, …; default: cuda where there is one")


def add_retrieval_arguments(parser: Parser) -> None:
    """The candidates, the corpus and the search. The device is that of the encoder."""
    parser.add_argument(
        "--source", required=True, help="candidates: rows of prompt and response, or a run of scripts_eval.sample"
    )
    parser.add_argument("--split", default="train", help="split of it")
    parser.add_argument("--corpus", help="well-received responses: rows of prompt and response; without it no examples")
    parser.add_argument("--corpus_split", default="train", help="split of it")
    parser.add_argument("--popularity_column", help="numeric column of the corpus, such as clicks or votes")
    parser.add_argument("--k_search", type=at_least(1), default=10, help="nearest prompts of the corpus, by cosine")
    parser.add_argument("--k_final", type=at_least(1), default=3, help="of these the most popular, which are the examples")
    parser.add_argument("--encoder", default="builtin:minilm", help="id, folder or builtin:minilm")
    parser.add_argument("--embedding_cache", help="folder that keeps embeddings between runs")


def add_pair_arguments(parser: Parser) -> None:
    """How verdicts become pairs."""
    parser.add_argument("--verdict", choices=["reflect", "judge"], default="reflect", help="whose verdict counts")
    parser.add_argument("--length_match", type=share, help="shorter / longer of a pair in characters, at least; default: any")
    parser.add_argument("--max_pairs", type=at_least(1), help="pairs of a prompt, at most, drawn by the seed; default: all")
    parser.add_argument("--validation_share", type=share, default=0.0, help="prompts that go to a split 'validation'")


def add_report_arguments(parser: Parser) -> None:
    """What the verdicts are compared with."""
    parser.add_argument("--label_column", help="0 or 1, to compare the verdicts with; default: label, where there is one")


def share(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 1")
    return value


def stage_config(args: argparse.Namespace, **more):
    """The flags of :func:`add_role_arguments`."""
    from diversity_tuning.generation.engine import engine_config
    from diversity_tuning.generation.requests import SamplingSettings
    from diversity_tuning.judging.stages import StageConfig

    return from_flags(StageConfig, args, engine=engine_config(args), settings=from_flags(SamplingSettings, args), **more)


def prices(args: argparse.Namespace) -> tuple[float, float] | None:
    """Of a million tokens, in and out; None where they are not given."""
    both = (args.price_input, args.price_output)
    return None if None in both else both
