"""Stage 3: give both responses of every pair their deviation, the loss weight of DDPO and DORPO.

python -m scripts_dataset_cleaner.3_data_prep_for_diversified_training --source_pair out/pairs \\
    --data_path_pair_div out/pairs_div --score_process semantic style --device cuda:0 --embedding_cache out/embeddings
python -m scripts_dataset_cleaner.3_data_prep_for_diversified_training --source_pair out/pairs \\
    --data_path_pair_div out/pairs_div --semantic_model builtin:minilm --style_model builtin:stylometry:out/stylometry

Controls, to tell what the deviations themselves do: --permute prompt or --permute all shuffles them among pairs,
--constant gives their mean to all.

With --embedding_cache a killed run resumes, and later runs and the evaluation reuse its vectors.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_dataset_cleaner.3_data_prep_for_diversified_training")

from diversity_tuning.cli import at_least, command
from diversity_tuning.errors import UserError
from diversity_tuning.next_steps import print_next
from diversity_tuning.runs import is_finished, provenance
from scripts_dataset_cleaner.common import (
    add_encoder_arguments,
    close_stores,
    encoder_inputs,
    open_stores,
    parse,
    settings,
    stage_parser,
)

STAGE = "3_data_prep_for_diversified_training"


def build_parser():
    parser = stage_parser(STAGE, __doc__)
    parser.add_argument("--source_pair", required=True, help="stage 2's pairs")
    parser.add_argument("--data_path_pair_div", required=True, help="output folder")
    parser.add_argument(
        "--max_cutoff", type=at_least(-1), default=-1, help="responses of a prompt, at most (two a pair); -1: all"
    )
    parser.add_argument(
        "--sort_with_score",
        action="store_true",
        help="let --max_cutoff keep the pairs with the most-voted chosen, not the first",
    )
    add_encoder_arguments(parser)
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        "--permute", choices=["prompt", "all"], help="control: shuffle the deviations among the pairs of a prompt, or among all"
    )
    ways.add_argument("--constant", action="store_true", help="control: the mean deviation to every pair")
    parser.add_argument("--permute_seed", type=at_least(0), default=0, help="draws the shuffle of --permute")
    return parser


@command
def main(argv=None) -> None:
    args = parse(build_parser(), argv)
    from diversity_tuning.data.storage import require_apart, require_stage

    if args.max_cutoff != -1 and (args.max_cutoff < 2 or args.max_cutoff % 2):
        raise UserError(f"--max_cutoff {args.max_cutoff}: expected an even number from 2 up (two responses a pair), or -1")
    require_stage(args.source_pair, 2)
    require_apart(
        source_pair=args.source_pair, data_path_pair_div=args.data_path_pair_div, embedding_cache=args.embedding_cache
    )
    inputs = {"source_pair": args.source_pair, **encoder_inputs(args)}
    record = provenance(STAGE, settings(args, "data_path_pair_div", *_unused(args)), inputs)
    if not is_finished(args.data_path_pair_div, record, args.overwrite):
        run(args, record)


def _unused(args) -> list[str]:
    """The flags of controls that are off: outputs from before they could be given have no word of them."""
    used = ["permute", "permute_seed"] if args.permute else ["constant"] if args.constant else []
    return [name for name in ("permute", "permute_seed", "constant") if name not in used]


def run(args, record: dict) -> None:
    """Read, embed, weigh, save, report."""
    from diversity_tuning.data import storage, weigh
    from diversity_tuning.data.validate import PAIRS

    splits = storage.load_stage(args.source_pair, PAIRS, 2)
    with storage.stage_output(args.data_path_pair_div) as (folder, work):
        stores = open_stores(args, work)
        keys, kept = {}, {}
        for name, rows in splits.items():
            keys[name], kept[name] = weigh.cut(rows, name, work, args.num_proc, args.max_cutoff, args.sort_with_score)
        texts = weigh.embed_texts((batch for rows in kept.values() for batch in weigh.pair_texts(rows)), stores)
        made_of = weigh.Settings(
            args.min_deviation if args.min_score_non_zero else 0.0, args.permute, args.permute_seed, args.constant
        )
        made, reports = {}, {}
        for name, rows in kept.items():
            made[name], reports[name] = weigh.weigh(rows, keys[name], stores, made_of, name, work, args.num_proc)
            reports[name]["pairs_in"] = len(splits[name])
        truncated = {store.encoder.name: store.count_truncated(texts) for store in stores}
        storage.finish(made, folder, record, texts=len(texts), truncated_texts=truncated, by_split=reports)
        close_stores(stores)
    weigh.print_report(args.data_path_pair_div, reports, len(texts), truncated)
    print_next(STAGE, args.data_path_pair_div)


if __name__ == "__main__":
    main()
