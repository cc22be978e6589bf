"""Verdicts to preference pairs: a good and a bad response of the same prompt."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from diversity_tuning.data.schema import CHOSEN, PROMPT, REJECTED, RESPONSE, TRAIN, VALIDATION
from diversity_tuning.data.storage import finish, stage_output
from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag
from diversity_tuning.next_steps import register_next
from diversity_tuning.ranges import Flags
from diversity_tuning.runs import is_finished, provenance
from studies.judges.stages import FAILED, JUDGE, REFLECT, from_other_rows, read_rows, source_file


@dataclass
class PairCounts:
    """What became of the rows and the prompts."""

    rows: int = 0
    failed: int = 0  # rows without a verdict
    duplicates: int = 0  # rows whose prompt and response had come before
    contradicted: int = 0  # responses that were judged both ways: left out
    prompts: int = 0  # with a judged response
    one_response: int = 0  # prompts with a single one
    all_good: int = 0  # of the others
    all_bad: int = 0
    ties: int = 0  # pairs of two good or two bad responses: no preference
    too_far_apart: int = 0  # good and bad, but not of matched length
    over_max_pairs: int = 0
    pairs: int = 0
    chosen_is_longer: float | None = None  # share of the pairs
    splits: dict[str, int] = field(default_factory=dict)


def verdict_pairs(
    rows: Iterable[dict], verdict: str = "reflect", length_match: float | None = None, max_pairs: int | None = None,
    validation: float = 0.0, seed: int = 0,
) -> tuple[dict[str, list[dict]], PairCounts]:  # fmt: skip
    """Rows of ``prompt``, ``chosen``, ``rejected`` by split, and the counts. The order of ``rows`` changes nothing.

    ``verdict``: the field that holds it, ``reflect`` or ``judge``. ``length_match``: the shorter response has at least so many
    times the characters of the longer one, 0 to 1. ``max_pairs`` of a prompt, drawn by ``seed``. ``validation``: share of the
    prompts that go to a split of that name, drawn by ``seed``. A :class:`UserError` where there is no pair.
    """
    counts = PairCounts()
    good, bad = _by_prompt(rows, verdict, counts)
    pairs: list[dict] = []
    for prompt in sorted(good.keys() | bad.keys()):
        ones, others = good.get(prompt, set()), bad.get(prompt, set())
        counts.prompts += 1
        counts.one_response += len(ones) + len(others) == 1
        counts.all_good += len(ones) > 1 and not others
        counts.all_bad += len(others) > 1 and not ones
        counts.ties += sum(len(side) * (len(side) - 1) // 2 for side in (ones, others))
        both = [(one, other) for one in ones for other in others]
        near = [pair for pair in both if length_match is None or _ratio(*pair) >= length_match]
        near = sorted(near, key=lambda pair: _draw(seed, prompt, *pair))
        kept = near if max_pairs is None else near[:max_pairs]
        counts.too_far_apart += len(both) - len(near)
        counts.over_max_pairs += len(near) - len(kept)
        pairs += [{PROMPT: prompt, CHOSEN: one, REJECTED: other} for one, other in kept]
    if not pairs:
        raise UserError(_no_pairs(counts, length_match))
    counts.pairs = len(pairs)
    counts.chosen_is_longer = sum(len(pair[CHOSEN]) > len(pair[REJECTED]) for pair in pairs) / len(pairs)
    splits = _split(pairs, validation, seed)
    counts.splits = {name: len(part) for name, part in splits.items()}
    return splits, counts


def report(counts: PairCounts) -> str:
    """The counts in words."""
    numbers = asdict(counts)
    told = {
        "failed": "rows without a verdict", "duplicates": "rows that repeat a prompt and its response",
        "contradicted": "responses judged both ways", "one_response": "prompts with one response",
        "all_good": "prompts with good responses only", "all_bad": "prompts with bad responses only",
        "ties": "pairs of equal verdicts", "too_far_apart": "pairs left out by --length_match",
        "over_max_pairs": "pairs left out by --max_pairs",
    }  # fmt: skip
    splits = ", ".join(f"{number} {name}" for name, number in counts.splits.items())
    lines = [f"{counts.rows} rows, {counts.prompts} prompts, {counts.pairs} pairs ({splits})"]
    lines += [f"  {numbers[name]} {words}" for name, words in told.items() if numbers[name]]
    return "\n".join([*lines, f"  chosen is the longer one in {counts.chosen_is_longer:.0%} of the pairs"])


def _by_prompt(rows: Iterable[dict], verdict: str, counts: PairCounts) -> tuple[dict[str, set], dict[str, set]]:
    """Good and bad responses of each prompt; what was judged both ways is in neither."""
    seen: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        counts.rows += 1
        if FAILED in row:
            counts.failed += 1
            continue
        key = (row[PROMPT], row[RESPONSE])
        counts.duplicates += key in seen
        seen.setdefault(key, set()).add(row[verdict]["verdict"])
    sides: tuple[dict, dict] = ({}, {})
    for (prompt, response), verdicts in seen.items():
        if len(verdicts) > 1:
            counts.contradicted += 1
        else:
            sides[0 if verdicts == {1} else 1].setdefault(prompt, set()).add(response)
    return sides


def _no_pairs(counts: PairCounts, length_match: float | None) -> str:
    """Why, and what to do."""
    if counts.too_far_apart:
        return f"no pair is left: all {counts.too_far_apart} are further apart than --length_match {length_match:g} allows"
    if not counts.prompts:
        return f"no pair can be made: {counts.failed} of {counts.rows} rows have no verdict, and no response is left"
    if counts.one_response == counts.prompts:
        return f"no pair can be made: each of {counts.prompts} prompts has one response; sample several for a prompt"
    return (
        f"no pair can be made: of {counts.prompts} prompts {counts.all_good} have good responses only, {counts.all_bad} bad"
        f" ones only, {counts.one_response} a single one; sample more responses, or from another policy"
    )


def _ratio(one: str, other: str) -> float:
    """Characters of the shorter over those of the longer."""
    shorter, longer = sorted((len(one), len(other)))
    return shorter / longer if longer else 1.0


def _split(pairs: list[dict], share: float, seed: int) -> dict[str, list[dict]]:
    """By prompt, so that none is in both; a split that would be empty is left out."""
    prompts = sorted({pair[PROMPT] for pair in pairs}, key=lambda prompt: _draw(seed, "split", prompt))
    held_out = set(prompts[: int(share * len(prompts))])
    parts = {TRAIN: [], VALIDATION: []}
    for pair in pairs:
        parts[VALIDATION if pair[PROMPT] in held_out else TRAIN].append(pair)
    return {name: part for name, part in parts.items() if part}


def _draw(seed: int, *texts: str) -> bytes:
    """A random number that depends on nothing but the seed and the texts."""
    content = "\0".join([str(seed), *texts])
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest()


STAGE = "5_verdicts_to_preference"

register_next(
    STAGE,
    "python -m scripts_reward_modeling.pairwise_reward_model_train {reward_pairs.yaml} {model} --source {output}"
    " --output_dir {beside}/reward",
)


@dataclass(frozen=True)
class PairsConfig(Flags):
    """How verdicts become pairs."""

    source: str = flag("output folder of stage 4 (or 3, with --verdict judge)")
    output: str = flag("output folder")
    verdict: str = flag("whose verdict counts", default=REFLECT.adds, choices=(REFLECT.adds, JUDGE.adds))
    length_match: float | None = flag(
        "shorter / longer of a pair in characters, at least; default: any", default=None, least=0, most=1
    )
    max_pairs: int | None = flag("pairs of a prompt, at most, drawn by the seed; default: all", default=None, least=1)
    validation_share: float = flag("prompts that go to a split 'validation'", default=0.0, least=0, most=1)
    seed: int = flag("which pairs and prompts are drawn", default=0, least=0)
    overwrite: bool = flag("redo what is there", default=False)


def make_pairs(config: PairsConfig, update: bool = False) -> None:
    """Save the pairs of :func:`verdict_pairs` as a data set, with its counts; nothing where the same pairs are there already.

    ``update``: replace pairs of other rows with the same settings.
    """
    from datasets import Dataset

    settings = {name: getattr(config, name) for name in ("verdict", "length_match", "max_pairs", "validation_share", "seed")}
    rows = read_rows(config.source, (config.verdict,))
    record = provenance(STAGE, settings, {"source": source_file(config.source)})
    update = update and from_other_rows(config.output, record)
    if is_finished(config.output, record, config.overwrite or update):
        return
    splits, counts = verdict_pairs(rows, *settings.values())
    with stage_output(config.output) as (folder, _):
        finish({name: Dataset.from_list(part) for name, part in splits.items()}, folder, record, counts=asdict(counts))
    print(f"{config.output}: {report(counts)}", flush=True)
