"""The results folder: one folder a run with its numbers and its command, and an index of all of them in README.md."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pandas as pd

from diversity_tuning.data.schema import PROMPT, PROMPT_ID
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.csvfiles import read_csv, write_csv
from diversity_tuning.evaluation.diagnostics import of_run, shown_name
from diversity_tuning.evaluation.files import DIGEST, METRICS, PROMPTS
from diversity_tuning.evaluation.rendering import NONE, interval
from diversity_tuning.outputs import check_ours
from diversity_tuning.runs import PROVENANCE, put_in_place, write_text

COMMAND, TABLE = "command.sh", "table.md"
FILES = (METRICS, PROMPTS, PROVENANCE, TABLE, COMMAND)
MARK = "<!-- From here on written by python -m scripts_eval.leaderboard -->"


def study_folder(results: Path, study: str) -> Path:
    """The study's folder right below ``results``. :class:`UserError` for a name, or a link, that leads elsewhere."""
    folder = results / study
    below = (folder / "runs").resolve().parent.parent == results.resolve()
    if Path(study).name != study or study.startswith(".") or not below:
        raise UserError(f"--study {study}: give the name of one folder in {results}, nothing is written outside it")
    return folder


def publish(run: Path, study: Path) -> Path:
    """Copy a scored run into ``study/runs``, without its texts.

    metrics.json, prompts.csv (numbers, and a digest in place of each prompt), provenance.json, table.md, command.sh.
    """
    content, target = read_metrics(run), place_of(run, study)
    check_ours(target, FILES)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    for name in (METRICS, PROVENANCE):
        if (run / name).is_file():
            shutil.copyfile(run / name, work / name)
    if (run / PROMPTS).is_file():
        write_csv(work / PROMPTS, without_texts(read_csv(run / PROMPTS, [PROMPT])))
    write_text(work / TABLE, run_table(content, _label(run, content)))
    if content.get("command"):
        write_text(work / COMMAND, content["command"] + "\n")
    put_in_place(work, target, FILES)
    return target


def without_texts(prompts: pd.DataFrame) -> pd.DataFrame:
    """The numbers of prompts.csv, to seven digits, with the first 16 hexadecimal digits of each prompt's SHA-256.

    All intervals and p-values of a report can be computed from them: the digest pairs runs and tells seeds' prompts apart.
    """
    digests = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in prompts[PROMPT]]
    numbers = prompts.select_dtypes("number").map(lambda value: float(f"{value:.7g}") if isinstance(value, float) else value)
    place = numbers.columns.get_loc(PROMPT_ID) + 1 if PROMPT_ID in numbers else 0
    numbers.insert(place, DIGEST, digests)
    return numbers


def place_of(run: Path, study: Path) -> Path:
    """Where a run is copied to: its folder's name, after its seed."""
    seed = read_metrics(run).get("seed")
    return study / "runs" / (run.resolve().name if seed is None else f"seed{seed}-{run.resolve().name}")


def run_table(content: dict, label: str) -> str:
    """Every mean of a run with its interval, and its counts, as Markdown."""
    means = "".join(f"| {name} | {interval(_numbers(value))} |\n" for name, value in content["means"].items())
    counts = "".join(f"| {name} | {value} |\n" for name, value in content["counts"].items())
    title = label + ("" if content.get("seed") is None else f", seed {content['seed']}")
    return f"# {title}\n\n| mean over prompts | [95%] |\n| --- | --- |\n{means}\n| count | |\n| --- | --- |\n{counts}"


def write_index(results: Path) -> int:
    """Rewrite what follows the mark in ``results/README.md``: a table per study, a row per run. Returns the number of rows."""
    readme = results / "README.md"
    above = readme.read_text(encoding="utf-8").split(MARK)[0].rstrip() if readme.is_file() else "# Results"
    studies, rows = [], 0
    for study in sorted(path.parent for path in results.glob("*/runs")):
        runs = [(path.parent, read_metrics(path.parent)) for path in study.glob(f"runs/[!.]*/{METRICS}")]
        runs.sort(
            key=lambda run: (str(run[1].get("method")), str(run[1].get("strength")), str(run[1].get("seed")), run[0].name)
        )
        rows += len(runs)
        lines = [_row(folder, content, results) for folder, content in runs]
        head = ["run", "seed", *(m.short or m.label for m in registry.in_table("main")), "recipe", "command", "JSON"]
        table = "".join("| " + " | ".join(line) + " |\n" for line in (head, ["---"] * len(head), *lines))
        studies.append(f"## {study.name}\n\n{table}")
    write_text(readme, f"{above}\n\n{MARK}\n\n" + "\n".join(studies))
    return rows


def read_metrics(run: Path) -> dict:
    """A run's metrics.json."""
    try:
        content = json.loads((run / METRICS).read_text(encoding="utf-8"))
        if not isinstance(content["means"], dict) or not isinstance(content["counts"], dict):
            raise ValueError("means and counts are not mappings")
    except FileNotFoundError:
        raise UserError(f"{run}: not a scored run (no {METRICS}); run scripts_eval.score on it first") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{run / METRICS}: not written by scripts_eval ({error!r})") from None
    return content


def _row(folder: Path, content: dict, results: Path) -> list[str]:
    where = folder.relative_to(results).as_posix()
    values = [interval(_numbers(content["means"].get(name))) for name in registry.columns(registry.in_table("main"))]
    recipe = re.search(r"--config[= ](\S+)/[^/\s]+", content.get("command") or "")
    links = [
        f"[{Path(recipe[1]).name}](../{recipe[1]})" if recipe else NONE,
        f"[command]({where}/{COMMAND})" if (folder / COMMAND).is_file() else NONE,
        f"[JSON]({where}/{METRICS})",
    ]
    seed = NONE if content.get("seed") is None else str(content["seed"])
    return [_label(folder, content).replace("|", "\\|"), seed, *values, *links]


def _label(run: Path, content: dict) -> str:
    name, strength = shown_name(content, of_run(run, content)) or NONE, content.get("strength")
    return f"{name} ({strength})" if strength else str(name)


def _numbers(value: dict | None) -> dict:
    return value or dict.fromkeys(("mean", "low", "high"))
