"""What the stages that ask an LLM share on their command lines."""

from collections.abc import Callable
from dataclasses import asdict

from diversity_tuning.cli import command
from diversity_tuning.flags import parse_flags
from diversity_tuning.next_steps import print_next


def stage_command(name: str, text: str) -> Callable[..., int]:
    """``main(argv)`` of the stage of that name, which asks an LLM; ``text`` is its module's docstring."""

    @command
    def main(argv=None) -> None:
        from studies.judges.stages import SETTINGS, STAGES, StageConfig

        stage = next(one for one in STAGES if one.name == name)
        without = [] if "strengths" in stage.reads else ["debate"]
        without += [] if stage is STAGES[-1] else ["label_column"]
        config = parse_flags(
            StageConfig, f"scripts_multi_agent.{name}", text, argv, defaults=asdict(SETTINGS), without=without,
            extra="evaluation" if stage is STAGES[-1] else None,  # it draws what all stages found
        )  # fmt: skip
        run_role(stage, config)
        print_next(name, config.output)

    return main


def run_role(stage, config, engine: Callable | None = None) -> None:
    """Ask the stage's role, and after the last one report on all; ``engine`` makes one."""
    from studies.judges.stages import REFLECT, read_rows, run_stage

    if stage is not REFLECT:
        run_stage(stage, config, engine)
        return
    from studies.judges.verdict_report import check_labels, table, write_report

    check_labels(read_rows(config.source, ()), config.label_column)
    rows = run_stage(stage, config, engine)
    answers = config.engine
    prices = (answers.price_input, answers.price_output)
    summary = write_report(
        rows, config.output, config.label_column, None if None in prices else prices, model=answers.model or answers.base_model
    )
    print(table(summary), flush=True)
