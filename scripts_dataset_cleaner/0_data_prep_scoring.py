"""Stage 0: titles without tags, votes mapped to [-1, 1], train and test splits.

python -m scripts_dataset_cleaner.0_data_prep_scoring --source euclaise/WritingPrompts_preferences --data_path out/scored
python -m scripts_dataset_cleaner.0_data_prep_scoring --source posts.jsonl.gz --data_path out/scored --group_split
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_dataset_cleaner.0_data_prep_scoring")

from diversity_tuning.cli import at_least, command
from diversity_tuning.next_steps import print_next
from diversity_tuning.runs import is_finished, provenance
from scripts_dataset_cleaner.common import fraction, parse, settings, stage_parser

STAGE = "0_data_prep_scoring"


def build_parser():
    parser = stage_parser(STAGE, __doc__)
    parser.add_argument("--source", required=True, help="hub id, save_to_disk folder, .jsonl, .jsonl.gz or .parquet")
    parser.add_argument("--revision", default=None, help="revision of the hub data set")
    parser.add_argument("--data_path", required=True, help="output folder")
    parser.add_argument("--compression_factor", type=at_least(0), default=100, help="how often log(x + 1) is applied to votes")
    parser.add_argument("--test_size", type=fraction, default=0.1, help="share of the rows in the test split")
    parser.add_argument("--validation_size", type=fraction, default=0.0, help="share of the rows in a validation split")
    parser.add_argument("--group_split", action="store_true", help="keep all rows of one prompt text in one split")
    parser.add_argument("--seed", type=at_least(0), default=42, help="which rows are drawn for testing")
    return parser


@command
def main(argv=None) -> None:
    args = parse(build_parser(), argv)
    from diversity_tuning.data.sources import check_source
    from diversity_tuning.data.storage import require_apart

    check_source(args.source)
    require_apart(source=args.source, data_path=args.data_path)
    record = provenance(STAGE, settings(args, "source", "data_path"), {"source": args.source})
    if not is_finished(args.data_path, record, args.overwrite):
        run(args, record)


def run(args, record: dict) -> None:
    """Read, score, split, save, report."""
    from diversity_tuning.data import score, sources, split, storage

    with storage.stage_output(args.data_path) as (folder, work):
        commit = sources.hub_commit(args.source, args.revision)
        source = sources.load_source(args.source, work, commit or args.revision)
        low, high = score.vote_range(source)
        scored = storage.add_columns(
            source, score.score_batch, score.score_features(), work, "scoring", args.num_proc,
            low=low, high=high, compression_factor=args.compression_factor,
        )  # fmt: skip
        splits = split.split_rows(scored, args.seed, args.test_size, args.validation_size, args.group_split)
        shared = split.leakage(splits)
        read = {"hub_commit": commit} if commit else {}
        storage.finish(splits, folder, record, rows_in=len(source), votes=[low, high], prompts_in_two_splits=shared, **read)
    print(
        f"{args.data_path}: " + ", ".join(f"{len(rows)} {name}" for name, rows in splits.items()) + f"; votes {low} to {high}"
    )
    for names, count in shared.items():
        hint = "; --group_split keeps every prompt on one side" if count else ""
        print(f"  prompts standing in {names.replace('+', ' and ')}: {count}{hint}")
    print_next(STAGE, args.data_path)


if __name__ == "__main__":
    main()
