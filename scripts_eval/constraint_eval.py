"""Check stories against their specifications: which of fifteen constraints each keeps, by rules that read text alone.

python -m scripts_eval.constraint_eval --source stories.jsonl --output results/constraints
python -m scripts_eval.constraint_eval --source runs/horror/seed0/samples/dpo-hard/samples.jsonl --output runs/my-constraints
python -m scripts_eval.constraint_eval --source tests/studies/horror/stories.jsonl --output runs/fixture --labels

Rows: `specification` (title, setting, protagonist, supporting, object, taboo, taboo_kept, twist) and `story`, or a sampled
run's `prompt`, `response` and `finished`. Writes `constraints.jsonl` (the rows, with `constraints`) and `summary.json`
(rate, low, high and n per constraint). With --labels, rows have `labels` too, and `confusion.json` compares
the rules with them.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.constraint_eval")

import argparse

from diversity_tuning.cli import Parser, command, parse_with_recipe


def build_parser() -> argparse.ArgumentParser:
    parser = Parser("scripts_eval.constraint_eval", __doc__)
    parser.add_argument("--source", required=True, help="JSON lines of specifications and stories")
    parser.add_output("folder for constraints.jsonl and summary.json")
    parser.add_argument("--labels", action="store_true", help="compare with the rows' labels (an object of booleans)")
    return parser


@command
def main(argv=None) -> None:
    args = parse_with_recipe(build_parser(), argv)
    from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_json, write_json_lines, write_provenance
    from studies.horror import constraint_rows

    record = provenance("constraint_eval", {"labels": args.labels, "rules": constraint_rows.rules()}, {"source": args.source})
    if is_finished(args.output, record, args.overwrite):
        return
    rows = constraint_rows.checked(constraint_rows.read(args.source, args.labels))
    summary = constraint_rows.summary(rows)
    with atomic_folder(args.output) as folder:
        write_json_lines(folder / "constraints.jsonl", rows)
        write_json(folder / "summary.json", summary)
        if args.labels:
            confusion = constraint_rows.confusion(rows)
            write_json(folder / "confusion.json", confusion)
        write_provenance(folder, record, counts={"stories": len(rows)})
    print(constraint_rows.table(summary), flush=True)
    if args.labels:
        print(constraint_rows.confusion_table(confusion), flush=True)
    print(f"{args.output}: {len(rows)} stories", flush=True)


if __name__ == "__main__":
    main()
