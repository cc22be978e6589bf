"""Samples of several models side by side, as a section of report.html."""

import html

import numpy as np
import pandas as pd

from diversity_tuning.data.schema import PROMPT, RESPONSE
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.csvfiles import read_csv
from diversity_tuning.evaluation.files import SCORES
from diversity_tuning.evaluation.rendering import scrolling
from diversity_tuning.evaluation.report.figures import by_number
from diversity_tuning.evaluation.report.runs import Run, RunGroup
from diversity_tuning.evaluation.report.tables import matching
from diversity_tuning.evaluation.scoring.summary import PUBLISHED

_COLUMNS = 6  # models beside each other unless asked for others
_SAMPLES = 4  # of one prompt, as the published protocol draws
_VALUES = PUBLISHED[3:]  # shown above each sample


def shown_models(models: list[RunGroup], show: list[str] | None) -> list[RunGroup]:
    """The models asked for; by default one per name, of its greatest strength, and at most six."""
    if show:
        return [model for name in show for model in matching(models, name, f"show {name}")]
    strongest: dict[str, RunGroup] = {}
    for model in models:
        name = model.runs[0].name
        if name not in strongest or by_number(model.strength) > by_number(strongest[name].strength):
            strongest[name] = model
    return list(strongest.values())[:_COLUMNS]


def sample_runs(models: list[RunGroup]) -> list[tuple[str, Run]]:
    """Of every model whose samples are still there, one run: of the first seed that any has, or else its own first."""
    there = [(model, [run for run in model.runs if (run.folder / SCORES).is_file()]) for model in models]
    seeds = [run.seed for _, runs in there for run in runs if run.seed is not None]
    first = min(seeds, default=None)
    return [(model.label, next((run for run in runs if run.seed == first), runs[0])) for model, runs in there if runs]


def samples_section(models: list[RunGroup], count: int, show: list[str] | None) -> str:
    """A section of ``count`` prompts, of the models in ``show``; nothing where no prompt is shared or no text is there."""
    runs = sample_runs(shown_models(models, show)) if count else []
    texts = {label: _by_prompt(run) for label, run in runs}
    base = next(iter(texts.values()), {})
    others = [label for label, prompts in texts.items() if not base.keys() & prompts.keys()]
    texts = {label: prompts for label, prompts in texts.items() if label not in others}
    shared = [prompt for prompt in next(iter(texts.values()), {}) if all(prompt in prompts for prompts in texts.values())]
    if not shared:
        return ""
    spread = np.unique(np.linspace(0, len(shared) - 1, min(count, len(shared))).round().astype(int))  # not hand-picked
    note = (
        f"{len(spread)} of {len(shared)} prompts, evenly spaced; up to {_SAMPLES} samples of each model. A sample's"
        " diversities are its mean distances to the other samples of its prompt and model."
    )
    note += f" Not shown, with other prompts: {html.escape(', '.join(others))}." if others else ""
    prompts = "".join(_prompt(shared[place], texts, i == 0) for i, place in enumerate(spread))
    return f'<p>{note}</p><p id="choose"></p>{prompts}'


def _by_prompt(run: Run) -> dict[str, pd.DataFrame]:
    rows = read_csv(run.folder / SCORES, [PROMPT, RESPONSE, *_VALUES])
    return {prompt: group.head(_SAMPLES) for prompt, group in rows.groupby(PROMPT, sort=False)}


def _prompt(prompt: str, texts: dict[str, dict[str, pd.DataFrame]], first: bool) -> str:
    title = html.escape(next((line for line in prompt.splitlines() if line.strip()), "(empty prompt)")[:120])
    columns = "".join(
        f"<div><h4>{html.escape(label)}</h4>{''.join(map(_sample, prompts[prompt].to_dict('records')))}</div>"
        for label, prompts in texts.items()
    )
    opened = " open" if first else ""
    box = scrolling(f'<div class="models">{columns}</div>', "samples of each model")
    return f'<details{opened}><summary>{title}</summary><p class="prompt">{html.escape(prompt)}</p>{box}</details>'


def _sample(row: dict) -> str:
    values = " · ".join(f"{registry.short(column)} {row[column]:.2f}" for column in _VALUES if not pd.isna(row[column]))
    return f'<div class="sample"><span class="values">{values}</span><p>{html.escape(row[RESPONSE])}</p></div>'
