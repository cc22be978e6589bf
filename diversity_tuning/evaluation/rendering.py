"""A table of a report as Markdown, LaTeX and HTML, and how its numbers are written."""

import html
import re
from dataclasses import dataclass, field

import pandas as pd

from diversity_tuning.public import as_text, table_lines

NONE = "–"
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", "−": "$-$", "–": "--",
    "δ": r"$\delta$", "→": r"$\rightarrow$", "²": "$^2$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
}  # fmt: skip


@dataclass
class Table:
    """``rows`` are cells of text, in the order of ``header``; ``note`` says how to read them.

    ``hints``: heading -> what it means and the id of its entry in the page's glossary.
    """

    name: str  # of its .tex file
    title: str
    note: str
    header: list[str]
    rows: list[list[str]]
    hints: dict[str, tuple[str, str]] = field(default_factory=dict)


def interval(row: pd.Series | dict, prefix: str = "", sign: str = "", digits: int = 3) -> str:
    """``mean [low, high]`` with so many decimals; one where the mean is at least 100."""
    mean, low, high = (row[f"{prefix}{part}"] for part in ("mean", "low", "high"))
    if pd.isna(mean):
        return NONE
    digits = 1 if abs(mean) >= 100 else digits
    return f"{mean:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def p_value(p: float) -> str:
    """As journals write it; a dash where there is none."""
    if pd.isna(p):
        return NONE
    return "p < .001" if p < 0.001 else f"p = {p:.3f}"


def difference(row: pd.Series | dict) -> str:
    """``+mean [low, high], p``, and after it the t interval over seeds where there is one."""
    return f"{interval(row, '', '+')}, {p_value(row['p'])}{t_words(row)}"


def t_words(row: pd.Series | dict, sign: str = "+") -> str:
    """``; t [low, high]`` of the t interval over seeds; nothing where there is none."""
    return "" if pd.isna(row["t_low"]) else f"; t [{row['t_low']:{sign}.3f}, {row['t_high']:{sign}.3f}]"


def markdown(table: Table) -> str:
    """A section: title, note, table. What would be markup in a cell is escaped, so that names are shown as they are."""
    header, *rows = ([re.sub(r"[|*`]", r"\\\g<0>", as_text(cell)) for cell in line] for line in (table.header, *table.rows))
    return "\n".join([f"## {as_text(table.title)}\n\n{as_text(table.note)}", *table_lines(header, rows), ""])


def latex(table: Table) -> str:
    """A ``tabular`` of booktabs' rules, to ``\\input`` where the packages booktabs and graphicx are loaded."""
    lines = [" & ".join(map(_tex, line)) + r" \\" for line in (table.header, *table.rows)]
    body = "\n".join([lines[0], r"\midrule", *lines[1:]])
    columns = "l" + "c" * (len(table.header) - 1)
    fit = "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
    note = "".join(f"% {line}\n" for line in [table.title, *table.note.splitlines()] if line)
    return f"{note}{fit}\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}}}\n"


def _tex(cell: object) -> str:
    text = "".join(_LATEX.get(letter, letter) for letter in str(cell))
    return re.sub(r"(?<![\w$-])-(?=[\d.])", "$-$", text)  # a hyphen before a number is a minus


def page_table(table: Table) -> str:
    """An HTML section: title, note, table; everything escaped, headings with a hint linked to the glossary."""
    note = re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(table.note))
    head = "".join(f'<th scope="col">{_heading(cell, table.hints)}</th>' for cell in table.header)
    rows = "".join("<tr>" + "".join(f"<td>{_small(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    cells = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    box = scrolling(cells, table.title)
    return f"<h3>{html.escape(table.title)}</h3>{f'<p>{note}</p>' if note else ''}{box}"


def scrolling(content: str, name: str) -> str:
    """A box that scrolls sideways when its content is wider; the page's script says so where that is the case."""
    box = f'<div class="wide" tabindex="0" role="group" aria-label="{html.escape(name)}">{content}</div>'
    return f'<div class="scroll"><p class="cue" hidden>Scroll sideways for more →</p>{box}</div>'


def _heading(cell: str, hints: dict[str, tuple[str, str]]) -> str:
    if cell not in hints:
        return html.escape(cell)
    meaning, anchor = hints[cell]
    words = re.sub(" ([↑↓])$", "\u00a0\\1", html.escape(cell))
    return f'<a href="#{html.escape(anchor)}"><abbr title="{html.escape(meaning)}">{words}</abbr></a>'


def _small(cell: object) -> str:
    return re.sub(r"\[[^\]]*\](, p (?:&lt;|=) \.?[\d.]+)?", lambda match: f"<small>{match[0]}</small>", html.escape(str(cell)))
