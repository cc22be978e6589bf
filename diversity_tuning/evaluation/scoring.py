"""The scoring step: rewards, diversities and diagnostics of a run's samples, per response, per prompt and as means."""

import argparse
import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.data.schema import PROMPT, PROMPT_ID, REDDIT_REWARD, RESPONSE, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation import metrics
from diversity_tuning.evaluation.calibration import number_or_none, read_threshold
from diversity_tuning.evaluation.csvfiles import write_csv
from diversity_tuning.evaluation.samples import SAMPLES, read_samples
from diversity_tuning.evaluation.sampling import read_record
from diversity_tuning.evaluation.statistics import mean_interval
from diversity_tuning.runs import PROVENANCE, is_finished, provenance, write_provenance, write_text

SCORES, PROMPTS, METRICS = "scores.csv", "prompts.csv", "metrics.json"
DRAWN = "drawn"  # of the human responses: 1 for as many a prompt as a model has samples
PUBLISHED = [PROMPT_ID, PROMPT, RESPONSE, REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY]


def add_scoring_arguments(parser: argparse.ArgumentParser) -> None:
    """The models that score, diagnostics, and what the run is called in a report."""
    group = parser.add_argument_group("scoring")
    group.add_argument("--reward_model", required=True, help="trained reward model: folder or hub id")
    group.add_argument("--semantic_model", default="jinaai/jina-embeddings-v3-hf", help="semantic embedding model")
    group.add_argument("--style_model", default="AnnaWegmann/Style-Embedding", help="style embedding model")
    group.add_argument("--embedding_cache", default=None, help="folder that keeps embeddings between runs")
    group.add_argument("--diagnostics", default=None, help="module with diagnose(prompts, responses) -> {name: values}")
    group.add_argument("--batch_size", type=int, default=32, help="texts scored at once")
    group.add_argument(
        "--distinct_threshold",
        default=None,
        help="samples nearer than this semantic distance count as one in distinct_k: a number or the output of"
        " scripts_eval.distinct_threshold; with a classifier, the least probability that two are the same (0.5)",
    )
    group.add_argument("--distinct_classifier", default=None, help="classifier of pairs that decides instead: folder or hub id")
    group.add_argument(
        "--quality_threshold", type=float, default=0.0, help="reward from which on a sample is good, for diversity among these"
    )
    group = parser.add_argument_group("what a report calls the run")
    group.add_argument("--name", default=None, help="label; default: the folder's name")
    group.add_argument("--method", default=None, help="family, such as sft, dpo, ddpo-both; default: the name")
    group.add_argument("--strength", default=None, help='strength within the family, such as "1.0"')
    group.add_argument(
        "--training_seed", type=int, default=None, help="seed the model was trained with; default: that of the sampling"
    )


def labels(args: argparse.Namespace, seed: int | None = None) -> dict:
    """What a report groups runs by: name, method, strength, seed."""
    name = args.name or Path(args.output).name
    seed = args.training_seed if args.training_seed is not None else seed
    return {"name": name, "method": args.method or name, "strength": args.strength, "seed": seed}


def scoring_record(args: argparse.Namespace, stage: str, inputs: dict, seed: int | None) -> dict:
    """Settings and fingerprints that decide the scores."""
    from diversity_tuning.embeddings import encoder_input

    names = ("diagnostics", "trust_remote_code", "quality_threshold")
    settings = {**labels(args, seed), **{name: getattr(args, name) for name in names}}
    settings["distinct_threshold"] = distinct_rule(args)["threshold"]
    models = {name: encoder_input(getattr(args, name)) for name in ("semantic_model", "style_model")}
    models |= {"reward_model": args.reward_model, "distinct_classifier": args.distinct_classifier}
    return provenance(stage, settings, {**inputs, **models})


def distinct_rule(args: argparse.Namespace) -> dict:
    """What decides that two samples are the same, for metrics.json; its threshold is None where nothing was given."""
    if args.distinct_classifier:
        threshold = number_or_none(args.distinct_threshold or 0.5)
        if threshold is None:
            raise UserError("--distinct_threshold: with --distinct_classifier it is a probability, such as 0.5")
        return {"by": "classifier", "classifier": Path(args.distinct_classifier).name, "threshold": threshold}
    return {"by": "semantic distance", **read_threshold(args.distinct_threshold, args.semantic_model)}


def score_run(args: argparse.Namespace, overwrite: bool) -> None:
    """Score the finished samples of ``args.output`` and write scores.csv, prompts.csv, metrics.json and provenance.json."""
    output = Path(args.output)
    sampled = read_record(output)
    if not sampled.get("finished"):
        raise UserError(f"{output}: its samples are not finished; run scripts_eval.sample with the same --output first")
    seed = sampled["arguments"]["seed"]
    record = scoring_record(args, "score", {"samples": output / SAMPLES}, seed)
    if (output / PROVENANCE).is_file() and is_finished(output, record, overwrite):
        return
    rows = pd.DataFrame(read_samples(output))
    scores, truncated = score_responses(rows, args)
    scores["finished"], scores["tokens"] = rows["finished"].astype(int), rows["tokens"]
    prompts, results = summarise(scores, args.diagnostics)
    results["counts"] |= truncated
    header = {**header_of(args, seed), "samples_per_prompt": sampled["arguments"]["num_samples"], "split": _where(sampled)}
    write_results(output, record, header, scores, prompts, results)


def header_of(args: argparse.Namespace, seed: int | None = None) -> dict:
    """What metrics.json says first: the labels, and the thresholds that the numbers depend on."""
    return {**labels(args, seed), "distinct_k": distinct_rule(args), "quality_threshold": args.quality_threshold}


def _where(sampled: dict) -> dict:
    return {name: sampled["arguments"][name] for name in ("split", "start", "num_prompts")}


def score_responses(rows: pd.DataFrame, args: argparse.Namespace) -> tuple[pd.DataFrame, dict[str, int]]:
    """The published columns, then sample, words and diagnostics; and how many responses are longer than an encoder reads.

    ``rows`` has prompt_id, prompt, sample and response; ``drawn``, if there, says which responses are clustered.
    """
    from diversity_tuning.embeddings import load_encoder
    from diversity_tuning.reward import load_reward_model

    scores = rows[[PROMPT_ID, PROMPT, RESPONSE]].copy()
    prompts, responses = list(rows[PROMPT]), list(rows[RESPONSE])
    reward_model = load_reward_model(args.reward_model, device=args.device, trust_remote_code=args.trust_remote_code)
    scores[REDDIT_REWARD] = reward_model.score(prompts, responses, batch_size=args.batch_size)
    del reward_model
    good = (scores[REDDIT_REWARD] >= args.quality_threshold).to_numpy()
    options = {"device": args.device, "batch_size": args.batch_size, "trust_remote_code": args.trust_remote_code}
    truncated, more = {}, {"good": good.astype(int)}
    for column, model in ((SEMANTIC_DIVERSITY, args.semantic_model), (STYLE_DIVERSITY, args.style_model)):
        encoder = load_encoder(model, cache=args.embedding_cache, **options)
        vectors = encoder.encode(responses)
        scores[column] = metrics.diversity_by_prompt(vectors, list(rows[PROMPT_ID]))
        more[f"{column}_good"] = metrics.diversity_of_good(vectors, list(rows[PROMPT_ID]), good)
        if column == SEMANTIC_DIVERSITY:
            more["cluster"] = cluster_samples(rows, vectors, args)
        truncated[f"truncated_for_{column}"] = int(encoder.truncated(responses).sum())
        encoder.close()
    scores["sample"] = rows["sample"]
    scores["words"] = [len(response.split()) for response in responses]
    for name, values in more.items():
        scores[name] = values
    for name, values in diagnose(args.diagnostics, prompts, responses).items():
        scores[name] = values
    return scores, truncated


def cluster_samples(rows: pd.DataFrame, vectors: np.ndarray, args: argparse.Namespace) -> pd.Series:
    """The number of each response's cluster (:mod:`~.distinct`); missing for what was not drawn, and with no threshold."""
    from diversity_tuning.evaluation import distinct

    numbers = pd.Series(pd.NA, index=rows.index, dtype="Int64")
    threshold = distinct_rule(args)["threshold"]
    if threshold is None:
        print("no --distinct_threshold: distinct_k is left out; scripts_eval.distinct_threshold calibrates one", flush=True)
        return numbers
    drawn = np.flatnonzero(rows[DRAWN]) if DRAWN in rows else np.arange(len(rows))
    pairs = distinct.pairs_within(list(rows[PROMPT_ID].iloc[drawn]))
    if args.distinct_classifier:
        texts = list(rows[RESPONSE].iloc[drawn])
        probability = distinct.classifier(args.distinct_classifier, args.device, args.trust_remote_code)
        same = probability([texts[i] for i in pairs[:, 0]], [texts[i] for i in pairs[:, 1]], args.batch_size) >= threshold
    else:
        same = distinct.distances_of(vectors[drawn], pairs) <= threshold
    numbers.iloc[drawn] = distinct.clusters(len(drawn), pairs, same)
    return numbers


def diagnose(module: str | None, prompts: list[str], responses: list[str]) -> dict[str, list]:
    """What the diagnostics module says of every response: column -> values (numbers, or labels with None for no label)."""
    if module is None:
        return {}
    try:
        function = importlib.import_module(module).diagnose
    except (ImportError, AttributeError) as error:
        raise UserError(f"--diagnostics {module}: no module with a function diagnose(prompts, responses) ({error})") from None
    columns = function(prompts, responses)
    for name, values in columns.items():
        if len(values) != len(responses):
            raise UserError(f"--diagnostics {module}: '{name}' has {len(values)} values for {len(responses)} responses")
    return columns


def summarise(scores: pd.DataFrame, diagnostics: str | None) -> tuple[pd.DataFrame, dict]:
    """Per prompt: means of numbers and counts of distinct labels; over prompts: means with 95% intervals, and counts."""
    groups = scores.groupby(PROMPT_ID, sort=True)
    left_out = (PROMPT_ID, "sample", "cluster", DRAWN)
    numbers = [name for name in scores.columns if name not in left_out and _is_number(scores[name])]
    prompts = groups[numbers].mean()
    prompts.insert(0, PROMPT, groups[PROMPT].first())
    prompts["responses"] = groups.size()
    prompts["duplicates"] = groups[RESPONSE].agg(lambda texts: metrics.duplicates(list(texts)))
    if scores["cluster"].notna().any():
        for name, known in (
            ("distinct_k", scores["cluster"]),
            ("distinct_k_good", scores["cluster"].where(scores["good"] == 1)),
        ):
            prompts[name] = known.groupby(scores[PROMPT_ID]).nunique()
    known = {*numbers, *PUBLISHED, *left_out}
    for name in [name for name in scores.columns if diagnostics and name not in known]:
        prompts[f"distinct_{name}"] = groups[name].agg(lambda labels: metrics.distinct_k(list(labels.dropna())))
    fixed = ["responses", "duplicates"]
    prompts = prompts[[*[name for name in prompts if name not in fixed], *fixed]].reset_index()
    counts = {
        "prompts": len(prompts),
        "responses": len(scores),
        "duplicates": int(prompts["duplicates"].sum()),
        "unfinished": int((scores["finished"] == 0).sum()) if "finished" in scores else 0,
        "empty": int((scores[RESPONSE].str.strip() == "").sum()),
    }
    return prompts, {"means": means(prompts), "counts": counts}


def means(prompts: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Mean and 95% bootstrap interval over prompts of every numeric column."""
    left_out = (PROMPT_ID, "responses", "duplicates")
    names = [name for name in prompts.columns if name not in left_out and _is_number(prompts[name])]
    return {name: mean_interval(prompts[name].to_numpy(dtype=float)) for name in names}


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column)


def write_results(output: Path, record: dict, header: dict, scores, prompts: pd.DataFrame, results: dict) -> None:
    """Write the tables and metrics, and the provenance last: without it the folder does not count as scored."""
    (output / PROVENANCE).unlink(missing_ok=True)
    write_csv(output / SCORES, scores)
    write_csv(output / PROMPTS, prompts)
    write_metrics(output, {**header, **results})
    write_provenance(output, record, counts=results["counts"])
    summary = ", ".join(f"{name} {results['means'][name]['mean']:.3f}" for name in PUBLISHED[3:])
    print(f"{output}: {results['counts']['responses']} responses: {summary}", flush=True)


def write_metrics(output: Path, content: dict) -> None:
    """Write metrics.json; NaN becomes null, so that any JSON reader can read it."""
    write_text(output / METRICS, json.dumps(_nan_to_none(content), indent=2) + "\n")


def _nan_to_none(value):
    if isinstance(value, dict):
        return {key: _nan_to_none(item) for key, item in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value
