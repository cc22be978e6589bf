"""The last stage of Path A: rows with verdicts in, a data set of preference pairs out."""

from dataclasses import asdict

from diversity_tuning.data.storage import finish, stage_output
from diversity_tuning.judging.stages import REFLECT, from_other_rows, read_rows, source_file
from diversity_tuning.judging.verdict_pairs import report, verdict_pairs
from diversity_tuning.runs import is_finished, provenance

STAGE = "5_verdicts_to_preference"


def make_pairs(
    source: str,
    output: str,
    verdict: str = REFLECT.adds,
    length_match: float | None = None,
    max_pairs: int | None = None,
    validation_share: float = 0.0,
    seed: int = 0,
    overwrite: bool = False,
    update: bool = False,
) -> None:
    """Save the pairs of :func:`~diversity_tuning.judging.verdict_pairs.verdict_pairs` as a data set, with its counts.

    ``source``: the output of stage 4, or of stage 3 with ``verdict`` "judge". ``update``: replace pairs of other rows with the
    same settings.
    """
    from datasets import Dataset

    names = {"verdict": verdict, "length_match": length_match, "max_pairs": max_pairs}
    settings = names | {"validation_share": validation_share, "seed": seed}
    rows = read_rows(source, (verdict,))
    record = provenance(STAGE, settings, {"source": source_file(source)})
    update = update and from_other_rows(output, record)
    if is_finished(output, record, overwrite or update):
        return
    splits, counts = verdict_pairs(rows, verdict, length_match, max_pairs, validation_share, seed)
    with stage_output(output) as (folder, _):
        finish({name: Dataset.from_list(part) for name, part in splits.items()}, folder, record, counts=asdict(counts))
    print(f"{output}: {report(counts)}", flush=True)
