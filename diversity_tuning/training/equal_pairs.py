"""Pairs whose sides are the same text after the cut: they teach nothing, and are left out and counted."""

import torch

from diversity_tuning.errors import UserError


def drop_equal_pairs(trainer) -> dict[str, int]:
    """Leave pairs whose sides are equal, as the trainer's collator cuts them, out of its data; counts, where there are any.

    Raises :class:`UserError` when no pair to train on is left.
    """
    counts = {}
    for name, key in (("train_dataset", "pairs_equal_after_cut"), ("eval_dataset", "eval_pairs_equal_after_cut")):
        pairs = getattr(trainer, name)
        if pairs is None or not len(pairs):
            continue
        kept = differing(pairs, trainer.args.max_length, trainer.data_collator)
        if len(kept) < len(pairs):
            counts[key] = len(pairs) - len(kept)
            setattr(trainer, name, kept)
    if len(trainer.train_dataset) == 0:
        raise UserError(
            f"no pair is left to train on: the sides of every pair are equal (--max_length {trainer.args.max_length})"
        )
    return counts


def differing(pairs, max_length: int | None, collator=None):
    """The pairs of token ids (``chosen_ids``, ``rejected_ids``) that differ, after ``collator``'s cut where they are longer."""
    columns = [name for name in ("prompt_ids", "chosen_ids", "rejected_ids") if name in pairs.column_names]

    def differs(number: int, pair: dict) -> bool:
        longest = len(pair.get("prompt_ids") or []) + max(len(pair["chosen_ids"]), len(pair["rejected_ids"]))
        if pair["chosen_ids"] == pair["rejected_ids"]:
            return False
        if collator is None or max_length is None or longest <= max_length:
            return True
        batch = collator([pairs[number]])
        return not all(torch.equal(*batch[name]) for name in ("input_ids", "attention_mask"))

    rows = pairs.select_columns(columns)
    kept = [number for number, pair in enumerate(rows) if differs(number, pair)]
    return pairs if len(kept) == len(pairs) else pairs.select(kept)
