"""Split the source into train, test and, if wanted, validation; report prompts that are in more than one split."""

import itertools
import math

import numpy as np

from diversity_tuning.data import schema
from diversity_tuning.embeddings import text_key
from diversity_tuning.errors import UserError


def split_rows(dataset, seed: int, test_size: float = 0.1, validation_size: float = 0.0, group: bool = False) -> dict:
    """Splits of ``dataset`` by name; ``test_size`` and ``validation_size`` are shares of all rows.

    Without ``group`` rows are drawn as in the published split (``train_test_split`` with this seed); with it all rows of
    one prompt text go to one side. The test split does not depend on ``validation_size``.
    """
    if not 0 < test_size < 1 or not 0 <= validation_size < 1 or test_size + validation_size >= 1:
        raise UserError("--test_size must be between 0 and 1, --validation_size from 0 up, and both together below 1")
    cut = _cut_groups if group else _cut_rows
    parts = 3 if validation_size else 2
    rest, test = cut(dataset, seed, test_size * len(dataset), parts)
    splits = {schema.TRAIN: rest, schema.TEST: test}
    if validation_size:
        splits[schema.TRAIN], splits[schema.VALIDATION] = cut(rest, seed, validation_size * len(dataset), 2)
    return splits


def _cut_rows(dataset, seed: int, wanted: float, parts: int) -> tuple:
    """(rest, ``wanted`` rows), leaving enough in the rest for ``parts`` splits in all."""
    if len(dataset) < parts:
        raise UserError(f"{len(dataset)} row(s) are too few for {parts} splits")
    # Test rows first, then train rows, of one permutation: exactly `Dataset.train_test_split(test_size, seed=seed)`.
    order = np.random.default_rng(seed).permutation(len(dataset))
    count = min(math.ceil(wanted), len(dataset) - parts + 1)
    return dataset.select(order[count:]), dataset.select(order[:count])


def _cut_groups(dataset, seed: int, wanted: float, parts: int) -> tuple:
    """Like :func:`_cut_rows`, in whole prompts: the last one taken may bring a few rows more than ``wanted``."""
    groups, sizes = np.unique(prompt_keys(dataset), return_inverse=True, return_counts=True)[1:]
    if len(sizes) < parts:
        raise UserError(f"{len(sizes)} distinct prompt(s) are too few for {parts} splits")
    order = np.random.default_rng(seed).permutation(len(sizes))
    count = int(np.searchsorted(np.cumsum(sizes[order]), wanted)) + 1
    taken = np.isin(groups, order[: min(count, len(sizes) - parts + 1)])
    return dataset.select(np.flatnonzero(~taken)), dataset.select(np.flatnonzero(taken))


def prompt_keys(dataset) -> np.ndarray:
    """A 16-byte digest of every row's prompt text, (n,)."""
    keys = []
    for batch in dataset.select_columns([schema.POST_TITLE, schema.POST_TEXT]).iter(1000):
        pairs = zip(batch[schema.POST_TITLE], batch[schema.POST_TEXT], strict=True)
        keys += [text_key(schema.prompt_text(title, text)) for title, text in pairs]
    return np.array(keys, dtype="S16")


def leakage(splits: dict) -> dict[str, int]:
    """For every two splits, how many prompt texts are in both."""
    keys = {name: np.unique(prompt_keys(split)) for name, split in splits.items()}
    pairs = itertools.combinations(keys, 2)
    return {f"{one}+{two}": len(np.intersect1d(keys[one], keys[two], assume_unique=True)) for one, two in pairs}
