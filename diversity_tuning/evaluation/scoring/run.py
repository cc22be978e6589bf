"""The scoring step: rewards, diversities and diagnostics of a run's samples, per response, per prompt and as means."""

import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.data.schema import PROMPT, PROMPT_ID, REDDIT_REWARD, RESPONSE, SEMANTIC_DIVERSITY
from diversity_tuning.deviation_types import TYPES, models_of
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation import diagnostics, metrics
from diversity_tuning.evaluation.files import SAMPLES
from diversity_tuning.evaluation.registry import LOG_PROB, TRUNCATED
from diversity_tuning.evaluation.sampling.run import read_record
from diversity_tuning.evaluation.sampling.samples import read_samples
from diversity_tuning.evaluation.scoring.summary import DRAWN, command_line, summarise, was_killed, write_results
from diversity_tuning.flags import flag
from diversity_tuning.locks import hold
from diversity_tuning.partition import number_or_none, read_threshold
from diversity_tuning.ranges import Flags
from diversity_tuning.runs import PROVENANCE, is_finished, provenance
from diversity_tuning.words import count_words

NO_ENCODER = "none"
_SCORING, _CALLED = "scoring", "what a report calls the run"  # headings of --help


@dataclass(frozen=True)
class ScoringConfig(Flags):
    """What scores the responses of ``output``, a run folder, and what the run is called in a report."""

    output: str = flag("run folder")
    reward_model: str | None = flag(
        "trained reward model: folder or hub id; none, or without one: there is no reward, and no sample is called good",
        default=None,
        group=_SCORING,
    )
    semantic_model: str = flag("semantic embedding model", default=TYPES["semantic"].encoder, group=_SCORING)
    style_model: str = flag("style embedding model; none to leave it out", default=TYPES["style"].encoder, group=_SCORING)
    embedding_cache: str | None = flag("folder that keeps embeddings between runs", default=None, group=_SCORING)
    diagnostics: str | None = flag(
        "module with diagnose(prompts, responses) -> {name: values}, and perhaps METRICS", default=None, group=_SCORING
    )
    batch_size: int = flag("texts scored at once", default=32, least=1, group=_SCORING)
    distinct_threshold: str | float | None = flag(
        "samples nearer than this semantic distance count as one in distinct_k: a number or the output of"
        " scripts_eval.distinct_threshold; with a classifier, the least probability that two are the same (0.5)",
        default=None, group=_SCORING,
    )  # fmt: skip
    distinct_classifier: str | None = flag(
        "classifier of pairs that decides instead: folder or hub id", default=None, group=_SCORING
    )
    quality_threshold: float = flag(
        "reward from which on a sample is good, for diversity among these", default=0.0, group=_SCORING
    )
    log_prob_model: str | None = flag(
        "language model (folder or hub id) that the responses' log-probability is measured under, best the base model; none:"
        " left out",
        default=None, group=_SCORING,
    )  # fmt: skip
    name: str | None = flag("label; default: the folder's name", default=None, group=_CALLED)
    method: str | None = flag("family, such as sft, dpo, ddpo-both; default: the name", default=None, group=_CALLED)
    strength: str | None = flag('strength within the family, such as "1.0"', default=None, group=_CALLED)
    training_seed: int | None = flag(
        "seed the model was trained with; default: that of the sampling", default=None, group=_CALLED
    )
    device: str | None = flag("cpu, cuda, cuda:1, …; default: cuda where there is one", default=None)
    trust_remote_code: bool = flag("run the hub's code", default=False)
    overwrite: bool = flag("score anew", default=False)

    def __post_init__(self):
        super().__post_init__()
        if self.reward_model == NO_ENCODER:
            object.__setattr__(self, "reward_model", None)


def run_labels(config: ScoringConfig, seed: int | None = None) -> dict:
    """What a report groups runs by: name, method, strength, seed."""
    name = config.name or Path(config.output).name
    seed = config.training_seed if config.training_seed is not None else seed
    return {"name": name, "method": config.method or name, "strength": config.strength, "seed": seed}


def scoring_record(config: ScoringConfig, stage: str, inputs: dict, seed: int | None) -> dict:
    """Settings and fingerprints that decide the scores."""
    from diversity_tuning.embeddings import encoder_input

    registered_by(config.diagnostics)  # what it registers wrongly is refused before anything is scored
    names = ("diagnostics", "trust_remote_code", "quality_threshold")
    settings = {**run_labels(config, seed), **{name: getattr(config, name) for name in names}}
    settings["distinct_threshold"] = distinct_rule(config)["threshold"]
    encoders = {f"{name}_model": model for name, model in models_of(config).items()}
    models = {name: encoder_input(encoder) for name, encoder in encoders.items() if encoder != NO_ENCODER}
    models |= {"reward_model": config.reward_model, "distinct_classifier": config.distinct_classifier}
    models |= {"log_prob_model": _log_prob_model(config)} if _log_prob_model(config) else {}
    return provenance(stage, settings, {**inputs, **models})


def distinct_rule(config: ScoringConfig) -> dict:
    """What decides that two samples are the same, for metrics.json; its threshold is None where nothing was given."""
    if config.distinct_classifier:
        threshold = number_or_none(config.distinct_threshold or 0.5)
        if threshold is None:
            raise UserError("--distinct_threshold: with --distinct_classifier it is a probability, such as 0.5")
        return {"by": "classifier", "classifier": Path(config.distinct_classifier).name, "threshold": threshold}
    return {"by": "semantic distance", **read_threshold(config.distinct_threshold, config.semantic_model)}


def score_run(config: ScoringConfig, advice: str = "give --overwrite") -> None:
    """Score the finished samples of ``config.output`` and write scores.csv, prompts.csv, metrics.json and provenance.json.

    ``advice``: how to have them scored anew, where they were scored otherwise.
    """
    output = Path(config.output)
    hold(output)
    sampled = read_record(output)
    if not sampled.get("finished"):
        raise UserError(f"{output}: its samples are not finished; run scripts_eval.sample with the same --output first")
    seed = sampled["arguments"]["seed"]
    record = scoring_record(config, "score", {"samples": output / SAMPLES}, seed)
    scored = (output / PROVENANCE).is_file() and not was_killed(output)
    if scored and not config.overwrite and is_finished(output, record, advice=advice):
        return
    rows = pd.DataFrame(read_samples(output))
    if len(rows) != sampled.get("responses", len(rows)) or rows.empty:
        raise UserError(
            f"{output}: {SAMPLES} has {len(rows)} responses, and {sampled.get('responses')} were sampled: it was cut"
            " or edited; scripts_eval.sample with the same flags samples what is missing"
        )
    scores = score_responses(rows, config, sampled["arguments"].get("system_prompt"))
    scores["finished"], scores["tokens"] = rows["finished"].astype(int), pd.to_numeric(rows["tokens"])  # None: unknown
    count = sampled["arguments"]["num_samples"]
    prompts, results = summarise(scores, config.diagnostics, count, registered_by(config.diagnostics).metrics)
    results["counts"]["failed"] = len(sampled.get("failures", []))
    split = {name: sampled["arguments"][name] for name in ("split", "start", "num_prompts")}
    header = {**header_of(config, seed), "samples_per_prompt": count, "split": split}
    write_results(output, record, header, scores, prompts, results)


def header_of(config: ScoringConfig, seed: int | None = None) -> dict:
    """What metrics.json says first: the labels, the thresholds that the numbers depend on, and the command."""
    thresholds = {"distinct_k": distinct_rule(config), "quality_threshold": config.quality_threshold}
    registered = {diagnostics.KEY: registered_by(config.diagnostics).record()} if config.diagnostics else {}
    return {**run_labels(config, seed), **thresholds, "command": command_line(), **registered}


def score_responses(rows: pd.DataFrame, config: ScoringConfig, system_prompt: str | None = None) -> pd.DataFrame:
    """The published columns, then sample, words, diversity among good samples, cluster, truncation and diagnostics.

    ``rows`` has prompt_id, prompt, sample and response; ``drawn``, if there, says which responses are clustered. Without a
    reward model the reward is NaN, and no response is called good. ``system_prompt``: what stood before every prompt.
    """
    from diversity_tuning.embeddings import load_encoder

    scores = rows[[PROMPT_ID, PROMPT, RESPONSE]].copy()
    prompts, responses = list(rows[PROMPT]), list(rows[RESPONSE])
    scores[REDDIT_REWARD] = np.nan
    options = {"device": config.device, "trust_remote_code": config.trust_remote_code}
    if config.reward_model:
        from diversity_tuning.reward_model import load_reward_model

        scores[REDDIT_REWARD] = load_reward_model(config.reward_model, **options).score(prompts, responses, config.batch_size)
    good = (scores[REDDIT_REWARD] >= config.quality_threshold).to_numpy()
    more = {"good": good.astype(int)} if config.reward_model else {}
    models = {TYPES[name].column: model for name, model in models_of(config).items()}
    for (column, model), truncated in zip(models.items(), TRUNCATED.values(), strict=True):
        if model == NO_ENCODER:
            scores[column] = np.nan
            continue
        encoder = load_encoder(model, cache=config.embedding_cache, batch_size=config.batch_size, **options)
        vectors = encoder.encode(responses)
        scores[column] = metrics.diversity_by_prompt(vectors, list(rows[PROMPT_ID]))
        if config.reward_model:
            more[f"{column}_good"] = metrics.diversity_of_good(vectors, list(rows[PROMPT_ID]), good)
        if column == SEMANTIC_DIVERSITY:
            more["cluster"] = cluster_samples(rows, vectors, config)
        more[truncated] = encoder.truncated(responses).astype(int)
        encoder.close()
    if _log_prob_model(config):
        more |= _log_probs(prompts, responses, config, system_prompt)
    scores["sample"] = rows["sample"]
    scores["words"] = [count_words(response) for response in responses]
    for name, values in more.items():
        scores[name] = values
    for name, values in diagnose(config.diagnostics, prompts, responses).items():
        scores[name] = values
    return scores


def _log_prob_model(config: ScoringConfig) -> str | None:
    return None if config.log_prob_model == NO_ENCODER else config.log_prob_model


def _log_probs(prompts: list[str], responses: list[str], config: ScoringConfig, system_prompt: str | None) -> dict:
    """The column of log-probabilities; none, with a word, where the model cannot read the prompts."""
    from diversity_tuning.evaluation.scoring.fluency import log_probs

    options = {"device": config.device, "trust_remote_code": config.trust_remote_code}
    try:
        return {LOG_PROB: log_probs(prompts, responses, config.log_prob_model, system_prompt=system_prompt, **options)}
    except UserError as error:
        print(f"{config.output}: no log-probability of the responses: {error}", flush=True)
        return {}


def cluster_samples(rows: pd.DataFrame, vectors: np.ndarray, config: ScoringConfig) -> pd.Series:
    """The number of each response's cluster (:mod:`~.distinct`); missing for what was not drawn, and with no threshold."""
    from diversity_tuning.evaluation.scoring import distinct

    numbers = pd.Series(pd.NA, index=rows.index, dtype="Int64")
    threshold = distinct_rule(config)["threshold"]
    if threshold is None:
        print("no --distinct_threshold: distinct_k is left out; scripts_eval.distinct_threshold calibrates one", flush=True)
        return numbers
    drawn = np.flatnonzero(rows[DRAWN]) if DRAWN in rows else np.arange(len(rows))
    pairs = distinct.pairs_within(list(rows[PROMPT_ID].iloc[drawn]))
    if config.distinct_classifier:
        texts = list(rows[RESPONSE].iloc[drawn])
        probability = distinct.classifier(config.distinct_classifier, config.device, config.trust_remote_code)
        same = probability([texts[i] for i in pairs[:, 0]], [texts[i] for i in pairs[:, 1]], config.batch_size) >= threshold
    else:
        same = distinct.distances_of(vectors[drawn], pairs) <= threshold
    numbers.iloc[drawn] = distinct.clusters(len(drawn), pairs, same)
    return numbers


def diagnose(module: str | None, prompts: list[str], responses: list[str]) -> dict[str, list]:
    """What the diagnostics module says of every response: column -> values (numbers, or labels with None for no label)."""
    if module is None:
        return {}
    columns = _imported(module).diagnose(prompts, responses)
    for name, values in columns.items():
        if len(values) != len(responses):
            raise UserError(f"--diagnostics {module}: '{name}' has {len(values)} values for {len(responses)} responses")
    return columns


def registered_by(module: str | None) -> diagnostics.Registered:
    """What the diagnostics module registers (:mod:`diversity_tuning.evaluation.diagnostics`)."""
    return diagnostics.by_module(_imported(module)) if module else diagnostics.Registered()


def _imported(module: str):
    try:
        found = importlib.import_module(module)
        found.diagnose  # noqa: B018
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"--diagnostics {module}: no module with a function diagnose(prompts, responses) ({error})") from None
    return found
