"""Calibrate distinct_k's distance threshold on the data set's own responses to the same prompts."""

from dataclasses import dataclass

import numpy as np

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.scoring.run import ScoringConfig, diagnose
from diversity_tuning.flags import flag
from diversity_tuning.ranges import Flags


@dataclass(frozen=True)
class CalibrationConfig(Flags):
    """Which of the data's own responses the threshold is calibrated on, and how; give a split that is not evaluated on."""

    source: str = flag("folder with the cleaned data: output of data stage 0 or 1")
    output: str = flag("folder for threshold.json")
    split: str = flag("split of it; not the one that is evaluated on", default="train")
    start: int = flag("first row", default=0, least=0)
    num_prompts: int = flag("rows from there on; fewer where the split ends", default=500, least=1)
    draw: int = flag("responses a prompt, at most", default=8, least=2)
    seed: int = flag("decides that draw", default=42, least=0)
    semantic_model: str = flag("semantic embedding model", default=ScoringConfig.semantic_model)
    embedding_cache: str | None = flag("folder that keeps embeddings between runs", default=None)
    share: float = flag("without labels: share of the pairs that count as the same", default=0.05, above=0, below=1)
    labels: str | None = flag("a diagnostics module's label of what is the same", default=None, metavar="MODULE:COLUMN")
    batch_size: int = flag("texts embedded at once", default=32, least=1)
    device: str | None = flag("cpu, cuda, …; default: cuda where there is one", default=None)
    trust_remote_code: bool = flag("run the hub's code", default=False)
    overwrite: bool = flag("make it anew", default=False)


def calibrate(config: CalibrationConfig) -> dict:
    """The threshold and how it was found, for ``threshold.json``.

    Pairs are all pairs of up to ``config.draw`` of the data's responses to one prompt. With labels ("module:column" of a
    diagnostics module, or of a column that says which responses are functionally the same), the threshold of equal error;
    pairs in which a label is missing are left out. Without, the distance that ``config.share`` of all pairs fall below: two
    samples are then the same when they are nearer than all but that share of what different authors write.
    """
    from diversity_tuning.embeddings import load_encoder
    from diversity_tuning.evaluation.scoring import distinct
    from diversity_tuning.evaluation.scoring.references import read_responses, sample_rows

    rows = read_responses(config.source, config.split, config.start, config.num_prompts)
    drawn = sample_rows(rows["prompt_id"].to_numpy(), config.draw, config.seed)
    rows = rows.iloc[np.sort(np.concatenate(list(drawn.values())))].reset_index(drop=True)
    pairs = distinct.pairs_within(list(rows["prompt_id"]))
    same = np.zeros(len(pairs), bool)
    if config.labels:
        pairs, same = labelled_pairs(pairs, rows, config.labels)
    if not len(pairs):
        raise UserError(f"{config.source}, split '{config.split}': no two responses to one prompt to calibrate on")
    encoder = load_encoder(
        config.semantic_model, config.device, config.batch_size, config.trust_remote_code, cache=config.embedding_cache
    )
    distances = distinct.distances_of(encoder.encode(list(rows["response"])), pairs)
    encoder.close()
    if config.labels:
        threshold, error = distinct.equal_error_threshold(distances, same)
        how = {"method": "equal error", "labels": config.labels, "error": error, "same_by_label": float(same.mean())}
    else:
        threshold = distinct.quantile_threshold(distances, config.share)
        how = {"method": "share of pairs below it", "share": config.share}
    used = {"split": config.split, "prompts": int(rows["prompt_id"].nunique()), "responses": len(rows), "pairs": len(pairs)}
    nearer = {"pairs_at_most_threshold": float((distances <= threshold).mean())}
    return {"threshold": threshold, "semantic_model": config.semantic_model, **how, **used, **nearer}


def labelled_pairs(pairs: np.ndarray, rows, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of which both responses have a label, and whether it is the same."""
    module, _, column = labels.partition(":")
    columns = diagnose(module, list(rows["prompt"]), list(rows["response"]))
    if column not in columns:
        raise UserError(f"--labels {labels}: give MODULE:COLUMN; {module} has {', '.join(columns)}")
    values = np.array(columns[column], dtype=object)
    known = np.array([value is not None for value in values])
    pairs = pairs[known[pairs].all(axis=1)]
    return pairs, values[pairs[:, 0]] == values[pairs[:, 1]]
