"""What a scored run folder says: per prompt, over prompts, and counts."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.data.schema import PROMPT, PROMPT_ID, REDDIT_REWARD, RESPONSE, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.evaluation import metrics, registry
from diversity_tuning.evaluation.csvfiles import write_csv
from diversity_tuning.evaluation.files import METRICS, PROMPTS, SCORES
from diversity_tuning.evaluation.statistics import mean_interval
from diversity_tuning.locks import hold, release
from diversity_tuning.next_steps import print_next
from diversity_tuning.public import masked_words
from diversity_tuning.runs import PROVENANCE, read_provenance, write_json, write_provenance, write_text

DRAWN = "drawn"  # of the data's own responses: 1 for as many a prompt as a model has samples
# The published columns, first in scores.csv.
PUBLISHED = [PROMPT_ID, PROMPT, RESPONSE, REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY]


def summarise(
    scores: pd.DataFrame, diagnostics: str | None, count: int = 0, own: Sequence[registry.Metric] = ()
) -> tuple[pd.DataFrame, dict]:
    """Per prompt: means of numbers and counts of distinct labels; over prompts: means with 95% intervals, and counts.

    Counts grow with the number of responses: they are missing for a prompt with fewer than ``count``, and of the data's own
    responses only the ``drawn`` ones are counted. So it is with a study's ``own`` metrics.
    """
    groups = scores.groupby(PROMPT_ID, sort=True)
    left_out = (PROMPT_ID, "sample", "cluster", DRAWN, *registry.TRUNCATED.values())
    numbers = [name for name in scores.columns if name not in left_out and pd.api.types.is_numeric_dtype(scores[name])]
    prompts = groups[numbers].mean()
    prompts.insert(0, PROMPT, groups[PROMPT].first())
    prompts["responses"] = groups.size()
    prompts["duplicates"] = groups[RESPONSE].agg(lambda texts: metrics.duplicates(list(texts)))
    if scores["cluster"].notna().any():
        prompts["distinct_k"] = groups["cluster"].nunique()
        if "good" in scores:
            good = scores["cluster"].where(scores["good"] == 1)
            prompts["distinct_k_good"] = good.groupby(scores[PROMPT_ID]).nunique()
        if scores[REDDIT_REWARD].notna().any():
            rows = scores[scores["cluster"].notna()].sort_values("sample", kind="stable")
            rows = rows.assign(rating=metrics.ratings(rows[REDDIT_REWARD].to_numpy(dtype=float)))
            prompts["utility_k"] = rows.groupby(PROMPT_ID)[["rating", "cluster"]].apply(
                lambda one: metrics.utility_k(list(one["rating"]), list(one["cluster"]))
            )
    drawn = scores[scores[DRAWN] == 1] if DRAWN in scores else scores
    of_drawn = drawn.groupby(PROMPT_ID, sort=True)
    known = {*numbers, *PUBLISHED, *left_out}
    for name in [name for name in scores.columns if diagnostics and name not in known]:
        prompts[f"distinct_{name}"] = of_drawn[name].agg(lambda labels: metrics.distinct_k(list(labels.dropna())))
    functions = {metric.column: metric.function for metric in own if metric.function}
    for name, function in functions.items():
        prompts[name] = of_drawn[RESPONSE].agg(lambda texts, function=function: function(list(texts)))
    counted = [name for name in prompts if name.startswith("distinct_") or name in ("utility_k", *functions)]
    enough = of_drawn.size().reindex(prompts.index, fill_value=0) >= count
    prompts[counted] = prompts[counted].where(enough)
    fixed = ["responses", "duplicates"]
    prompts = prompts[[*[name for name in prompts if name not in fixed], *fixed]].reset_index()
    counts = {
        "prompts": len(prompts),
        "responses": len(scores),
        "duplicates": int(prompts["duplicates"].sum()),
        "unfinished": int((scores["finished"] == 0).sum()) if "finished" in scores else 0,
        **{name: int(scores[name].sum()) for name in registry.TRUNCATED.values() if name in scores},
        **({"rating_cut": int((scores[REDDIT_REWARD].abs() > 1).sum())} if "utility_k" in prompts else {}),
        "empty": int((scores[RESPONSE].str.strip() == "").sum()),
    }
    return prompts, {"means": means(prompts), "counts": counts}


def means(prompts: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Mean and 95% bootstrap interval over prompts of every numeric column."""
    left_out = (PROMPT_ID, "responses", "duplicates")
    names = [name for name in prompts.columns if name not in left_out and pd.api.types.is_numeric_dtype(prompts[name])]
    return {name: mean_interval(prompts[name].to_numpy(dtype=float)) for name in names}


def was_killed(output: Path) -> bool:
    """Whether the results there are those of a process that was killed while it wrote them."""
    return read_provenance(output).get("unfinished", False)


def begin(output: Path, record: dict) -> None:
    """Mark the folder as ours before any result is in it; :func:`write_results` puts the whole provenance in its place."""
    hold(output)
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / PROVENANCE, json.dumps({"stage": record["stage"], "unfinished": True}) + "\n")


def write_results(output: Path, record: dict, header: dict, scores, prompts: pd.DataFrame, results: dict) -> None:
    """Write the tables and metrics, and the provenance last: without it the folder does not count as scored."""
    begin(output, record)
    write_csv(output / SCORES, scores)
    write_csv(output / PROMPTS, prompts)
    write_json(output / METRICS, nan_to_none({**header, **results}))
    write_provenance(output, record, counts=results["counts"])
    main = [name for name in registry.columns(registry.in_table("main")) if name in results["means"]]
    shown = {name: results["means"][name]["mean"] for name in main}
    summary = ", ".join(f"{name} {mean:.3f}" for name, mean in shown.items() if not np.isnan(mean))
    print(f"{output}: {results['counts']['responses']} responses: {summary}", flush=True)
    print_next("score", output)
    release(output)


def nan_to_none(value):
    """A structure of dicts and lists for JSON, which knows no NaN."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)


def command_line(words: list[str] | None = None) -> str:
    """The command of this process, to run again from the project's folder: no interpreter's path, no secrets."""
    words = list(sys.orig_argv if words is None else words)
    here = str(Path.cwd())
    words = ["python", *words[1:]] if words else []
    return shlex.join(word.replace(here + "/", "") for word in masked_words(words))
