"""The numbers of the documents are those of results/, as `python -m benchmarks.documents` and the reports there tell them."""

import functools
import hashlib
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import documents
from benchmarks.document_tables import document_tables, number, numbers, replaced
from benchmarks.method_tables import method_tables

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "results" / "miniature"
SWEEP = {"popularity, DDPO − DPO", "popularity, DPO − SFT"}
TABLES = {
    "README.md": {"models", "as in real stories", "votes"},
    "docs/RESULTS.md": {"all models", "differences", "at equal quality", "fewer responses", "shares", *SWEEP},
}
TOLD = re.compile(r"[−+-]?\d*\.\d+ \[[^\]]+\]")  # a value with its interval
PARTS = re.compile(r"([−+-]?\d*\.\d+)\s\[([−+-]?\d*\.?\d+),\s([−+-]?\d*\.?\d+)\]")
# Document -> why intervals of it are in no file of results/, and a digest of these, so that none is changed unseen.
_NO_FILES = "one run of the commands beside them, whose tables are not in results/"
FURTHER = {
    "docs/METHODS.md": {"methods", "strengths"},
    "docs/RLAIF.md": {"policies"},
}  # beside tables that files of results/ lack
UNPUBLISHED = {
    "docs/GREETINGS.md": (f"judges of greetings: {_NO_FILES}", "ca4e5d6e9a23"),
    "docs/HANNA.md": (f"released human ratings: {_NO_FILES}", "f9917a93202c"),
    "docs/HORROR.md": ("the third level of pairs: one run of studies.horror.matched", "63fd6a88bd32"),
    "docs/METHODS.md": (
        "costs a step; results/benchmarks/methods.json has them as ratio, least, most, of seconds and not of tries",
        "03625c65a9af",
    ),
    "docs/OWN_DATA.md": (
        f"a user's path on the miniature's texts, stories that may not be published: {_NO_FILES}",
        "ab21b1fcceb9",
    ),
    "docs/RLAIF.md": (f"the five roles with a simulated LLM: {_NO_FILES}", "0da4ccc1ffb1"),
}
SHARE = re.compile(r"\d+% \[[^\]]+\]")
DECIMAL = re.compile(r"(?<![\d.v])[−+]?\d*\.\d+(?![\d.])|\d+%")
SECTIONS = ("## Result in the miniature", "## What the evidence shows")
# Of README.md's sections, from elsewhere: 0.7 M parameters and 95% intervals.
ELSEWHERE = {"0.7", "95%"}


@functools.cache
def sentences():
    """The lines that the command prints."""
    return numbers(ROOT / "results", STUDY.name)


def printed():
    """What the command prints and writes, a line each."""
    return [*(line for table in document_tables(STUDY).values() for line in table), *sentences()]


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def edited_readme():
    """README.md with another number in the first row of its table."""
    row = document_tables(STUDY)["models"][2]
    text = text_of("README.md").replace(row, row.replace("| .", "| .9", 1))
    assert text != text_of("README.md")
    return text


def intervals(content):
    """Every value with its interval in a JSON file."""
    if isinstance(content, dict):
        if {"low", "high"} <= set(content):
            yield tuple(content.get(part) for part in ("mean" if "mean" in content else "value", "low", "high"))
        content = list(content.values())
    for part in content if isinstance(content, list) else ():
        yield from intervals(part)


@pytest.fixture(scope="module")
def published():
    """Every value with its interval in results/, as documents write it, without a plus sign."""
    rows = set()
    for path in (ROOT / "results").rglob("*.csv"):
        table = pd.read_csv(path)
        table = table if "mean" in table else table.rename(columns={"share": "mean"})
        for prefix in {name.removesuffix("low") for name in table if name == "low" or name.endswith("_low")}:
            columns = [f"{prefix}{part}" for part in ("mean", "low", "high")]
            if set(columns) <= set(table):
                rows |= set(table[columns].dropna().itertuples(index=False, name=None))
    for path in (ROOT / "results").rglob("*.json"):
        rows |= {row for row in intervals(json.loads(path.read_text())) if None not in row}
    return {
        f"{number(mean, digits)} [{number(low, digits)}, {number(high, digits)}]"
        for mean, low, high in rows
        for digits in (1, 2, 3)
    }


@pytest.fixture(scope="module")
def told(published):
    """These, and every value with its interval in the texts of reports and in cells of tables."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "results").rglob("*") if path.suffix in (".md", ".csv")]
    rows = {tuple(float(part.replace("−", "-")) for part in row) for text in texts for row in PARTS.findall(text)}
    shown = {f"{number(row[0], n)} [{number(row[1], n)}, {number(row[2], n)}]" for row in rows for n in (1, 2, 3)}
    return published | shown


def unknown_intervals(text, published):
    return [told for told in TOLD.findall(text) if plain(told) not in published]


def plain(told):
    """As results are written: no plus signs, no zeros before the point, a minus sign for a hyphen, none before 0, one line."""
    told = re.sub(r"-(?=[\d.])", "−", " ".join(told.split()))
    return re.sub(r"−(?=0*\.0+(?!\d))", "", re.sub(r"\+|\b0(?=\.)", "", told))


def unknown_shares(text):
    lines = "\n".join(sentences())
    return [share for share in SHARE.findall(text) if share not in lines]


def unknown_numbers(text, lines):
    """Decimals and percentages of the README's sections on results that the command does not print."""
    parts = [part for part in re.split(r"(?m)^(?=## )", text) if part.startswith(SECTIONS)]
    assert len(parts) == len(SECTIONS)
    told = {found.lstrip("+") for part in parts for found in DECIMAL.findall(TOLD.sub("", part))}
    return sorted(told - {found.lstrip("+") for line in lines for found in DECIMAL.findall(line)} - ELSEWHERE)


@pytest.mark.parametrize("name", [*TABLES, *FURTHER])
def test_tables(name):
    text, found = replaced(text_of(name), document_tables(STUDY) | method_tables(STUDY.parent))
    assert set(found) >= (TABLES | FURTHER)[name]
    assert text_of(name) == text


def unwritten_tables(text):
    """The tables with numbers that are none of the command's, a list of lines each."""
    tables = [table.splitlines() for table in re.findall(r"(?m)(?:^\|.*\n)+", text)]
    written = list(document_tables(STUDY).values())
    return [table for table in tables if DECIMAL.search("\n".join(table[2:])) and table not in written]


@pytest.mark.parametrize("name", TABLES)
def test_no_table_of_numbers_is_written_by_hand(name):
    """Every table with numbers is one of the command's, so that :func:`test_tables` compares it line by line."""
    assert unwritten_tables(text_of(name)) == []


def test_no_two_tables_have_the_same_columns():
    """The columns say which of the tables stands where."""
    tables = document_tables(STUDY) | method_tables(STUDY.parent)
    headers = [frozenset(table[0].split("|")) for table in tables.values()]
    assert len(set(headers)) == len(headers)


@pytest.mark.parametrize("name", TABLES)
def test_shares_of_sentences(name):
    assert unknown_shares(text_of(name)) == []


@pytest.mark.parametrize("name", TABLES)
def test_intervals(name, published):
    text = text_of(name)
    assert len(TOLD.findall(text)) >= 3
    assert unknown_intervals(text, published) == []


@pytest.mark.parametrize("name", sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md") if path.name != "LOG.md"))
def test_intervals_of_every_document(name, told):
    """All but those that :data:`UNPUBLISHED` names; where one of them changes, its digest changes too. The log is a record."""
    missing = sorted(set(map(plain, unknown_intervals(text_of(name), told))))
    reason, digest = UNPUBLISHED.get(name, ("", None))
    assert (digest is None) == (not missing), missing
    if missing:
        assert reason
        assert digest == hashlib.sha256("\n".join(missing).encode()).hexdigest()[:12], missing


def test_numbers_of_sentences():
    assert unknown_numbers(text_of("README.md"), printed()) == []


def test_an_edited_number_is_found(published):
    text = text_of("README.md")
    told = TOLD.findall(text)[-1]
    other = told.replace("[", "[9", 1)
    assert unknown_intervals(text.replace(told, other), published) == [other]
    assert replaced(edited_readme(), document_tables(STUDY))[0] == text
    assert [
        len(table) for table in unwritten_tables("| a |\n| --- |\n| .1 |\n\n| b |\n| --- |\n| c |\n" + edited_readme())
    ] == [3, 8]
    assert unknown_shares("keeps 66% [54%, 79%] of it") == ["66% [54%, 79%]"]
    edited = text.replace("## What the evidence shows", "## What the evidence shows\n\n.1234 or 61.5 of 43%:", 1)
    assert unknown_numbers(edited, printed()) == [".1234", "43%", "61.5"]


@pytest.mark.parametrize("absent", ["models.csv", "differences.csv", "README.md"])
def test_a_missing_file_is_one_line(tmp_path, capsys, absent):
    """Nothing is written then, not even documents that are there."""
    study, first = tmp_path / "results" / "miniature", tmp_path / "first.md"
    study.mkdir(parents=True)
    for path in STUDY.glob("*.csv"):
        if path.name != absent:
            (study / path.name).write_bytes(path.read_bytes())
    before = edited_readme()
    first.write_text(before, encoding="utf-8")
    second = tmp_path / "README.md"
    if absent != second.name:
        second.write_text(before, encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        documents.main([f"--results={study.parent}", "--documents", str(first), str(second)])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert absent in error
    assert first.read_text(encoding="utf-8") == before


def test_a_document_that_is_not_utf_8_is_one_line(tmp_path, capsys):
    """The document before it is not written either."""
    first, second = tmp_path / "first.md", tmp_path / "second.md"
    first.write_text(edited_readme(), encoding="utf-8")
    second.write_bytes("café".encode("latin-1"))
    with pytest.raises(SystemExit) as caught:
        documents.main([f"--results={ROOT / 'results'}", "--documents", str(first), str(second)])
    assert caught.value.code == 2
    assert "second.md: not UTF-8; save it as UTF-8" in capsys.readouterr().err
    assert first.read_text(encoding="utf-8") == edited_readme()


def test_the_command_replaces_tables_and_prints_the_rest(tmp_path, capsys):
    (tmp_path / "README.md").write_text(edited_readme())
    results = str(ROOT / "results")
    documents.main([f"--results={results}", "--documents", str(tmp_path / "README.md")])
    assert (tmp_path / "README.md").read_text() == text_of("README.md")
    told = capsys.readouterr().out
    assert "differences, in none of them:" in told
    assert "ddpo-both keeps of the gain of dpo over sft: craft" in told
