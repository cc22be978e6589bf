"""Stage 2: draw preference pairs within each prompt.

python -m scripts_dataset_cleaner.2_data_prep_to_preference --source out/filtered --data_path_pair out/pairs \\
    --data_path_filtered out/unpaired --gap 5 --num_proc 16
python -m scripts_dataset_cleaner.2_data_prep_to_preference --source out/filtered --data_path_pair out/pairs --max_pairs 5

``--gap -1`` draws among all pairs of differing votes, at most 100 a prompt. ``--selection`` takes another way of the table in
``diversity_tuning/selections.py``.
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace

from diversity_tuning.cli import command
from diversity_tuning.commands.common import StageConfig, with_selections
from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.next_steps import print_next
from diversity_tuning.runs import is_finished, provenance

STAGE = "2_data_prep_to_preference"
SCRIPT = f"scripts_dataset_cleaner.{STAGE}"


@dataclass(frozen=True, kw_only=True)
class PairConfig(StageConfig):
    """Stage 2."""

    source: str = flag("stage 1's output")
    data_path_pair: str = flag("output folder for the pairs")
    data_path_filtered: str | None = flag("output folder for the rows with the responses used, or None", default=None)
    max_pairs: int | None = flag("pairs of a prompt, at most, in the order drawn", default=None, least=1)
    seed: int = flag("which pairs are drawn", default=42, least=0)


@command
def main(argv=None) -> None:
    args = parse_flags(with_selections(PairConfig), SCRIPT, __doc__, argv)
    if args.data_path_filtered in ("", "None", "none"):
        args = replace(args, data_path_filtered=None)
    from diversity_tuning.data.storage import require_apart, require_stage

    require_stage(args.source, 1)
    require_apart(source=args.source, data_path_pair=args.data_path_pair, data_path_filtered=args.data_path_filtered)
    record = provenance(STAGE, args.settings("data_path_pair", "data_path_filtered"), {"source": args.source})
    outputs = {"pairs": args.data_path_pair, "unpaired": args.data_path_filtered}
    outputs = {kind: path for kind, path in outputs.items() if path is not None}
    missing = {kind: path for kind, path in outputs.items() if not is_finished(path, {**record, "kind": kind}, args.overwrite)}
    if missing:
        run(args, missing, record)
        print_next(STAGE, args.data_path_pair)


def run(args, outputs: dict, record: dict) -> None:
    """Read, draw, save pairs and, if wanted, the rows they came from; report."""
    from diversity_tuning.data import pair, storage
    from diversity_tuning.data.validate import FILTERED, INTEGERS

    splits = storage.load_stage(args.source, FILTERED, 1)
    with ExitStack() as stack:
        places = {kind: stack.enter_context(storage.stage_output(path)) for kind, path in outputs.items()}
        work = next(iter(places.values()))[1]
        how = {"select": args.select, "max_pairs": args.max_pairs, "seed": args.seed, "batch_size": 200}
        drawn = {
            name: storage.add_columns(
                rows, pair.draw_batch, {pair.DRAWN: INTEGERS}, work, f"drawing-{name}", args.num_proc, split=name, **how
            )
            for name, rows in splits.items()
        }
        for kind, (folder, _) in places.items():
            made = {name: make(kind, rows, name, work, args.num_proc) for name, rows in drawn.items()}
            filled = without_empty(made, args)
            rows_in = {name: len(rows) for name, rows in splits.items()}
            storage.finish(filled, folder, {**record, "kind": kind}, args.num_proc, rows_in=rows_in)
            print(f"{outputs[kind]}: " + ", ".join(f"{len(rows)} {name}" for name, rows in made.items()) + f" {kind}")


def make(kind: str, drawn, name: str, work, num_proc: int):
    """One split of one output."""
    from diversity_tuning.data import pair, storage
    from diversity_tuning.data.validate import PAIRS, USED

    options = (work, f"{kind}-{name}", num_proc)
    if kind == "pairs":
        return storage.map_batches(drawn, pair.pair_batch, PAIRS.kinds, *options, batch_size=200)
    made = storage.add_columns(drawn, pair.unpaired_batch, USED, *options, batch_size=200)
    return made.remove_columns(pair.DRAWN)


def without_empty(made: dict, args) -> dict:
    """The splits that have rows; it is an error when the first has none."""
    first = next(iter(made))
    if len(made[first]) == 0:
        raise UserError(f"{args.source}/{first}: no pair can be drawn: no prompt has two responses whose votes differ enough")
    for name, rows in made.items():
        if len(rows) == 0:
            print(f"{name}: no pairs, so this split is left out")
    return {name: rows for name, rows in made.items() if len(rows)}
