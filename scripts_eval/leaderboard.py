"""Publish scored runs without their texts, and write the index of results/README.md from the JSON files.

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
    args = parse_with_recipe(parser, argv)
    if bool(args.runs) != bool(args.study):
        raise UserError("--study and --runs go together")
    from diversity_tuning.evaluation.report.leaderboard import place_of, publish, study_folder, write_index

    results, places = Path(args.results), {}
    study = study_folder(results, args.study) if args.study else results
    for run in map(Path, args.runs):
        twin = places.setdefault(place_of(run, study), run)
        if twin != run:
            raise UserError(f"{run} and {twin}: the same folder name and seed; publish them as two studies or rename one")
    results.mkdir(parents=True, exist_ok=True)
    for run in args.runs:
        print(publish(Path(run), study), flush=True)
    print(f"{results / 'README.md'}: {write_index(results)} runs", flush=True)


if __name__ == "__main__":
    main()
