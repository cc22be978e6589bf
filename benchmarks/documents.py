"""The tables and numbers of README.md and of docs/, from results/: replaces the tables, prints the numbers.

python -m benchmarks.documents
python -m benchmarks.documents --reports    # first writes every report of results/ anew, figures too, from the published runs

A table of a document is replaced where one has the same columns; tables that no document has are printed to be pasted. Reports
that do not say how they were made are left as they are. tests/test_numbers.py fails where a document has another number.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.documents")

from pathlib import Path

from diversity_tuning.cli import Parser, command


@command
def main(argv=None) -> None:
    parser = Parser("benchmarks.documents", __doc__)
    parser.add_argument("--results", default="results", help="folder of the studies")
    parser.add_argument("--study", default="miniature", help="study below it that the documents report")
    parser.add_argument(
        "--documents",
        nargs="*",
        default=["README.md", *(f"docs/{name}.md" for name in ("RESULTS", "METHODS", "RLAIF"))],
        help="files whose tables are replaced",
    )
    parser.add_argument("--reports", action="store_true", help="write the reports anew first")
    args = parser.parse_args(argv)
    from benchmarks.document_tables import document_tables, numbers, replaced
    from benchmarks.method_tables import method_tables
    from diversity_tuning.errors import UserError
    from diversity_tuning.runs import write_text
    from studies.results.again import make_again, published_reports

    results = Path(args.results)
    for report in published_reports(results) if args.reports else ():
        make_again(report)
        print(f"{report}: written anew from its runs", flush=True)
    tables, placed = document_tables(results / args.study) | method_tables(results), set()
    told = numbers(results, args.study)
    documents = [Path(document) for document in args.documents]
    if missing := [document for document in documents if not document.is_file()]:
        raise UserError(f"--documents {missing[0]}: no such file (paths count from the root of the repository)")
    for document, content in [(document, _text(document)) for document in documents]:  # all are read before one is written
        text, found = replaced(content, tables)
        write_text(document, text)
        placed |= set(found)
        print(f"{document}: {len(found)} tables", flush=True)
    for name, table in tables.items():
        if name not in placed:
            print(f"\n{name}, in none of them:\n\n" + "\n".join(table), flush=True)
    print("\n" + "\n".join(told), flush=True)


def _text(document: Path) -> str:
    from diversity_tuning.errors import UserError

    try:
        return document.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"--documents {document}: not UTF-8; save it as UTF-8") from None


if __name__ == "__main__":
    main()
