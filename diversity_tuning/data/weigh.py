"""Stage 3: give both responses of every pair their deviation."""

import itertools
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from diversity_tuning.data import schema
from diversity_tuning.data.storage import add_columns, map_batches
from diversity_tuning.data.validate import DIGEST, NUMBER
from diversity_tuning.deviation import CONSTANT, mean_cosine_distance, response_weights
from diversity_tuning.embeddings import EmbeddingStore, text_key
from diversity_tuning.embeddings.encoder import cut_texts

SCOPES = ("prompt", "all")  # of the permutation that is a control


@dataclass
class Report:
    """Counts of the prompts of one split."""

    prompts: int = 0
    all_zero: int = 0  # every product of types was 0: delta = 1
    constant: int = 0  # no type told the responses apart: delta = 1


def prompt_deviation(keys: np.ndarray, vectors: list[np.ndarray], report: Report, floor: float = 0.0) -> np.ndarray:
    """:func:`response_weights` of one prompt's responses, (n,), and a count of the neutral cases in ``report``.

    ``keys`` (n,) tell the responses apart; ``vectors`` holds one (n, d) array per type of deviation.
    """
    report.prompts += 1
    weights = response_weights(keys.tolist(), vectors, minimum=floor)
    if (weights == 1).all():
        told_apart = len(keys) > 1 and any(np.ptp(mean_cosine_distance(one)) > CONSTANT for one in vectors)
        report.all_zero += told_apart
        report.constant += not told_apart
    return weights


@dataclass
class PairKeys:
    """Digests of prompt, chosen and rejected text of every pair, each (n,) of 16 bytes: the texts stay on disk."""

    prompt: np.ndarray
    chosen: np.ndarray
    rejected: np.ndarray


KEY_COLUMNS = ("key_prompt", "key_chosen", "key_rejected")


def key_batch(batch: dict, indices: list[int]) -> dict:
    """Digests of the texts of a batch of pairs."""
    chosen, rejected = batch[schema.CHOSEN], batch[schema.REJECTED]
    return {
        "key_prompt": [text_key(prompt_of(messages)) for messages in chosen],
        "key_chosen": [text_key(messages[-1]["content"]) for messages in chosen],
        "key_rejected": [text_key(messages[-1]["content"]) for messages in rejected],
    }


def prompt_of(messages: list[dict]) -> str:
    """The prompt of one side of a pair: everything before the response."""
    return "\n".join(message["content"] for message in messages[:-1])


def read_keys(dataset) -> PairKeys:
    """The digests of all pairs as arrays (:class:`PairKeys`)."""
    columns = {name: [] for name in KEY_COLUMNS}
    for batch in dataset.with_format("arrow").iter(10_000):
        for name in KEY_COLUMNS:
            columns[name].append(np.array(batch.column(name).to_pylist(), dtype="S16"))
    return PairKeys(*(np.concatenate(columns[name]) for name in KEY_COLUMNS))


def select_pairs(prompts: np.ndarray, scores: np.ndarray, max_cutoff: int, sort_with_score: bool) -> np.ndarray:
    """Rows to keep, ascending: at most ``max_cutoff / 2`` pairs of a prompt, the first or those whose chosen has most votes.

    ``prompts`` and ``scores`` (chosen votes) are (n,). ``max_cutoff`` -1 keeps all. Equal votes go by row.
    """
    if max_cutoff < 0:
        return np.arange(len(prompts))
    order = np.argsort(-scores, kind="stable") if sort_with_score else np.arange(len(prompts))
    order = order[np.argsort(prompts[order], kind="stable")]
    starts = _starts(prompts[order])
    rank = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    return np.sort(order[rank < max_cutoff // 2])


def _starts(ordered: np.ndarray) -> np.ndarray:
    """Where each run of equal values begins."""
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else np.empty(0, int)


def by_prompt(prompts: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of each prompt, ascending; ``prompts`` (n,)."""
    order = np.argsort(prompts, kind="stable")
    for start, end in itertools.pairwise([*_starts(prompts[order]), len(order)]):
        yield order[start:end]


def pair_deviations(
    keys: PairKeys, stores: list[EmbeddingStore], floor: float, report: Report
) -> tuple[np.ndarray, np.ndarray]:
    """(deviation of chosen, of rejected), each (n,), over the distinct responses in the pairs of each prompt text."""
    chosen, rejected = np.ones(len(keys.prompt)), np.ones(len(keys.prompt))
    for rows in by_prompt(keys.prompt):
        texts, places = np.unique(np.concatenate([keys.chosen[rows], keys.rejected[rows]]), return_inverse=True)
        delta = prompt_deviation(texts, [store.vectors(texts) for store in stores], report, floor)[places]
        chosen[rows], rejected[rows] = delta[: len(rows)], delta[len(rows) :]
    return chosen, rejected


def embed_texts(batches: Iterable[list[str]], stores: list[EmbeddingStore], chunk: int = 2048) -> np.ndarray:
    """Put every distinct text into every store, ``chunk`` texts at a time; returns their keys (n,)."""
    seen: set[bytes] = set()
    waiting: list[str] = []
    for batch in batches:
        for text in batch:
            key = text_key(text)
            if key not in seen:
                seen.add(key)
                waiting.append(text)
        if len(waiting) >= chunk:
            for store in stores:
                store.add(waiting)
            waiting = []
            print(f"embedded {len(seen)} texts", flush=True)
    for store in stores:
        store.add(waiting)
    return np.array(sorted(seen), dtype="S16")


def count_cut(keys: np.ndarray, stores: list[EmbeddingStore]) -> dict[str, int]:
    """Encoder -> how many texts are longer than it reads; says so at once where there are any."""
    found = {store.encoder.name: store.count_truncated(keys) for store in stores}
    for name, number in found.items():
        if number:
            print(f"warning: {cut_texts(number, len(keys), name)}", file=sys.stderr, flush=True)
    return found


def pair_texts(dataset, size: int = 500) -> Iterator[list[str]]:
    """The responses of a split of pairs, batch by batch."""
    for batch in dataset.select_columns([schema.CHOSEN, schema.REJECTED]).iter(size):
        yield [messages[-1]["content"] for name in (schema.CHOSEN, schema.REJECTED) for messages in batch[name]]


DEVIATIONS = {schema.DEVIATION_CHOSEN: NUMBER, schema.DEVIATION_REJECTED: NUMBER}


def weight_batch(batch: dict, indices: list[int], chosen: np.ndarray, rejected: np.ndarray) -> dict:
    """Add the deviations of a batch of pairs."""
    return {schema.DEVIATION_CHOSEN: chosen[indices].tolist(), schema.DEVIATION_REJECTED: rejected[indices].tolist()}


def cut(rows, name: str, work, num_proc: int, max_cutoff: int, sort_with_score: bool) -> tuple:
    """(keys, rows) of one split after ``max_cutoff``."""
    keys = read_keys(map_batches(rows, key_batch, dict.fromkeys(KEY_COLUMNS, DIGEST), work, f"reading-{name}", num_proc))
    if max_cutoff < 0:
        return keys, rows
    kept = select_pairs(keys.prompt, np.array(rows[schema.SCORE_CHOSEN]), max_cutoff, sort_with_score)
    return PairKeys(keys.prompt[kept], keys.chosen[kept], keys.rejected[kept]), rows.select(kept)


def permuted_rows(prompts: np.ndarray, scope: str, rng: np.random.Generator) -> np.ndarray:
    """Which row each row takes its deviations from: a uniformly random permutation of ``range(n)``, int ``(n,)``.

    ``prompts`` (n,) tells the rows of one prompt. ``scope`` ``"prompt"`` permutes among them only, ``"all"`` over all
    rows. A row may draw its own: a permutation without fixed points would make the weights of a prompt with few pairs
    *anti*-correlate with the deviations, which is information; by a uniform one every pair expects its prompt's mean.
    """
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {', '.join(SCOPES)}, not {scope!r}")
    if scope == "all":
        return rng.permutation(len(prompts))
    rows = np.empty(len(prompts), dtype=int)
    rows[np.argsort(prompts, kind="stable")] = np.lexsort((rng.random(len(prompts)), prompts))
    return rows


def permute(
    chosen: np.ndarray, rejected: np.ndarray, prompts: np.ndarray, scope: str, seed: int, split: str
) -> tuple[np.ndarray, np.ndarray, dict]:
    """Both columns of deviations, each (n,), moved to other pairs by one permutation, and what came of it.

    Each column keeps its multiset of values. The same seed permutes every split in its own way. The report counts pairs whose
    chosen deviation is what it was (their own row, or an equal one), and the correlation with the real ones.
    """
    rows = permuted_rows(prompts, scope, np.random.default_rng([seed, zlib.crc32(split.encode())]))
    moved = chosen[rows], rejected[rows]
    varies = len(chosen) > 1 and np.ptp(chosen) > 0
    correlation = round(float(np.corrcoef(chosen, moved[0])[0, 1]), 4) if varies else None
    return *moved, {"permuted": scope, "unchanged_pairs": int((moved[0] == chosen).sum()), "correlation_with_real": correlation}


def constant(chosen: np.ndarray, rejected: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict]:
    """Both columns replaced by their means, each (n,): steps as large as the real weights make them, and no choice of pairs."""
    means = [float(side.mean()) if len(side) else 1.0 for side in (chosen, rejected)]
    sides = (np.full(len(side), mean) for side, mean in zip((chosen, rejected), means, strict=True))
    return *sides, {"constant": means[0], "constant_rejected": means[1]}


@dataclass(frozen=True)
class Settings:
    """What is made of the deviations: a floor, or a control: the deviations of the wrong pairs, or one number for all."""

    floor: float = 0.0
    permute: str | None = None  # of SCOPES
    permute_seed: int = 0
    constant: bool = False


def weigh(rows, keys: PairKeys, stores: list[EmbeddingStore], settings: Settings, name: str, work, num_proc: int) -> tuple:
    """(pairs with deviations, report) of one split. A control is made from the deviations after the floor."""
    report, control = Report(), {}
    chosen, rejected = pair_deviations(keys, stores, settings.floor, report)
    if settings.permute:
        chosen, rejected, control = permute(chosen, rejected, keys.prompt, settings.permute, settings.permute_seed, name)
    elif settings.constant:
        chosen, rejected, control = constant(chosen, rejected)
    made = add_columns(rows, weight_batch, DEVIATIONS, work, f"weighing-{name}", num_proc, chosen=chosen, rejected=rejected)
    return made, describe(report, chosen, rejected) | ({"control": control} if control else {})


def describe(report: Report, chosen: np.ndarray, rejected: np.ndarray) -> dict:
    """A split's report as plain figures."""
    return {
        **asdict(report),
        "pairs_out": len(chosen),
        schema.DEVIATION_CHOSEN: summary(chosen),
        schema.DEVIATION_REJECTED: summary(rejected),
    }


def print_report(output, reports: dict, texts: int, truncated: dict) -> None:
    """Print the distribution of the deviations."""
    print(f"{output}: {texts} distinct texts; longer than the encoder reads: {truncated}")
    for name, report in reports.items():
        neutral = f"delta = 1 for {report['all_zero']} (all products 0) and {report['constant']} (nothing differs)"
        print(f"  {name}: {report['pairs_out']} pairs of {report['prompts']} prompts; {neutral}")
        for part in ("creativity", "control", schema.DEVIATION_CHOSEN, schema.DEVIATION_REJECTED):
            if part in report:
                print(f"    {part}: " + " ".join(f"{key} {value}" for key, value in report[part].items()))


def summary(values: np.ndarray) -> dict[str, float]:
    """Count, mean, spread and quantiles of an array, for reports."""
    if len(values) == 0:
        return {"n": 0}
    quantiles = np.quantile(values, [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1])
    names = ("min", "p10", "p25", "median", "p75", "p90", "max")
    spread = {name: round(float(value), 4) for name, value in zip(names, quantiles, strict=True)}
    return {"n": len(values), "mean": round(float(values.mean()), 4), "sd": round(float(values.std()), 4), **spread}
