"""Stage 3: give both responses of every pair their deviation, the loss weight of DDPO and DORPO.

python -m scripts_dataset_cleaner.3_data_prep_for_diversified_training --source_pair out/pairs \\
    --data_path_pair_div out/pairs_div --score_process semantic style --device cuda:0 --embedding_cache out/embeddings
python -m scripts_dataset_cleaner.3_data_prep_for_diversified_training --source_pair out/pairs \\
    --data_path_pair_div out/pairs_div --semantic_model builtin:minilm --style_model builtin:stylometry:out/stylometry

Controls, to tell what the deviations themselves do: --permute prompt or --permute all shuffles them among pairs,
--constant gives their mean to all.

--creativity diversity=1 novelty=1 quality=1 adds a column `creativity`, the weight of CrPO (arXiv 2505.14442), to train with
--weight_column creativity. A score of another name, such as surprise, is read from columns surprise_chosen, surprise_rejected.

With --embedding_cache a killed run resumes, and later runs and the evaluation reuse its vectors.
"""

from dataclasses import dataclass

from diversity_tuning.cli import command
from diversity_tuning.commands.common import EncoderConfig
from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.next_steps import print_next

STAGE = "3_data_prep_for_diversified_training"
SCRIPT = f"scripts_dataset_cleaner.{STAGE}"


@dataclass(frozen=True, kw_only=True)
class WeighConfig(EncoderConfig):
    """Stage 3."""

    source_pair: str = flag("stage 2's pairs")
    data_path_pair_div: str = flag("output folder")
    max_cutoff: int = flag("responses of a prompt, at most (two a pair); -1: all", default=-1)
    sort_with_score: bool = flag("let --max_cutoff keep the pairs with the most-voted chosen, not the first", default=False)
    permute: str | None = flag(
        "control: shuffle the deviations among the pairs of a prompt, or among all", default=None, choices=("prompt", "all")
    )
    permute_seed: int = flag("draws the shuffle of --permute", default=0, least=0)
    constant: bool = flag("control: the mean deviation to every pair", default=False)
    creativity: list[str] = flag(
        "also CrPO's weight of each pair, from these scores: diversity, novelty, quality (the votes), or of columns",
        factory=list, metavar="NAME=NUMBER",
    )  # fmt: skip

    def __post_init__(self):
        super().__post_init__()
        if self.max_cutoff != -1 and (self.max_cutoff < 2 or self.max_cutoff % 2):
            raise UserError(f"--max_cutoff {self.max_cutoff}: expected an even number from 2 up (two responses a pair), or -1")
        if self.permute and self.constant:
            raise UserError("--permute and --constant: give one of them")
        if self.creativity:
            from diversity_tuning.data.creativity import parse_strengths

            parse_strengths(self.creativity)


@command
def main(argv=None) -> None:
    args = parse_flags(WeighConfig, SCRIPT, __doc__, argv, extra="embeddings")
    if record := args.record(STAGE, "source_pair", "data_path_pair_div", 2):
        run(args, record)


def run(args, record: dict) -> None:
    """Read, embed, weigh, save, report."""
    from diversity_tuning.data import creativity, storage, weigh
    from diversity_tuning.data.validate import PAIRS

    splits = storage.load_stage(args.source_pair, PAIRS, 2)
    strengths = creativity.parse_strengths(args.creativity) if args.creativity else {}
    for name, rows in splits.items():
        creativity.check_columns(rows, strengths, f"{args.source_pair}, split '{name}'")
    with storage.stage_output(args.data_path_pair_div) as (folder, work):
        stores = args.open_stores(work)
        keys, kept = {}, {}
        for name, rows in splits.items():
            keys[name], kept[name] = weigh.cut(rows, name, work, args.num_proc, args.max_cutoff, args.sort_with_score)
        texts = weigh.embed_texts((batch for rows in kept.values() for batch in weigh.pair_texts(rows)), stores)
        truncated = weigh.count_cut(texts, stores)
        made_of = weigh.Settings(args.floor, args.permute, args.permute_seed, args.constant)
        made, reports = {}, {}
        for name, rows in kept.items():
            made[name], reports[name] = weigh.weigh(rows, keys[name], stores, made_of, name, work, args.num_proc)
            reports[name]["pairs_in"] = len(splits[name])
            if strengths:
                made[name], reports[name]["creativity"] = creativity.add_creativity(
                    made[name], keys[name], stores[0], strengths, name, work, args.num_proc
                )
        storage.finish(made, folder, record, texts=len(texts), truncated_texts=truncated, by_split=reports)
        for store in stores:
            store.encoder.close()
    weigh.print_report(args.data_path_pair_div, reports, len(texts), truncated)
    print_next(STAGE, args.data_path_pair_div)
