"""Calibrate distinct_k's distance threshold on the data set's own responses to the same prompts."""

import argparse

import numpy as np

from diversity_tuning.errors import UserError


def calibrate(args: argparse.Namespace) -> dict:
    """The threshold and how it was found, for ``threshold.json``.

    Pairs are all pairs of up to ``args.draw`` people's responses to one prompt. With labels ("module:column" of a diagnostics
    module, or of a column that says which responses are functionally the same), the threshold of equal error; pairs in which a
    label is missing are left out. Without, the distance that ``args.share`` of all pairs fall below: two samples are then the
    same when they are nearer than all but that share of what different people write.
    """
    from diversity_tuning.embeddings import load_encoder
    from diversity_tuning.evaluation.scoring import distinct
    from diversity_tuning.evaluation.scoring.references import read_responses, sample_rows

    rows = read_responses(args)
    drawn = sample_rows(rows["prompt_id"].to_numpy(), args.draw, args.seed)
    rows = rows.iloc[np.sort(np.concatenate(list(drawn.values())))].reset_index(drop=True)
    pairs = distinct.pairs_within(list(rows["prompt_id"]))
    same = np.zeros(len(pairs), bool)
    if args.labels:
        pairs, same = labelled_pairs(pairs, rows, args.labels)
    if not len(pairs):
        raise UserError(f"{args.source}, split '{args.split}': no two responses to one prompt to calibrate on")
    encoder = load_encoder(
        args.semantic_model, args.device, args.batch_size, args.trust_remote_code, cache=args.embedding_cache
    )
    distances = distinct.distances_of(encoder.encode(list(rows["response"])), pairs)
    encoder.close()
    if args.labels:
        threshold, error = distinct.equal_error_threshold(distances, same)
        how = {"method": "equal error", "labels": args.labels, "error": error, "same_by_label": float(same.mean())}
    else:
        threshold = distinct.quantile_threshold(distances, args.share)
        how = {"method": "share of human pairs below it", "share": args.share}
    used = {"split": args.split, "prompts": int(rows["prompt_id"].nunique()), "responses": len(rows), "pairs": len(pairs)}
    nearer = {"pairs_at_most_threshold": float((distances <= threshold).mean())}
    return {"threshold": threshold, "semantic_model": args.semantic_model, **how, **used, **nearer}


def labelled_pairs(pairs: np.ndarray, rows, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of which both responses have a label, and whether it is the same."""
    from diversity_tuning.evaluation.scoring.run import diagnose

    module, _, column = labels.partition(":")
    columns = diagnose(module, list(rows["prompt"]), list(rows["response"]))
    if column not in columns:
        raise UserError(f"--labels {labels}: give MODULE:COLUMN; {module} has {', '.join(columns)}")
    values = np.array(columns[column], dtype=object)
    known = np.array([value is not None for value in values])
    pairs = pairs[known[pairs].all(axis=1)]
    return pairs, values[pairs[:, 0]] == values[pairs[:, 1]]
