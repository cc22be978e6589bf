"""The report as one page of HTML that needs nothing else: figures and samples inside, every text escaped."""

import base64
import hashlib
import html
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.data.schema import PROMPT, REDDIT_REWARD, RESPONSE, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.evaluation.csvfiles import read_csv
from diversity_tuning.evaluation.rendering import Table, page_table
from diversity_tuning.evaluation.report.figures import by_number
from diversity_tuning.evaluation.report.runs import Run, RunGroup
from diversity_tuning.evaluation.report.tables import matching
from diversity_tuning.runs import write_text

SCORES = "scores.csv"
_COLUMNS = 6  # models beside each other unless asked for others
_SAMPLES = 4  # of one prompt, as the published protocol draws
_VALUES = {REDDIT_REWARD: "reward", SEMANTIC_DIVERSITY: "semantic", STYLE_DIVERSITY: "style"}

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --back: #ffffff; --soft: #f3f4f6; --line: #d4d7dc; --dim: #5c6370 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --back: #16181c; --soft: #22252b; --line: #3b4048; --dim: #a0a7b4 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); margin: 2rem auto; max-width: 90rem;
  padding: 0 1rem }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem } p { max-width: 60rem }
figure { margin: 1.5rem 0 }
figure img { max-width: 100%; box-sizing: border-box; background: #ffffff; padding: .5rem; border: 1px solid var(--line) }
figcaption, small, .values { color: var(--dim) } small { font-size: .8em; white-space: nowrap }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th { background: var(--soft) } .wide td { white-space: nowrap }
td:first-child, th:first-child { position: sticky; left: 0; background: var(--back) }
th:first-child { background: var(--soft) }
details { border: 1px solid var(--line); border-radius: 4px; margin: .5rem 0; padding: .4rem .8rem }
summary { cursor: pointer; font-weight: 600 } .prompt { white-space: pre-wrap; background: var(--soft); padding: .6rem .8rem }
.models { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(17rem, 1fr); gap: .8rem; overflow-x: auto }
.models h3 { margin: .4rem 0; font-size: 1rem } .sample { border-top: 1px solid var(--line); padding: .5rem 0 }
.sample p { white-space: pre-wrap; margin: .2rem 0; max-height: 24rem; overflow-y: auto; font-family: Georgia, serif }
.values { font-size: .8rem } select { font: inherit; max-width: 100% } .one details:not([open]) { display: none }
@media print { body { margin: 0; max-width: none; font-size: 10pt }
  .wide, .models, .sample p { overflow: visible; max-height: none }
  .models { grid-auto-columns: minmax(0, 1fr) } #choose { display: none } figure, tr, .sample { break-inside: avoid }
  small { white-space: normal } table { font-size: 7pt } th, td { padding: .1rem .25rem } }
"""
# Without it every prompt can be opened by itself; with it, one is open, chosen from a list.
_SCRIPT = """
const prompts = [...document.querySelectorAll("#samples details")];
const choose = document.getElementById("choose");
if (prompts.length && choose) {
  const select = document.createElement("select");
  select.setAttribute("aria-label", "prompt");
  prompts.forEach((one, i) => select.add(new Option(one.querySelector("summary").textContent, i)));
  select.addEventListener("change", () => prompts.forEach((one, i) => { one.open = i == select.value; }));
  choose.append("Prompt: ", select);
  document.getElementById("samples").classList.add("one");
}
"""


def write_page(
    path: Path,
    method: str,
    drawn: list[tuple[Path, str]],
    tables: list[Table],
    models: list[RunGroup],
    samples: int,
    show: list[str] | None,
) -> None:
    """Write the page. ``drawn``: figures (PNG) with captions; ``samples``: how many prompts to show samples of."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    body = [f"<h1>Evaluation</h1><p>{html.escape(method)}</p>", *(_figure(*one) for one in drawn)]
    body += [page_table(table) for table in tables]
    body.append(_samples_section(models, samples, show))
    write_text(
        path,
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Evaluation</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        f"<body>{''.join(body)}\n<script>{_SCRIPT}</script></body></html>\n",
    )


def _figure(path: Path, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    text = html.escape(caption)
    note = "Means over prompts with 95% intervals."
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}. {note}</figcaption></figure>'


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


def _samples_section(models: list[RunGroup], count: int, show: list[str] | None) -> str:
    runs = sample_runs(shown_models(models, show)) if count else []
    texts = {label: _by_prompt(run) for label, run in runs}
    base = next(iter(texts.values()), {})
    others = [label for label, found in texts.items() if not base.keys() & found.keys()]
    texts = {label: found for label, found in texts.items() if label not in others}
    shared = [prompt for prompt in next(iter(texts.values()), {}) if all(prompt in found for found in texts.values())]
    if not shared:
        return ""
    spread = np.unique(np.linspace(0, len(shared) - 1, min(count, len(shared))).round().astype(int))  # not hand-picked
    note = (
        f"{len(spread)} of {len(shared)} prompts, evenly spaced; up to {_SAMPLES} samples of each model. A sample's"
        " diversities are its mean distances to the other samples of its prompt and model."
    )
    note += f" Not shown, with other prompts: {html.escape(', '.join(others))}." if others else ""
    prompts = "".join(_prompt(shared[place], texts, i == 0) for i, place in enumerate(spread))
    return f'<section id="samples"><h2>Samples</h2><p>{note}</p><p id="choose"></p>{prompts}</section>'


def _by_prompt(run: Run) -> dict[str, pd.DataFrame]:
    rows = read_csv(run.folder / SCORES, [PROMPT, RESPONSE, *_VALUES])
    return {prompt: group.head(_SAMPLES) for prompt, group in rows.groupby(PROMPT, sort=False)}


def _prompt(prompt: str, texts: dict[str, dict[str, pd.DataFrame]], first: bool) -> str:
    title = html.escape(next((line for line in prompt.splitlines() if line.strip()), "(empty prompt)")[:120])
    columns = "".join(
        f"<div><h3>{html.escape(label)}</h3>{''.join(map(_sample, found[prompt].to_dict('records')))}</div>"
        for label, found in texts.items()
    )
    opened = " open" if first else ""
    return (
        f'<details{opened}><summary>{title}</summary><p class="prompt">{html.escape(prompt)}</p>'
        f'<div class="models">{columns}</div></details>'
    )


def _sample(row: dict) -> str:
    values = " · ".join(f"{name} {row[column]:.2f}" for column, name in _VALUES.items() if not pd.isna(row[column]))
    return f'<div class="sample"><span class="values">{values}</span><p>{html.escape(row[RESPONSE])}</p></div>'
