"""Stage 0: titles without tags, votes mapped to [-1, 1], train and test splits.

python -m scripts_dataset_cleaner.0_data_prep_scoring --source euclaise/WritingPrompts_preferences --data_path out/scored
python -m scripts_dataset_cleaner.0_data_prep_scoring --source posts.jsonl.gz --data_path out/scored --group_split
"""

from dataclasses import dataclass

from diversity_tuning.cli import command
from diversity_tuning.commands.common import StageConfig
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.next_steps import print_next
from diversity_tuning.runs import is_finished, provenance

STAGE = "0_data_prep_scoring"
SCRIPT = f"scripts_dataset_cleaner.{STAGE}"


@dataclass(frozen=True, kw_only=True)
class VotesConfig(StageConfig):
    """Stage 0."""

    source: str = flag("hub id, save_to_disk folder, .jsonl, .jsonl.gz or .parquet")
    revision: str | None = flag("revision of the hub data set", default=None)
    data_path: str = flag("output folder")
    compression_factor: int = flag("how often log(x + 1) is applied to votes", default=100, least=0)
    test_size: float = flag("share of the rows in the test split", default=0.1, least=0, most=1)
    validation_size: float = flag("share of the rows in a validation split", default=0.0, least=0, most=1)
    group_split: bool = flag("keep all rows of one prompt text in one split", default=False)
    seed: int = flag("which rows are drawn for testing", default=42, least=0)


@command
def main(argv=None) -> None:
    args = parse_flags(VotesConfig, SCRIPT, __doc__, argv)
    from diversity_tuning.data.sources import check_source
    from diversity_tuning.data.storage import require_apart

    check_source(args.source)
    require_apart(source=args.source, data_path=args.data_path)
    record = provenance(STAGE, args.settings("source", "data_path"), {"source": args.source})
    if not is_finished(args.data_path, record, args.overwrite):
        run(args, record)


def run(args, record: dict) -> None:
    """Read, score, split, save, report."""
    from diversity_tuning.data import score, sources, split, storage, tables

    with storage.stage_output(args.data_path) as (folder, work):
        commit = sources.hub_commit(args.source, args.revision)
        source = tables.load_source(args.source, work, commit or args.revision)
        low, high = score.vote_range(source)
        scored = storage.add_columns(
            source, score.score_batch, score.ADDED, work, "scoring", args.num_proc,
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
