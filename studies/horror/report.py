r"""The report of the horror recipe: tables and figures as one HTML page, Markdown and CSV.

python -m studies.horror.report --seeds runs/horror/seed0 runs/horror/seed1 \
        --output runs/horror/report
python -m studies.horror.report --seeds runs/horror-smollm2/seed0 --obedience --output runs/obedience    # before any DPO
python -m scripts_eval.judge_samples --reward judge.yaml --runs runs/horror/seed0/samples/sft --output runs/judged
python -m studies.horror.report … --judged unsettling_end=runs/judged
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.horror.report")

import html
from pathlib import Path

from diversity_tuning.cli import command, parse_with_recipe
from studies.horror.specification import GROUPS, group
from studies.report import as_frames, report_parser, write_report

_SHOWN = 3  # specifications of a group with a story of every model


@command
def main(argv=None) -> None:
    parser = report_parser("studies.horror.report", __doc__, "horror")
    parser.add_argument(
        "--judged", nargs="+", default=[], metavar="CONSTRAINT=FOLDER",
        help="print how a judge's verdicts (scripts_eval.judge_samples) on the first seed's stories agree with the rules",
    )  # fmt: skip
    parser.add_argument(
        "--obedience", action="store_true",
        help="the constraints inside and outside the pools alone, of the models sampled so far; needs no preference training",
    )  # fmt: skip
    args = parse_with_recipe(parser, argv)
    from diversity_tuning.evaluation.rendering import markdown
    from studies.horror import second_opinion
    from studies.horror.report_data import read_obedience, read_results
    from studies.horror.report_figures import draw_all
    from studies.horror.report_tables import groups, tables

    results = read_obedience(args.seeds, args.split) if args.obedience else read_results(args.seeds, args.split)
    judged = second_opinion.tables(results, args.judged)
    found = (groups(results) if args.obedience else tables(results)) + judged
    told = write_report(
        args.output,
        "horror_report",
        {"split": args.split, "seeds": [Path(seed).name for seed in args.seeds]},
        "Horror stories from specifications",
        found,
        lambda folder: draw_all(results, folder),
        as_frames(found) | results.frames(),
        {name: len(rows) for name, rows in results.stories.items()},
        sections={"Stories": _stories(results.stories)},
    )
    print(*map(markdown, judged), told, sep="\n", flush=True)


def _stories(stories: dict[str, list[dict]]) -> str:
    """The first story of every model for the poster's prompts and the first specifications of each group."""
    asked = {row["prompt"]: row["specification"] for row in stories["sft"]}
    by_group = [[prompt for prompt, spec in asked.items() if group(spec) == one] for one in reversed(GROUPS)]
    prompts = [prompt for found in by_group for prompt in found[:_SHOWN]]
    parts = []
    for prompt in prompts:
        parts.append(f"<h3>{html.escape(prompt.splitlines()[1])}</h3><pre>{html.escape(prompt)}</pre>")
        for model, rows in stories.items():
            row = next(row for row in rows if row["prompt"] == prompt)
            failed = [name for name, holds in row["constraints"].items() if holds is False and name != "all"]
            note = f"fails: {', '.join(failed)}" if failed else "keeps every constraint"
            parts.append(f"<h4>{model} <small>{html.escape(note)}</small></h4><pre>{html.escape(row['story'])}</pre>")
    return "".join(parts)


if __name__ == "__main__":
    main()
