"""Run stages by name, and a small source to run them on."""

import hashlib
import importlib
import json
from pathlib import Path

import numpy as np

STAGES = (
    "0_data_prep_scoring",
    "1_data_prep_filtering",
    "2_data_prep_to_preference",
    "3_data_prep_for_diversified_training",
    "4_data_prep_divpo",
)
WORDS = "door river lamp king winter letter engine garden silence moon captain glass promise wolf station".split()


def stage(number: int, *arguments) -> int:
    """``main(argv)`` of a stage."""
    return importlib.import_module(f"scripts_dataset_cleaner.{STAGES[number]}").main([str(argument) for argument in arguments])


def posts(count: int = 12, responses: int = 8, seed: int = 0) -> list[dict]:
    """Posts whose responses differ, with one re-posted prompt, one repeated response, one removed, one too long, one empty."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        texts = [" ".join(rng.choice(WORDS, size=rng.integers(4, 12))) + f" {number}.{k}" for k in range(responses)]
        votes = rng.integers(1, 60, size=responses).tolist()
        rows.append(row(f"[WP] Prompt {number}", texts, votes))
    rows[1]["post_title"] = rows[0]["post_title"]
    rows[2]["comment_texts"][1] = rows[2]["comment_texts"][0]
    rows[3]["comment_texts"][0] = "this submission has been removed"
    rows[4]["comment_texts"][0] = "long " * 400
    rows[5] |= {"comment_texts": [], "comment_scores": []}
    return rows


def row(title: str, texts: list, votes: list, **more) -> dict:
    return {"post_title": title, "post_text": "", "post_scores": 5, "comment_texts": texts, "comment_scores": votes, **more}


def write_jsonl(path: Path, rows: list) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def data_digest(folder: Path) -> str:
    """All bytes of a stage's output but its provenance."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != "provenance.json":
            digest.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()
