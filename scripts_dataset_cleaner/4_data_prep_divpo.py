"""Stage 4: DivPO pairs, the baseline: the most deviating well-voted against the least deviating badly-voted responses.

python -m scripts_dataset_cleaner.4_data_prep_divpo --source out/unpaired --data_path_pair out/pairs_divpo \\
    --score_process semantic style --device cuda:0 --embedding_cache out/embeddings --max_pair_num 2 --rho 25
python -m scripts_dataset_cleaner.4_data_prep_divpo --source out/unpaired --data_path_pair out/pairs_divpo \\
    --semantic_model builtin:minilm --style_model builtin:stylometry:out/stylometry
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_dataset_cleaner.4_data_prep_divpo")

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

STAGE = "4_data_prep_divpo"


def build_parser():
    parser = stage_parser(STAGE, __doc__)
    parser.add_argument("--source", required=True, help="stage 2's rows with the responses used (--data_path_filtered)")
    parser.add_argument("--data_path_pair", required=True, help="output folder")
    parser.add_argument("--max_pair_num", type=at_least(1), default=2, help="pairs of a prompt, at most")
    parser.add_argument("--rho", type=float, default=25.0, help="share of the responses in each pool, in percent")
    parser.add_argument("--seed", type=at_least(0), default=42, help="which chosen meets which rejected")
    add_encoder_arguments(parser)
    return parser


@command
def main(argv=None) -> None:
    args = parse(build_parser(), argv)
    from diversity_tuning.data.storage import require_apart, require_stage

    if not 0 <= args.rho <= 100:
        raise UserError(f"--rho {args.rho}: expected a percentage from 0 to 100")
    require_stage(args.source, 2)
    require_apart(source=args.source, data_path_pair=args.data_path_pair, embedding_cache=args.embedding_cache)
    record = provenance(STAGE, settings(args, "data_path_pair"), {"source": args.source, **encoder_inputs(args)})
    if not is_finished(args.data_path_pair, record, args.overwrite):
        run(args, record)


def run(args, record: dict) -> None:
    """Read, embed, choose, save, report."""
    from diversity_tuning.data import divpo, storage, weigh
    from diversity_tuning.data.validate import UNPAIRED

    splits = storage.load_stage(args.source, UNPAIRED, 2)
    with storage.stage_output(args.data_path_pair) as (folder, work):
        stores = open_stores(args, work)
        texts = weigh.embed_texts((batch for rows in splits.values() for batch in divpo.unpaired_texts(rows)), stores)
        floor = args.min_deviation if args.min_score_non_zero else 0.0
        made, reports = {}, {}
        for name, rows in splits.items():
            options = (args.seed, args.max_pair_num, args.rho, floor)
            made[name], reports[name] = divpo.make_pairs(rows, name, stores, work, *options)
        made = {name: rows for name, rows in made.items() if len(rows)}
        if not made:
            raise UserError(f"{args.source}: no prompt has two responses to pair")
        truncated = {store.encoder.name: store.count_truncated(texts) for store in stores}
        storage.finish(made, folder, record, texts=len(texts), truncated_texts=truncated, by_split=reports)
        close_stores(stores)
    weigh.print_report(args.data_path_pair, reports, len(texts), truncated)
    print_next(STAGE, args.data_path_pair)


if __name__ == "__main__":
    main()
