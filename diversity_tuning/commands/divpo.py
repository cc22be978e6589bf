"""Stage 4: DivPO pairs, the baseline: the most deviating well-voted against the least deviating badly-voted responses.

python -m scripts_dataset_cleaner.4_data_prep_divpo --source out/unpaired --data_path_pair out/pairs_divpo \\
    --score_process semantic style --device cuda:0 --embedding_cache out/embeddings --max_pair_num 2 --rho 25
python -m scripts_dataset_cleaner.4_data_prep_divpo --source out/unpaired --data_path_pair out/pairs_divpo \\
    --semantic_model builtin:minilm --style_model builtin:stylometry:out/stylometry

``--selection`` takes another way of the table in ``diversity_tuning/selections.py``.
"""

from dataclasses import dataclass

from diversity_tuning.cli import command
from diversity_tuning.commands.common import EncoderConfig, with_selections
from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.next_steps import print_next

STAGE = "4_data_prep_divpo"
SCRIPT = f"scripts_dataset_cleaner.{STAGE}"


@dataclass(frozen=True, kw_only=True)
class DivPOConfig(EncoderConfig):
    """Stage 4."""

    source: str = flag("stage 2's rows with the responses used (--data_path_filtered)")
    data_path_pair: str = flag("output folder")
    seed: int = flag("which chosen meets which rejected", default=42, least=0)


@command
def main(argv=None) -> None:
    args = parse_flags(with_selections(DivPOConfig), SCRIPT, __doc__, argv, extra="embeddings")
    if record := args.record(STAGE, "source", "data_path_pair", 2):
        run(args, record)


def run(args, record: dict) -> None:
    """Read, embed, choose, save, report."""
    from diversity_tuning.data import divpo, storage, weigh
    from diversity_tuning.data.validate import UNPAIRED

    splits = storage.load_stage(args.source, UNPAIRED, 2)
    with storage.stage_output(args.data_path_pair) as (folder, work):
        stores = args.open_stores(work)
        texts = weigh.embed_texts((batch for rows in splits.values() for batch in divpo.unpaired_texts(rows)), stores)
        truncated = weigh.count_cut(texts, stores)
        made, reports = {}, {}
        for name, rows in splits.items():
            made[name], reports[name] = divpo.make_pairs(rows, name, stores, work, args.seed, args.select, args.floor)
        made = {name: rows for name, rows in made.items() if len(rows)}
        if not made:
            raise UserError(f"{args.source}: no prompt has two responses to pair")
        storage.finish(made, folder, record, texts=len(texts), truncated_texts=truncated, by_split=reports)
        for store in stores:
            store.encoder.close()
    weigh.print_report(args.data_path_pair, reports, len(texts), truncated)
    print_next(STAGE, args.data_path_pair)
