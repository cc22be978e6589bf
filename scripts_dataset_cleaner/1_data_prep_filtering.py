"""Stage 1: leave out responses that are no story, and those too long for the model's context.

python -m scripts_dataset_cleaner.1_data_prep_filtering --source out/scored --data_path out/filtered --num_proc 16
python -m scripts_dataset_cleaner.1_data_prep_filtering --source out/scored --data_path out/filtered --model_to_use FOLDER
python -m scripts_dataset_cleaner.1_data_prep_filtering --source out/scored --data_path out/filtered --filter released

Every row stays, even one left with no response: rows are addressed by number later.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_dataset_cleaner.1_data_prep_filtering")

from diversity_tuning.cli import at_least, command
from diversity_tuning.next_steps import print_next
from diversity_tuning.runs import is_finished, provenance
from scripts_dataset_cleaner.common import parse, settings, stage_parser, tokenizer_inputs

STAGE = "1_data_prep_filtering"


def build_parser():
    parser = stage_parser(STAGE, __doc__)
    parser.add_argument("--source", required=True, help="stage 0's output")
    parser.add_argument("--data_path", required=True, help="output folder")
    parser.add_argument(
        "--model_to_use", default="meta-llama/Llama-3.1-8B-Instruct", help="model whose tokenizer and chat template count"
    )
    parser.add_argument("--max_tokens", type=at_least(1), default=2048, help="longest prompt and response, with the template")
    parser.add_argument(
        "--filter", choices=["stories", "released"], default="stories",
        help="stories: drop what is empty, deleted or removed, a bot's notice, or without a prompt, too, and replace HTML "
        "entities; released: moderators' phrases alone, as the released code",
    )  # fmt: skip
    return parser


@command
def main(argv=None) -> None:
    args = parse(build_parser(), argv)
    from diversity_tuning.data.storage import require_apart, require_stage

    require_stage(args.source, 0)
    require_apart(source=args.source, data_path=args.data_path)
    inputs = {"source": args.source, **tokenizer_inputs(args.model_to_use)}
    record = provenance(STAGE, settings(args, "data_path", "model_to_use"), inputs)
    if not is_finished(args.data_path, record, args.overwrite):
        run(args, record)


def run(args, record: dict) -> None:
    """Read, filter, save, report."""
    from diversity_tuning.data import filter, storage
    from diversity_tuning.data.token_counts import TokenCounter
    from diversity_tuning.data.validate import SCORED

    splits = storage.load_stage(args.source, SCORED, 0)
    counter = TokenCounter(filter.load_tokenizer(args.model_to_use))
    with storage.stage_output(args.data_path) as (folder, work):
        filtered, reasons, changes = {}, {}, {}
        for name, rows in splits.items():
            marked = storage.add_columns(
                rows, filter.filter_batch, filter.filter_features(), work, f"filtering-{name}", args.num_proc,
                batch_size=200, counter=counter, max_tokens=args.max_tokens, rules=args.filter,
            )  # fmt: skip
            reasons[name] = filter.count_reasons(marked)
            changes[name] = filter.count_changes(marked)
            filtered[name] = marked.remove_columns([filter.REASON, filter.MENDED])
        storage.finish(filtered, folder, record, args.num_proc, responses=reasons, mended=changes)
    for name, counts in reasons.items():
        told = filter.worth_telling(counts) | changes[name]
        print(f"{args.data_path}/{name}: " + ", ".join(f"{reason}: {count}" for reason, count in told.items()))
    print_next(STAGE, args.data_path)


if __name__ == "__main__":
    main()
