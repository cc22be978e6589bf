"""A report as one page of HTML that loads nothing from elsewhere, figures inside and every text escaped, and as Markdown."""

import base64
import hashlib
import html
from collections.abc import Sequence
from pathlib import Path

from diversity_tuning.evaluation.registry import Metric
from diversity_tuning.evaluation.rendering import Table, markdown, page_table
from diversity_tuning.public import as_text
from diversity_tuning.runs import write_text

Figures = Sequence[tuple[Path, str]]  # PNG and caption


def write_pages(
    folder: Path,
    title: str,
    tables: Sequence[Table],
    figures: Figures = (),
    lines: Sequence[str] = (),
    method: str = "",
    sections: dict[str, str] | None = None,
    metrics: Sequence[Metric] = (),
    note: str = "",
) -> None:
    """Write report.md and report.html into ``folder``, which holds the figures; the first table comes before these.

    ``lines``: sentences that open the report; ``method``: how the numbers are made; ``sections``: heading -> HTML, of the page
    alone; ``metrics``: of the glossary; ``note``: what is said below every figure of the page.
    """  # fmt: skip
    first, *others = tables
    opening = f"# {as_text(title)}\n\n" + "".join(f"- {as_text(line)}\n" for line in lines)
    pictures = "".join(f"![{as_text(caption)}]({path.name})\n\n" for path, caption in figures)
    glossary = "".join(f"- **{m.label}** (`{m.column}`): {m.definition} Unit: {m.unit}.\n" for m in metrics)
    parts = [opening, markdown(first), f"{pictures}{method}", *map(markdown, others)]
    write_text(folder / "report.md", "\n".join([*parts, *([f"## Glossary\n\n{glossary}"] if metrics else [])]))
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    parts = {
        "Summary": (f"<ul>{items}</ul>" if items else "") + page_table(first),
        "Figures": "".join(_figure(path, html.escape(caption), html.escape(note)) for path, caption in figures),
        **(sections or {}),
        "Tables": (f"<p>{html.escape(method)}</p>" if method else "") + "".join(map(page_table, others)),
        "Glossary": _glossary(metrics),
    }
    write_text(folder / "report.html", html_page(title, parts))


def html_page(title: str, sections: dict[str, str]) -> str:
    """A whole page: ``sections`` is heading -> HTML; those without content are left out. Headings are plain words."""
    # Without the script every prompt can be opened by itself, tables scroll and figures are shown at the page's width. With it
    # one prompt is open, chosen from a list; a box that scrolls says so; a figure opens at full size.
    style, script = ("\n" + Path(__file__).with_suffix(kind).read_text(encoding="utf-8") for kind in (".css", ".js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    title = html.escape(title)
    sections = {name: content for name, content in sections.items() if content}
    links = " ".join(f'<a href="#{name.lower()}">{name}</a>' for name in sections)
    body = "".join(f'<section id="{n.lower()}"><h2>{n}</h2>{content}</section>' for n, content in sections.items())
    large = '<dialog id="large" aria-label="figure"><button autofocus>Close</button><img alt=""></dialog>'
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>\n'
        f"<body><h1>{title}</h1><nav>{links}</nav>{body}{large}\n<script>{script}</script></body></html>\n"
    )


def _figure(path: Path, caption: str, note: str) -> str:
    """The figure as a button that opens it at full size."""
    data = base64.b64encode(path.read_bytes()).decode()
    picture = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
    button = f'<button class="zoom" aria-label="Enlarge: {caption}">{picture}</button>'
    told = " ".join(part for part in (f"{caption.rstrip('.')}.", note, "Click to enlarge.") if part)
    return f"<figure>{button}<figcaption>{told}</figcaption></figure>"


def _glossary(metrics: Sequence[Metric]) -> str:
    better = {"higher": " Higher is better.", "lower": " Lower is better.", None: ""}
    entries = "".join(
        f'<dt id="{html.escape(m.anchor)}">{html.escape(m.label)} <code>{html.escape(m.column)}</code></dt>'
        f"<dd>{html.escape(m.definition)} Unit: {html.escape(m.unit)}.{better[m.better]}</dd>"
        for m in metrics
    )
    return f"<dl>{entries}</dl>" if entries else ""
