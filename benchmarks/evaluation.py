"""Sampling and scoring against the released protocol's loop, and homogenization against rouge-score, in one run.

python -m benchmarks.evaluation --run runs/miniature/seed0 --output results/benchmarks/evaluation
python -m benchmarks.evaluation --run runs/miniature/seed0 --prompts 4 8 --repeats 1 --rows 20 40 --output /tmp/evaluation

Writes OUTPUT.json and OUTPUT.md. Each pair of timings is taken one after the other, in turn, `--repeats` times, models loaded
anew each time by both; ratios are medians over the pairs.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.evaluation")

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.evaluation_loop import loop
from diversity_tuning.cli import Parser, command
from diversity_tuning.evaluation import metrics
from diversity_tuning.evaluation.sampling.samples import SampleRow
from diversity_tuning.outputs import LineFile
from diversity_tuning.recipe import read_recipe
from diversity_tuning.runs import git_commit, library_versions, write_json, write_text
from scripts_eval import generation_eval1_1

SCORES = ["reddit_reward", "semantic_diversity", "style_diversity"]


def pairs(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> dict:
    """Seconds of both, in turn, by the clock and of the processor, and the median of their ratios."""
    taken: dict[str, list[float]] = {"ours": [], "loop": [], "ours_cpu": [], "loop_cpu": []}
    for _ in range(repeats):
        for name, run in (("ours", ours), ("loop", theirs)):
            begin, cpu = time.perf_counter(), time.process_time()
            run()
            taken[name].append(round(time.perf_counter() - begin, 4))
            taken[f"{name}_cpu"].append(round(time.process_time() - cpu, 4))
    ratios = {
        "ratio": [slow / fast for slow, fast in zip(taken["loop"], taken["ours"], strict=True)],
        "ratio_cpu": [slow / fast for slow, fast in zip(taken["loop_cpu"], taken["ours_cpu"], strict=True)],
    }
    return {**taken, **{name: round(statistics.median(values), 2) for name, values in ratios.items()}}


def evaluation(run: Path, model: str, recipe: dict, prompts: int, repeats: int, folder: Path, together: bool = True) -> dict:
    """Sampling and scoring of ``prompts`` prompts. Both give means, which must agree but for the draw."""
    models = {name: str(run / path) for name, path in (("base_model", "base"), ("adapter", model), ("reward_model", "reward"))}
    models |= {"semantic_model": recipe["semantic_model"], "style_model": f"builtin:stylometry:{run / 'stylometry'}"}
    names = ("diagnostics", "quality_threshold", "distinct_threshold", "num_prompts")
    settings = {name: value for name, value in recipe.items() if name not in names}
    source, output = str(run / "data" / "filtered"), folder / "ours"
    flags = {**settings, **models, "source": source, "num_prompts": prompts, "output": output, "device": "cpu"}
    found = {}

    def ours():
        generation_eval1_1.main([*(f"--{name}={value}" for name, value in flags.items()), "--overwrite"])
        found["ours"] = pd.read_csv(output / "scores.csv", keep_default_na=False)

    def theirs():
        found["loop"] = loop(source, models, settings, prompts, folder / "loop.csv", together)

    result = pairs(ours, theirs, repeats)
    if len(found["ours"]) != len(found["loop"]):
        raise RuntimeError(f"{len(found['ours'])} rows and {len(found['loop'])}: not the same work")
    means = {name: {column: round(float(rows[column].mean()), 4) for column in SCORES} for name, rows in found.items()}
    counts = {"prompts": int(found["ours"]["prompt_id"].nunique()), "responses": len(found["ours"])}
    return {**counts, "asked": "a prompt's together" if together else "one by one", **result, "means": means}


def bookkeeping(prompts: int, repeats: int, folder: Path, words: int = 500) -> dict:
    """Writing four stories a prompt: appended as samples.jsonl, or the whole CSV after every prompt."""
    story = " ".join(_words(words, seed=0))

    def append():
        (folder / "samples.jsonl").unlink(missing_ok=True)
        with LineFile(folder / "samples.jsonl") as file:
            for row in range(prompts):
                file.append(asdict(SampleRow(row, "a prompt", number, story, True, words)) for number in range(4))

    def rewrite():
        rows = []
        for row in range(prompts):
            rows += [{"prompt_id": row, "prompt": "a prompt", "response": story, "sample": number} for number in range(4)]
            pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False)

    return {"prompts": prompts, **pairs(append, rewrite, repeats)}


def homogenization(name: str, groups: list[list[str]], repeats: int) -> dict:
    """Mean ROUGE-L over ordered pairs of the responses of each prompt: ours and rouge-score's, which must be equal."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    found = {}

    def ours():
        found["ours"] = [metrics.homogenization_score(group) for group in groups]

    def theirs():
        found["loop"] = [
            np.mean([scorer.score(a, b)["rougeL"].fmeasure for i, a in enumerate(group) for j, b in enumerate(group) if i != j])
            for group in groups
        ]

    result = pairs(ours, theirs, repeats)
    largest = float(np.abs(np.array(found["ours"]) - np.array(found["loop"])).max())
    if largest > 1e-9:
        raise RuntimeError(f"homogenization differs from rouge-score by {largest}")
    words = statistics.mean(len(text.split()) for group in groups for text in group)
    return {"texts": name, "prompts": len(groups), "words": round(words), **result, "largest_difference": largest}


def _words(count: int, seed: int) -> list[str]:
    """Words that are as rare as those of a language (Zipf)."""
    return [f"w{min(number, 20_000)}" for number in np.random.default_rng(seed).zipf(1.3, count)]


def long_groups(prompts: int, words: int = 500) -> list[list[str]]:
    """Four made-up stories a prompt."""
    return [[" ".join(_words(words, seed=4 * row + number)) for number in range(4)] for row in range(prompts)]


def as_markdown(content: dict) -> str:
    """The figures as tables."""
    lines = ["# Evaluation", "", f"`{content['command']}`", "", f"{content['machine']}; seconds are medians.", ""]
    heads = {
        "evaluation": ("Sampling and scoring", ["prompts", "responses", "asked"]),
        "bookkeeping": ("Writing rows of 500 words, four a prompt", ["prompts"]),
        "homogenization": ("Homogenization against rouge-score", ["texts", "prompts", "words"]),
    }
    for part, (title, columns) in heads.items():
        table = [*columns, "ours, s", "loop, s", "prompts/s, ours", "prompts/s, loop", "ratio", "ratio, CPU"]
        lines += [f"## {title}", "", f"| {' | '.join(table)} |", f"|{' --- |' * len(table)}"]
        for row in content[part]:
            fast, slow = (statistics.median(row[name]) for name in ("ours", "loop"))
            rates = [f"{row['prompts'] / seconds:.3g}" for seconds in (fast, slow)]
            cells = [
                *(str(row[name]) for name in columns),
                f"{fast:.3g}",
                f"{slow:.3g}",
                *rates,
                f"{row['ratio']:.1f}",
                f"{row['ratio_cpu']:.1f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


@command
def main(argv=None) -> None:
    parser = Parser("benchmarks.evaluation", __doc__)
    parser.add_argument("--run", required=True, type=Path, help="folder of a finished miniature seed")
    parser.add_argument("--model", default="generation", help="adapter in it")
    parser.add_argument("--recipe", default="recipes/miniature/eval1_1.yaml", help="settings of sampling and scoring")
    parser.add_argument("--split", default=None, help="split of the prompts; default: the recipe's")
    parser.add_argument("--prompts", type=int, nargs="+", default=[25, 50, 100], help="how many prompts to evaluate")
    parser.add_argument("--rows", type=int, nargs="+", default=[125, 250, 500, 1000], help="how many prompts' rows to write")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of timings")
    parser.add_argument("--output", required=True, type=Path, help="OUTPUT.json and OUTPUT.md are written")
    args = parser.parse_args(argv)
    recipe = read_recipe(args.recipe)
    recipe["split"] = args.split or recipe["split"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = {
            "evaluation": [
                *(evaluation(args.run, args.model, recipe, n, args.repeats, folder) for n in args.prompts),
                evaluation(args.run, args.model, recipe, min(args.prompts), args.repeats, folder, together=False),
            ],
            "bookkeeping": [bookkeeping(n, args.repeats, folder) for n in args.rows],
        }
        rows = pd.read_csv(folder / "ours" / "scores.csv", keep_default_na=False)
    sampled = [list(group) for _, group in rows.groupby("prompt_id")["response"]]
    parts["homogenization"] = [
        homogenization("sampled by the run", sampled, args.repeats),
        homogenization("made up, Zipf", long_groups(10), args.repeats),
    ]
    flags = {"prompts": args.prompts, "rows": args.rows, "repeats": [args.repeats], "output": ["OUTPUT"]}
    words = " ".join(f"--{name} {' '.join(map(str, values))}" for name, values in flags.items())
    content = {
        "command": f"python -m benchmarks.evaluation --run RUN --model {args.model} --split {recipe['split']} {words}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "git_commit": git_commit(),
        "versions": library_versions(),
        **parts,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output.with_suffix(".json"), content)
    text = as_markdown(content)
    write_text(args.output.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
