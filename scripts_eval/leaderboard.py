"""Publish a report and its scored runs without their texts, and write the index of results/README.md.

python -m scripts_eval.leaderboard --study llama-3.1-8b --report runs/llama-3.1-8b/report
python -m scripts_eval.leaderboard --study llama-3.1-8b --report runs/llama-3.1-8b/report-controls --part controls
python -m scripts_eval.leaderboard --study llama-3.1-8b --runs runs/llama-3.1-8b/seed0/eval/*/
python -m scripts_eval.leaderboard

What stands above the mark in README.md is left as it is.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.leaderboard")

from pathlib import Path

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.errors import UserError


@command
def main(argv=None) -> None:
    parser = Parser("scripts_eval.leaderboard", __doc__)
    parser.add_argument("--results", default="results", help="folder of the studies")
    parser.add_argument("--study", default=None, help="study that --runs are copied into")
    parser.add_argument("--runs", nargs="+", default=[], help="scored run folders to copy")
    parser.add_argument("--report", default=None, help="finished report: published with the runs that it was made of")
    parser.add_argument("--part", default="", help="folder below the study's for the report, where it has several")
    args = parse_with_recipe(parser, argv)
    if bool(args.runs or args.report) != bool(args.study):
        raise UserError("--study and --runs, or --report, go together")
    if Path(args.part).name != args.part or args.part.startswith("."):
        raise UserError(f"--part {args.part}: give the name of one folder, nothing is written outside the study's")
    from studies.results.publish import (
        publish,
        publish_report,
        read_metrics,
        run_name,
        study_folder,
        write_index,
    )

    results, places = Path(args.results), {}
    study = study_folder(results, args.study) if args.study else results
    for run in map(Path, args.runs):
        twin = places.setdefault(run_name(run, read_metrics(run).get("seed")), run)
        if twin != run:
            raise UserError(f"{run} and {twin}: the same folder name and seed; publish them as two studies or rename one")
    results.mkdir(parents=True, exist_ok=True)
    names = publish([Path(run) for run in args.runs], study) if args.runs else []
    names += publish_report(Path(args.report), study, args.part) if args.report else []
    for name in names:
        print(f"{study}: {name}", flush=True)
    print(f"{results / 'README.md'}: {write_index(results)} runs", flush=True)


if __name__ == "__main__":
    main()
