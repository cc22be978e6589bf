"""What the reports of all studies share: flags, files of the seeds' folders, and how tables, figures and values are written."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from diversity_tuning.cli import Parser
from diversity_tuning.errors import UserError
from diversity_tuning.runs import atomic_folder, provenance, write_provenance, write_text
from studies.pools import read_pools


def report_parser(module: str, text: str, study: str) -> Parser:
    """The flags of the report of a recipe's seeds."""
    parser = Parser(module, text)
    parser.add_argument("--seeds", nargs="+", required=True, help=f"seed folders of the {study} recipe")
    parser.add_argument("--split", default=None, help="read the results of another split than test")
    parser.add_argument("--output", required=True, help="folder for report.html, report.md, tables and figures")
    return parser


def read_text(path: Path, study: str) -> str:
    """A file of a seed's folder; :class:`UserError` where the stage that writes it has not run."""
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        raise UserError(f"{path}: not there; run the stages of `bash reproduce.sh --recipe {study}` first") from None


def read_json(path: Path, study: str):
    """A JSON file of a seed's folder."""
    try:
        return json.loads(read_text(path, study))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error}); delete it and run its stage again") from None


def read_json_lines(path: Path, study: str) -> list[dict]:
    """The rows of a JSON Lines file of a seed's folder."""
    return [json.loads(line) for line in read_text(path, study).splitlines()]


def folders_by_number(words: list[str], name: str = "NUMBER") -> dict[float, list[Path]]:
    """``P=FOLDER`` each as number -> folders, in the order of the numbers; several of one number are several seeds.

    A word of another form is a :class:`UserError`; ``name`` is what it calls the number.
    """
    folders: dict[float, list[Path]] = {}
    for word in words:
        value, equals, folder = word.partition("=")
        if not equals or not _is_number(value):
            raise UserError(f"--points {word}: expected {name}=FOLDER, such as 0.5=runs/study/seed0/point-0.5")
        folders.setdefault(float(value), []).append(Path(folder))
    if twice := next((own for own in folders.values() if len({one.resolve() for one in own}) < len(own)), None):
        raise UserError(f"--points: {twice[0]} has a folder twice under one number; give each once")
    return dict(sorted(folders.items()))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def pair_correlations(pairs: Path) -> np.ndarray:
    """Spearman's ρ of deviation and votes of every training prompt of stage 3's output, as ``describe`` computes it: (n,)."""
    from diversity_tuning.data import describe, schema
    from diversity_tuning.data.tables import read_split

    found = describe.figures(read_split(str(pairs), schema.TRAIN), str(pairs)).popularity
    if found is None:
        raise UserError(f"{pairs}: no correlation of deviation and votes; expected the output of stage 3")
    return np.array(found.values)


def stacked(rows: Sequence, longest: int = 0) -> np.ndarray:
    """Arrays of any length as ``(len(rows), n)``, filled up with NaN: n is that of the longest, ``longest`` at least."""
    longest = max(longest, *map(len, rows))
    return np.array([np.pad(np.asarray(row, dtype=float), (0, longest - len(row)), constant_values=np.nan) for row in rows])


def titled(module_file: str, name: str, header: list[str], rows: list[list], **values):
    """A table with title and note from the YAML file that has the module's name; ``values`` are put into the note."""
    from diversity_tuning.evaluation.rendering import Table

    texts = read_pools(module_file, Path(module_file).stem)[name]
    return Table(name, texts["title"], texts["note"].format(**values), header, rows)


def as_frames(tables: Sequence) -> dict:
    """The tables of a report as they are written to CSV, by their names."""
    import pandas as pd

    return {table.name: pd.DataFrame(table.rows, columns=table.header) for table in tables}


def write_report(
    output: str, stage: str, settings: dict, title: str, tables: Sequence, draw: Callable[[Path], list], frames: dict,
    counts: dict[str, int], *, lines: Sequence[str] = (), method: str = "", sections: dict[str, str] | None = None,
    page: bool = True, **more,
) -> str:  # fmt: skip
    """Write report.html, report.md, the figures, a CSV for each of ``frames`` and provenance; returns what to print.

    ``draw``: folder -> (path, caption) of every figure drawn there. ``lines``, ``method``, ``sections``: as
    :func:`~diversity_tuning.evaluation.page.write_pages` has them; without ``page`` there is report.md alone, figures first.
    ``more`` is recorded in provenance.
    """
    from diversity_tuning.evaluation.page import write_pages
    from diversity_tuning.evaluation.rendering import markdown

    with atomic_folder(output) as folder:
        for name, rows in frames.items():
            rows.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
        figures = draw(folder)
        if page:
            write_pages(folder, title, tables, figures, lines, method, sections)
        else:
            pictures = "".join(f"![{caption}]({path.name})\n\n" for path, caption in figures)
            write_text(folder / "report.md", f"# {title}\n\n{pictures}" + "\n".join(map(markdown, tables)))
        write_provenance(folder, provenance(stage, settings, {}), counts=counts, **more)
    return f"{output}: {len(tables)} tables, {len(figures)} figures"
