"""Which variant keeps enough of DPO's gain in craft and of DDPO's gain in plots and voices: a table of scored runs.

python -m scripts_eval.gain_kept --runs runs/miniature/seed0/eval/{sft,dpo,ddpo-both,floor} --output runs/gain-kept

The runs need the labels of a diagnostics module. Writes gain_kept.md and gain_kept.csv, with a row per seed.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.gain_kept")

from pathlib import Path

from diversity_tuning.cli import Parser, command, parse_with_recipe


@command
def main(argv=None) -> None:
    parser = Parser("scripts_eval.gain_kept", __doc__)
    parser.add_argument("--runs", nargs="+", required=True, help="scored run folders: the three below, and the variants")
    parser.add_argument("--sft", default="sft", metavar="MODEL", help="where DPO's gain in craft starts, by name or method")
    parser.add_argument("--dpo", default="dpo", metavar="MODEL", help="where it ends, and DDPO's gain starts")
    parser.add_argument("--ddpo", default="ddpo-both", metavar="MODEL", help="where DDPO's gain in plots and voices ends")
    parser.add_argument("--output", required=True, help="folder to write to")
    args = parse_with_recipe(parser, argv)
    from diversity_tuning.evaluation.report.gain_kept import write_gain_kept

    table = write_gain_kept([Path(run) for run in args.runs], Path(args.output), (args.sft, args.dpo, args.ddpo))
    for row in table.rows:
        print(f"{row[0]}: meets the rule: {row[-1]}")
    print(f"{args.output}: {len(table.rows)} models", flush=True)


if __name__ == "__main__":
    main()
