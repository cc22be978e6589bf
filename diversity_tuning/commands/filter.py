"""Stage 1: leave out responses that are no story, and those too long for the model's context.

python -m scripts_dataset_cleaner.1_data_prep_filtering --source out/scored --data_path out/filtered --num_proc 16
python -m scripts_dataset_cleaner.1_data_prep_filtering --source out/scored --data_path out/filtered --model_to_use FOLDER
python -m scripts_dataset_cleaner.1_data_prep_filtering --source out/scored --data_path out/filtered --filter released

Every row stays, even one left with no response: rows are addressed by number later.
"""

from dataclasses import dataclass

from diversity_tuning.cli import command
from diversity_tuning.commands.common import StageConfig, tokenizer_inputs
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.next_steps import print_next

STAGE = "1_data_prep_filtering"
SCRIPT = f"scripts_dataset_cleaner.{STAGE}"


@dataclass(frozen=True, kw_only=True)
class FilterConfig(StageConfig):
    """Stage 1."""

    source: str = flag("stage 0's output")
    data_path: str = flag("output folder")
    model_to_use: str = flag("model whose tokenizer and chat template count", default="meta-llama/Llama-3.1-8B-Instruct")
    max_tokens: int = flag("longest prompt and response, with the template", default=2048, least=1)
    filter: str = flag(
        "stories: drop what is empty, deleted or removed, a bot's notice, or without a prompt, too, and replace HTML entities; "
        "released: moderators' phrases alone, as the released code",
        default="stories", choices=("stories", "released"),
    )  # fmt: skip

    def inputs(self) -> dict:
        return tokenizer_inputs(self.model_to_use)


@command
def main(argv=None) -> None:
    args = parse_flags(FilterConfig, SCRIPT, __doc__, argv)
    if record := args.record(STAGE, "source", "data_path", 0, "model_to_use"):
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
                rows, filter.filter_batch, filter.ADDED, work, f"filtering-{name}", args.num_proc,
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
