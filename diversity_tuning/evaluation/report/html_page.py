"""The report as one page of HTML that needs nothing else: figures and samples inside, every text escaped."""

import base64
import hashlib
import html
from dataclasses import dataclass
from pathlib import Path

from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.rendering import Table, page_table
from diversity_tuning.evaluation.report.overview import anchor
from diversity_tuning.evaluation.report.page_assets import SCRIPT, STYLE
from diversity_tuning.evaluation.report.page_samples import samples_section
from diversity_tuning.evaluation.report.runs import RunGroup
from diversity_tuning.runs import write_text


@dataclass
class Page:
    """What a report says, in its order; the samples come between figures and tables."""

    title: str
    summary: list[str]  # sentences
    overview: Table
    figures: list[tuple[Path, str]]  # PNG and caption
    method: str  # how the numbers are made
    tables: list[Table]
    metrics: list[registry.Metric]  # of the glossary


def write_page(path: Path, page: Page, models: list[RunGroup], samples: int, show: list[str] | None) -> None:
    """Write the page. ``samples``: of how many prompts to show samples; ``show``: of which models."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    title = html.escape(page.title)
    sections = {
        "Summary": _list(page.summary) + page_table(page.overview),
        "Figures": "".join(_figure(*figure) for figure in page.figures),
        "Samples": samples_section(models, samples, show),
        "Tables": f"<p>{html.escape(page.method)}</p>" + "".join(map(page_table, page.tables)),
        "Glossary": _glossary(page.metrics),
    }
    sections = {name: content for name, content in sections.items() if content}
    links = " ".join(f'<a href="#{name.lower()}">{name}</a>' for name in sections)
    body = "".join(f'<section id="{n.lower()}"><h2>{n}</h2>{content}</section>' for n, content in sections.items())
    large = '<dialog id="large" aria-label="figure"><button autofocus>Close</button><img alt=""></dialog>'
    write_text(
        path,
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body><h1>{title}</h1><nav>{links}</nav>{body}{large}\n<script>{SCRIPT}</script></body></html>\n",
    )


def _list(sentences: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(sentence)}</li>' for sentence in sentences)}</ul>"


def _figure(path: Path, caption: str) -> str:
    """The figure as a button that opens it at full size."""
    data = base64.b64encode(path.read_bytes()).decode()
    text = html.escape(caption)
    picture = f'<img alt="{text}" src="data:image/png;base64,{data}">'
    note = "Means over prompts with 95% intervals. Click to enlarge."
    button = f'<button class="zoom" aria-label="Enlarge: {text}">{picture}</button>'
    return f"<figure>{button}<figcaption>{text}. {note}</figcaption></figure>"


def _glossary(metrics: list[registry.Metric]) -> str:
    better = {"higher": " Higher is better.", "lower": " Lower is better.", None: ""}
    entries = [
        f'<dt id="{html.escape(anchor(m))}">{html.escape(m.label)} <code>{html.escape(m.column)}</code></dt>'
        f"<dd>{html.escape(m.definition)} Unit: {html.escape(m.unit)}.{better[m.better]}</dd>"
        for m in metrics
    ]
    return f"<dl>{''.join(entries)}</dl>"
