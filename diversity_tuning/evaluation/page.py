"""A report as one page of HTML that loads nothing from elsewhere, figures inside and every text escaped, and as Markdown."""

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
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
    parts = {
        "Summary": _list(lines) + page_table(first),
        "Figures": "".join(_figure(path, html.escape(caption), html.escape(note)) for path, caption in figures),
        **(sections or {}),
        "Tables": (f"<p>{html.escape(method)}</p>" if method else "") + "".join(map(page_table, others)),
        "Glossary": _glossary(metrics),
    }
    write_text(folder / "report.html", html_page(title, parts))


def html_page(title: str, sections: dict[str, str]) -> str:
    """A whole page: ``sections`` is heading -> HTML; those without content are left out. Headings are plain words."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    title = html.escape(title)
    sections = {name: content for name, content in sections.items() if content}
    links = " ".join(f'<a href="#{name.lower()}">{name}</a>' for name in sections)
    body = "".join(f'<section id="{n.lower()}"><h2>{n}</h2>{content}</section>' for n, content in sections.items())
    large = '<dialog id="large" aria-label="figure"><button autofocus>Close</button><img alt=""></dialog>'
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        f"<body><h1>{title}</h1><nav>{links}</nav>{body}{large}\n<script>{_SCRIPT}</script></body></html>\n"
    )


def _list(sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


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


_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --back: #ffffff; --soft: #f3f4f6; --line: #d4d7dc; --dim: #5c6370;
  --link: #0b5cad }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --back: #16181c; --soft: #22252b; --line: #3b4048; --dim: #a0a7b4; --link: #7db4f0 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); margin: 2rem auto; max-width: 90rem;
  padding: 0 1rem }
h1, h2, h3 { line-height: 1.2 } h2 { margin-top: 2.5rem } h3 { margin: 1.8rem 0 .4rem } p, li, dd { max-width: 60rem }
a { color: var(--link) } nav a { margin-right: 1rem; white-space: nowrap } ul { padding-left: 1.2rem }
figure { margin: 1.5rem 0 } figcaption, small, .values, .cue { color: var(--dim) }
.zoom { display: block; padding: 0; border: 0; background: none; cursor: zoom-in; max-width: 100% }
figure img { display: block; max-width: 100%; box-sizing: border-box; background: #ffffff; padding: .5rem;
  border: 1px solid var(--line) }
dialog { width: 96vw; max-width: none; height: 94vh; max-height: none; padding: 0; border: 1px solid var(--line);
  background: #ffffff; overflow: auto }
dialog::backdrop { background: rgb(0 0 0 / .7) } dialog img { display: block; max-width: none; margin: auto }
dialog button { position: sticky; top: .5rem; left: .5rem; margin: .5rem; font: inherit; padding: .2rem .8rem; cursor: pointer }
small { font-size: .8em; white-space: nowrap } .wide small { display: block }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
.scroll { position: relative } .cue { margin: .2rem 0 .2rem auto; font-size: .8rem; text-align: right }
.scroll.more::after { content: ""; position: absolute; top: 1.6rem; right: 0; bottom: 0; width: 2.5rem; pointer-events: none;
  background: linear-gradient(to right, transparent, var(--dim)); opacity: .45 }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th { background: var(--soft) } .wide td { white-space: nowrap }
th a { color: inherit; text-decoration: none } th abbr { text-decoration: underline dotted; text-underline-offset: .2em }
td:first-child, th:first-child { position: sticky; left: 0; background: var(--back) }
th:first-child { background: var(--soft) } dt { font-weight: 600; margin-top: .6rem } dd { margin: 0 }
:target { background: var(--soft) }
details { border: 1px solid var(--line); border-radius: 4px; margin: .5rem 0; padding: .4rem .8rem }
summary { cursor: pointer; font-weight: 600 } .prompt { white-space: pre-wrap; background: var(--soft); padding: .6rem .8rem }
.models { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(17rem, 1fr); gap: .8rem }
.models h4 { margin: .4rem 0; font-size: 1rem } .sample { border-top: 1px solid var(--line); padding: .5rem 0 }
.sample p { white-space: pre-wrap; margin: .2rem 0; max-height: 24rem; overflow-y: auto; font-family: Georgia, serif }
.values { font-size: .8rem } select { font: inherit; max-width: 100% } .one details:not([open]) { display: none }
@media print { body { margin: 0; max-width: none; font-size: 10pt } nav, .cue, #choose { display: none }
  .wide, .sample p { overflow: visible; max-height: none } .scroll.more::after { display: none }
  .models { grid-auto-columns: minmax(0, 1fr) } figure, tr, .sample { break-inside: avoid }
  small { white-space: normal } table { font-size: 7pt } th, td { padding: .1rem .25rem } }
"""
# Without it every prompt can be opened by itself, tables scroll and figures are shown at the page's width. With it one prompt
# is open, chosen from a list; a box that scrolls says so; a figure opens at full size.
_SCRIPT = """
const prompts = [...document.querySelectorAll("#samples details")];
const choose = document.getElementById("choose");
if (prompts.length && choose) {
  const select = document.createElement("select");
  select.setAttribute("aria-label", "prompt");
  prompts.forEach((one, i) => select.add(new Option(one.querySelector("summary").textContent, i)));
  select.addEventListener("change", () => { prompts.forEach((one, i) => { one.open = i == select.value; }); cues(); });
  choose.append("Prompt: ", select);
  document.getElementById("samples").classList.add("one");
}
function cues() {
  for (const box of document.querySelectorAll(".scroll")) {
    const wide = box.querySelector(".wide");
    const wider = wide.scrollWidth > wide.clientWidth + 1;
    box.querySelector(".cue").hidden = !wider;
    box.classList.toggle("more", wider && wide.scrollLeft + wide.clientWidth < wide.scrollWidth - 1);
  }
}
document.querySelectorAll(".wide").forEach((wide) => wide.addEventListener("scroll", cues));
document.querySelectorAll("details").forEach((one) => one.addEventListener("toggle", cues));
addEventListener("resize", cues);
cues();
const large = document.getElementById("large");
for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => {
    large.querySelector("img").replaceWith(button.querySelector("img").cloneNode());
    large.showModal();
  });
}
large.addEventListener("click", (event) => { if (event.target.tagName != "IMG") large.close(); });
"""
