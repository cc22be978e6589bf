r"""Replace votes by others that favour the common, or the unusual, as much as asked for: the dial of `--folds --dial`.

    R=runs/smollm2-folds-captions/seed0; python -m studies.real.dial --source $R/data --data_path $R/dial-0.3/data \
        --strength 0.3 --style_model builtin:stylometry:$R/stylometry --semantic_model builtin:minilm

Reads the data sets of `studies.captions.split --folds` and writes them again with the same texts in the same places, and other
votes: within each prompt their standardised logarithm is z(log(1 + votes)) − λ·z(δ). δ is the deviation of stage 3, here of all
responses to the prompt in all parts. Votes are written in thousandths. Says how δ and votes correlate before and after.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diversity_tuning.cli import command
from diversity_tuning.commands.common import EncoderConfig
from diversity_tuning.data import schema
from diversity_tuning.data.validate import INTEGERS, NUMBERS, SCORED
from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.runs import NOT_SETTINGS, is_finished, provenance

SCRIPT = "studies.real.dial"
DATA_SETS = ("scored", "other", "policy")  # of studies.captions.split --folds
UNITS = 1000  # a vote is written as so many: votes are whole numbers
_MOST = 2**53  # whole numbers above are not exact in float64
GIVEN, REPLACED = "votes as given", "votes replaced"


@dataclass(frozen=True, kw_only=True)
class DialConfig(EncoderConfig):
    """The flags of the dial."""

    source: str = flag("folder of the data sets scored, other and policy of studies.captions.split --folds")
    data_path: str = flag("output folder")
    strength: float = flag("λ: 0 keeps the order of votes, more favours the common, less than 0 the unusual")


def dialled(votes, deviations, strength: float) -> np.ndarray:
    r"""Whole numbers (n,), from 0 up: thousandths of the votes that stand in for those of one prompt's n responses.

    .. math:: \log(1 + v'_i) = \log(1 + v_i) - \lambda \, s \, z(\delta_i), \qquad s = \mathrm{sd}_j \log(1 + v_j)

    so that log(1 + v′), centred and divided by s, is z(log(1 + v)) − λ·z(δ), with z over the n responses (spread divided by n).
    What is returned is ``1000·(1 + v′) − 1``, rounded: at λ = 0 it is ``1000·v + 999``, exactly. Where all votes or all
    deviations are equal, votes stay what they are. ``votes`` (n,) from 0 up, ``deviations`` (n,). Raises :class:`ValueError`
    for a result below 0 or above 2^53.
    """
    logs = np.log1p(np.asarray(votes, dtype=np.float64))
    deviations = np.asarray(deviations, dtype=np.float64)
    centred = deviations - deviations.mean()
    spread = centred.std()
    z = centred / spread if spread > 0 else np.zeros_like(centred)
    found = np.round(UNITS * np.exp(logs - strength * logs.std() * z))
    if not (np.isfinite(found).all() and found.min() >= 1 and found.max() <= _MOST):
        raise ValueError("votes below a thousandth of one, or above 2^53 thousandths")
    return found.astype(np.int64) - 1


@command
def main(argv=None) -> None:
    args = parse_flags(DialConfig, SCRIPT, __doc__, argv, extra="embeddings")
    from diversity_tuning.data import storage

    sources = {name: Path(args.source) / name for name in DATA_SETS}
    for folder in sources.values():
        storage.require_stage(folder, 0)
    storage.require_apart(source=args.source, data_path=args.data_path, embedding_cache=args.embedding_cache)
    if not np.isfinite(args.strength):
        raise UserError(f"--strength {args.strength}: give a finite number")
    record = provenance("dial", args.settings("source", "data_path", *NOT_SETTINGS), {**sources, **args.inputs()})
    places = {name: Path(args.data_path) / name for name in DATA_SETS}
    missing = [name for name, path in places.items() if not is_finished(path, {**record, "kind": name}, args.overwrite)]
    if missing:
        run(args, record, sources, {name: places[name] for name in missing})


def run(args, record: dict, sources: dict[str, Path], places: dict[str, Path]) -> None:
    """Read, weigh, replace, save, report."""
    from diversity_tuning.data import storage

    data = {name: storage.load_stage(folder, SCORED, 0) for name, folder in sources.items()}
    votes = votes_by_prompt(split for splits in data.values() for split in splits.values())
    with storage.stage_output(next(iter(places.values()))) as (_, work):
        deltas, cut = deviations_of(votes, args.open_stores(work), args.floor)
        replaced = {prompt: _replaced(prompt, own, deltas[prompt], args.strength) for prompt, own in votes.items()}
    told = {GIVEN: correlation(votes, deltas), REPLACED: correlation(replaced, deltas)}
    every = [vote for own in replaced.values() for vote in own.values()]
    for name, place in places.items():
        with storage.stage_output(place) as (folder, work):
            made = {
                split: storage.add_columns(
                    rows, replace_batch, _KINDS, work, f"{name}-{split}", args.num_proc, replaced=replaced,
                    low=min(every), high=max(every),
                )
                for split, rows in data[name].items()
            }  # fmt: skip
            storage.finish(made, folder, {**record, "kind": name}, responses=len(every), truncated_texts=cut, correlation=told)
    print(f"{args.data_path}: λ {args.strength:g}, {len(every)} responses to {len(replaced)} prompts; Spearman of δ and votes:")
    for name, own in told.items():
        print(f"  {name}: {own['mean']:+.3f} [{own['low']:+.3f}, {own['high']:+.3f}]" if own else f"  {name}: none")


def votes_by_prompt(splits) -> dict[str, dict[str, int]]:
    """Prompt -> response -> votes, over all splits; a response that stands in several has the same votes in each."""
    found: dict[str, dict[str, int]] = {}
    for rows in splits:
        for row in rows:
            own = found.setdefault(schema.prompt_text(row[schema.POST_TITLE], row[schema.POST_TEXT]), {})
            own |= zip(row[schema.COMMENT_TEXTS], row[schema.COMMENT_SCORES], strict=True)
    return found


def deviations_of(votes: dict[str, dict[str, int]], stores: list, floor: float) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """(prompt -> δ of its responses, (n,), as stage 3 has it; encoder -> how many texts are longer than it reads)."""
    from diversity_tuning.data import weigh
    from diversity_tuning.embeddings import text_key

    keys = weigh.embed_texts((list(own) for own in votes.values()), stores)
    cut = weigh.count_cut(keys, stores)
    found = {}
    for prompt, own in votes.items():
        texts = np.array([text_key(text) for text in own], dtype="S16")
        found[prompt] = weigh.prompt_deviation(texts, [store.vectors(texts) for store in stores], weigh.Report(), floor)
    for store in stores:
        store.encoder.close()
    return found, cut


def correlation(votes: dict[str, dict[str, int]], deltas: dict[str, np.ndarray]) -> dict[str, float]:
    """Spearman's ρ of δ and votes within a prompt, mean over prompts with its interval; empty where no prompt has one."""
    from diversity_tuning.data.popularity import popularity

    rows = [
        (prompt, text, delta, vote)
        for prompt, own in votes.items()
        for (text, vote), delta in zip(own.items(), deltas[prompt], strict=True)
    ]
    found = popularity(*zip(*rows, strict=True))
    return found.figures() if found else {}


def _replaced(prompt: str, own: dict[str, int], deltas: np.ndarray, strength: float) -> dict[str, int]:
    try:
        return dict(zip(own, dialled(list(own.values()), deltas, strength).tolist(), strict=True))
    except ValueError as error:
        raise UserError(f"--strength {strength:g}: gives '{prompt.strip()[:60]}' {error}; give one nearer to 0") from None


_KINDS = {schema.COMMENT_SCORES: INTEGERS, schema.TRANSFORMED_SCORE: NUMBERS}


def replace_batch(batch: dict, indices: list[int], replaced: dict, low: int, high: int) -> dict:
    """The new votes of a batch of rows, and these mapped to [−1, 1] as in stage 0, in votes."""
    from diversity_tuning.data.score import transform_votes

    columns = batch[schema.POST_TITLE], batch[schema.POST_TEXT], batch[schema.COMMENT_TEXTS]
    votes = [
        [replaced[schema.prompt_text(title, text)][one] for one in texts] for title, text, texts in zip(*columns, strict=True)
    ]
    whole = [(np.array(row, dtype=np.float64) + 1) / UNITS for row in votes]
    low, high = ((one + 1) / UNITS for one in (low, high))
    return {schema.COMMENT_SCORES: votes, schema.TRANSFORMED_SCORE: [transform_votes(row, low, high).tolist() for row in whole]}


if __name__ == "__main__":
    main()
