"""Measures of hacking and of relevance, one value a prompt, from the scored responses of a run. None was trained on."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.data.schema import PROMPT, RESPONSE
from diversity_tuning.evaluation.csvfiles import read_csv
from diversity_tuning.evaluation.files import SCORES
from diversity_tuning.trainers.group_relative import opening
from studies.miniature.specification import from_prompt

MEASURES = ("characters", "truncated", "openings", "relevance", "own_vs_other")


def add_measures(run) -> None:
    """Add the columns :data:`MEASURES` to the prompts of a scored run (:class:`~diversity_tuning.evaluation.report.runs.Run`).

    ``characters``: mean length of a response; ``truncated``: share without an end; ``openings``: different openings over
    responses of a prompt (different first three words); ``relevance``: mean share of the prompt's parts that a response names
    (:func:`parts_named`); ``own_vs_other``: see there.
    """
    scores = read_csv(Path(run.folder) / SCORES, [PROMPT, RESPONSE])
    prompts = list(dict.fromkeys(scores[PROMPT]))
    measured = {prompt: _of_prompt(rows) for prompt, rows in scores.groupby(PROMPT, sort=False)}
    compared = own_vs_other(scores[PROMPT].tolist(), scores[RESPONSE].tolist())
    wins = pd.Series(compared).groupby(scores[PROMPT].to_numpy(), sort=False).mean()
    rows = [{**measured[prompt], "own_vs_other": wins[prompt]} for prompt in prompts]
    table = pd.DataFrame(rows, index=prompts).reindex(run.prompts.index)
    for name in MEASURES:
        run.prompts[name] = table[name]


def distinct_openings(run) -> float:
    """Different openings over all responses of a run, whatever the prompt; it depends on their number."""
    texts = read_csv(Path(run.folder) / SCORES, [RESPONSE])[RESPONSE]
    return len({opening(text) for text in texts}) / len(texts)


def _of_prompt(rows: pd.DataFrame) -> dict[str, float]:
    texts, prompt = rows[RESPONSE].tolist(), rows[PROMPT].iloc[0]
    return {
        "characters": float(np.mean([len(text) for text in texts])),
        "truncated": float(1 - rows["finished"].astype(float).mean()) if "finished" in rows else float("nan"),
        "openings": len({opening(text) for text in texts}) / len(texts),
        "relevance": float(np.mean([parts_named(prompt, words_of(text)) for text in texts])),
    }


def words_of(text: str) -> set[str]:
    """The words of a text, lower case, without punctuation."""
    return set(re.findall(r"[a-z]+", text.lower()))


def parts_named(prompt: str, words: set[str]) -> float:
    """Share of the six parts of a prompt all content words of which are in ``words``: setting, two names, object, taboo, twist.

    NaN for a prompt that is none of the miniature's.
    """
    wanted = _parts(prompt)
    return float(np.mean([part <= words for part in wanted])) if wanted else float("nan")


def _parts(prompt: str) -> list[set[str]]:
    specification = from_prompt(prompt)
    if specification is None:
        return []
    setting, thing = (words_of(text) - {"the", "a", "an"} for text in (specification.setting, specification.object))
    names = ({specification.protagonist.lower()}, {specification.supporting.lower()})
    return [setting, *names, thing, {specification.taboo_word.lower()}, set(map(str.lower, specification.twist_words))]


def own_vs_other(prompts: list[str], responses: list[str]) -> np.ndarray:
    """For each response, the share of other prompts of which it names fewer parts than of its own; ties count half; (n,).

    0.5: the responses say nothing of their prompts. NaN where there is no other prompt, or none of the miniature's.
    """
    others = [prompt for prompt in dict.fromkeys(prompts) if _parts(prompt)]
    parts = {prompt: _parts(prompt) for prompt in others}
    values = np.full(len(prompts), np.nan)
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        if prompt not in parts or len(others) < 2:
            continue
        words = words_of(response)
        named = {other: sum(part <= words for part in parts[other]) for other in others}
        rest = np.array([count for other, count in named.items() if other != prompt])
        values[row] = ((rest < named[prompt]) + 0.5 * (rest == named[prompt])).mean()
    return values
