"""The annotations of a human study as comparisons of stories, to hold a judge against."""

from pathlib import Path

import numpy as np

from diversity_tuning.errors import UserError
from diversity_tuning.human_eval.annotations import QUALITY, read_answers, read_key
from diversity_tuning.human_eval.study import read_condition
from diversity_tuning.judging.read import Judged


def preferred_stories(annotations: list[str | Path], keys: list[str | Path], runs: list[str | Path]) -> Judged:
    """Each annotator's best story of an item, against every other story of that item that the annotator was shown.

    ``annotations``: folders of Potato; ``keys``: the ``key.csv`` of every item file; ``runs``: the evaluated runs whose stories
    were shown, named as the key names them. Hard to decide gives nothing. Annotators who disagree give opposite comparisons.
    Stories are whole, also where summaries were shown.
    """
    key = read_key(keys)
    missing = [name for name in ("samples_a", "samples_b") if name not in key]
    if missing:
        raise UserError(f"{keys[0]}: no column '{missing[0]}'; give the key.csv that prepare_human_eval_data wrote")
    conditions = {condition.name: condition for condition in (read_condition(run, None) for run in runs)}
    answers = read_answers(annotations, key)
    answers = answers[(answers["question"] == QUALITY) & answers["side"].notna()]
    prompts, responses, labels, pairs = [], [], [], []
    for item, answer in zip(answers["id"], answers["answer"], strict=True):
        shown = _shown(key.loc[item], conditions)
        if answer not in shown:
            raise UserError(f"item '{item}': '{answer}' was not shown; there was {', '.join(shown)}")
        best = len(responses)
        texts = [shown.pop(answer), *shown.values()]
        prompts += [key.loc[item, "prompt"]] * len(texts)
        responses += texts
        labels += [True] + [False] * (len(texts) - 1)
        pairs += [(best, best + other) for other in range(1, len(texts))]
    if not pairs:
        raise UserError(f"{', '.join(map(str, annotations))}: no answer about quality names a story")
    return Judged(prompts, responses, np.array(labels), np.array(pairs), from_pairs=True)


def _shown(item, conditions: dict) -> dict[str, str]:
    """Label, as A-1, to the story that stood there."""
    shown = {}
    for side in "ab":
        name, prompt = item[f"set_{side}"], item["prompt"]
        if name not in conditions:
            raise UserError(f"--runs: no run '{name}', which the key names; there is {', '.join(conditions)}")
        stories = conditions[name].stories.get(prompt, {})
        for number, sample in enumerate(map(int, str(item[f"samples_{side}"]).split()), start=1):
            if sample not in stories:
                raise UserError(f"run '{name}': no sample {sample} of the prompt {prompt[:60]!r}, which was shown")
            shown[f"{side.upper()}-{number}"] = stories[sample]
    return shown
