"""The scoring step: rewards, diversities and diagnostics of a run's samples, per response, per prompt and as means."""

import argparse
import importlib
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.data.schema import PROMPT, PROMPT_ID, REDDIT_REWARD, RESPONSE, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation import metrics
from diversity_tuning.evaluation.sampling.run import read_record
from diversity_tuning.evaluation.sampling.samples import SAMPLES, read_samples
from diversity_tuning.evaluation.scoring.summary import DRAWN, TRUNCATED, command_line, summarise, write_results
from diversity_tuning.evaluation.scoring.threshold import number_or_none, read_threshold
from diversity_tuning.runs import PROVENANCE, is_finished, provenance


def add_scoring_arguments(parser: argparse.ArgumentParser, reward_required: bool = True) -> None:
    """The models that score, diagnostics, and what the run is called in a report."""
    group = parser.add_argument_group("scoring")
    group.add_argument("--reward_model", required=reward_required, help="trained reward model: folder or hub id")
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


def run_labels(args: argparse.Namespace, seed: int | None = None) -> dict:
    """What a report groups runs by: name, method, strength, seed."""
    name = args.name or Path(args.output).name
    seed = args.training_seed if args.training_seed is not None else seed
    return {"name": name, "method": args.method or name, "strength": args.strength, "seed": seed}


def scoring_record(args: argparse.Namespace, stage: str, inputs: dict, seed: int | None) -> dict:
    """Settings and fingerprints that decide the scores."""
    from diversity_tuning.embeddings import encoder_input

    names = ("diagnostics", "trust_remote_code", "quality_threshold")
    settings = {**run_labels(args, seed), **{name: getattr(args, name) for name in names}}
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


def score_run(args: argparse.Namespace, overwrite: bool, advice: str = "give --overwrite") -> None:
    """Score the finished samples of ``args.output`` and write scores.csv, prompts.csv, metrics.json and provenance.json.

    ``advice``: how to have them scored anew, where they were scored otherwise.
    """
    output = Path(args.output)
    sampled = read_record(output)
    if not sampled.get("finished"):
        raise UserError(f"{output}: its samples are not finished; run scripts_eval.sample with the same --output first")
    seed = sampled["arguments"]["seed"]
    record = scoring_record(args, "score", {"samples": output / SAMPLES}, seed)
    if (output / PROVENANCE).is_file() and is_finished(output, record, overwrite, advice):
        return
    rows = pd.DataFrame(read_samples(output))
    scores = score_responses(rows, args)
    scores["finished"], scores["tokens"] = rows["finished"].astype(int), pd.to_numeric(rows["tokens"])  # None: unknown
    count = sampled["arguments"]["num_samples"]
    prompts, results = summarise(scores, args.diagnostics, count)
    results["counts"]["failed"] = len(sampled.get("failures", []))
    header = {**header_of(args, seed), "samples_per_prompt": count, "split": _where(sampled)}
    write_results(output, record, header, scores, prompts, results)


def header_of(args: argparse.Namespace, seed: int | None = None) -> dict:
    """What metrics.json says first: the labels, the thresholds that the numbers depend on, and the command."""
    thresholds = {"distinct_k": distinct_rule(args), "quality_threshold": args.quality_threshold}
    return {**run_labels(args, seed), **thresholds, "command": command_line()}


def _where(sampled: dict) -> dict:
    return {name: sampled["arguments"][name] for name in ("split", "start", "num_prompts")}


def score_responses(rows: pd.DataFrame, args: argparse.Namespace) -> pd.DataFrame:
    """The published columns, then sample, words, diversity among good samples, cluster, truncation and diagnostics.

    ``rows`` has prompt_id, prompt, sample and response; ``drawn``, if there, says which responses are clustered. Without a
    reward model the reward is NaN, and no response is called good.
    """
    from diversity_tuning.embeddings import load_encoder

    scores = rows[[PROMPT_ID, PROMPT, RESPONSE]].copy()
    prompts, responses = list(rows[PROMPT]), list(rows[RESPONSE])
    scores[REDDIT_REWARD] = score_rewards(prompts, responses, args)
    good = (scores[REDDIT_REWARD] >= args.quality_threshold).to_numpy()
    options = {"device": args.device, "batch_size": args.batch_size, "trust_remote_code": args.trust_remote_code}
    more = {"good": good.astype(int)} if args.reward_model else {}
    models = {SEMANTIC_DIVERSITY: args.semantic_model, STYLE_DIVERSITY: args.style_model}
    for (column, model), truncated in zip(models.items(), TRUNCATED, strict=True):
        encoder = load_encoder(model, cache=args.embedding_cache, **options)
        vectors = encoder.encode(responses)
        scores[column] = metrics.diversity_by_prompt(vectors, list(rows[PROMPT_ID]))
        if args.reward_model:
            more[f"{column}_good"] = metrics.diversity_of_good(vectors, list(rows[PROMPT_ID]), good)
        if column == SEMANTIC_DIVERSITY:
            more["cluster"] = cluster_samples(rows, vectors, args)
        more[truncated] = encoder.truncated(responses).astype(int)
        encoder.close()
    scores["sample"] = rows["sample"]
    scores["words"] = [len(response.split()) for response in responses]
    for name, values in more.items():
        scores[name] = values
    for name, values in diagnose(args.diagnostics, prompts, responses).items():
        scores[name] = values
    return scores


def score_rewards(prompts: list[str], responses: list[str], args: argparse.Namespace) -> np.ndarray:
    """The reward model's scores, ``(n,)``; NaN where there is none."""
    if args.reward_model is None:
        return np.full(len(responses), np.nan)
    from diversity_tuning.reward import load_reward_model

    reward_model = load_reward_model(args.reward_model, device=args.device, trust_remote_code=args.trust_remote_code)
    return reward_model.score(prompts, responses, batch_size=args.batch_size)


def cluster_samples(rows: pd.DataFrame, vectors: np.ndarray, args: argparse.Namespace) -> pd.Series:
    """The number of each response's cluster (:mod:`~.distinct`); missing for what was not drawn, and with no threshold."""
    from diversity_tuning.evaluation.scoring import distinct

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
