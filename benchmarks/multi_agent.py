r"""What debate and reflection do to a judge's errors and biases, with the simulated LLM on synthetic stories.

python -m benchmarks.multi_agent --source runs/miniature/seed0/data/filtered --work runs/multi-agent --output results/rlaif

Stories of the miniature, as many good as bad ones; good is what has none of the flaws that the rubric names, by the rules of
the miniature. For every bias and every seed of the simulated LLM's errors the stages of Path A run against its server; beside
them a judge without debate, and the majority of five such judges, who cost one call more than the path. Writes
multi_agent.json and multi_agent.md. A killed run goes on. The LLM is simulated: it is built to look again where a critic names
a weakness, so this measures the pipeline and not a language model.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.multi_agent")

import json
import random
from pathlib import Path

import numpy as np

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.intervals import percentile_interval

BIASES = {
    "none": {}, "length bias .6": {"length_bias": 0.6}, "length bias 1": {"length_bias": 1.0}, "leniency .3": {"leniency": 0.3},
    "noise × 2": {"noise": 2.0},
}  # fmt: skip
VOTES = 5
SHOWN = {"alone": "judge alone", "majority": f"majority of {VOTES} alone", "judge": "judge after debate", "reflect": "reflect"}
FIGURES = {
    "accuracy": "accuracy", "kappa": "κ", "passed": "bad ones passed", "refused": "good ones refused",
    "passed_by_length": "length of passed bad ones (AUC)",
}  # fmt: skip
DRAWS = 2000


def build_parser() -> Parser:
    parser = Parser("benchmarks.multi_agent", __doc__)
    parser.add_argument("--source", required=True, help="output of data stage 1 of the miniature")
    parser.add_argument("--split", default="train", help="split of it")
    parser.add_argument("--work", required=True, help="folder for the stages' outputs")
    parser.add_argument("--output", required=True, help="folder for the figures")
    parser.add_argument("--seeds", type=at_least(1), default=5, help="seeds of the simulated LLM's errors")
    parser.add_argument("--num_prompts", type=at_least(2), default=200, help="prompts with good and bad stories, at most")
    return parser


@command
def main(argv=None) -> None:
    args = parse_with_recipe(build_parser(), argv)
    from diversity_tuning.judging.read import read_candidates
    from diversity_tuning.runs import write_text
    from studies.judges.stages import write_rows

    work, output = Path(args.work), Path(args.output)
    work.mkdir(parents=True, exist_ok=True)
    rows = balanced(read_candidates(args.source, args.split), args.num_prompts)
    write_rows(work / "candidates.jsonl", rows)
    found = {"rows": len(rows), "prompts": len({row["prompt"] for row in rows}), "seeds": args.seeds, "conditions": {}}
    weights = _weights(rows)
    for name, settings in BIASES.items():
        verdicts = [verdicts_of(rows, work, name, {**settings, "seed": seed}) for seed in range(args.seeds)]
        found["conditions"][name] = {
            who: {key: interval(rows, [one[who] for one in verdicts], key, weights) for key in FIGURES} for who in SHOWN
        } | {"overturned": overturned(rows, verdicts)}
        output.mkdir(parents=True, exist_ok=True)
        write_text(output / "multi_agent.json", json.dumps(found, indent=1) + "\n")
        write_text(output / "multi_agent.md", table(found))
    print(table(found), flush=True)


def balanced(rows: list[dict], num_prompts: int) -> list[dict]:
    """Rows with a ``label`` from prompts with both kinds: all good stories of a prompt and as many of its bad ones."""
    from diversity_tuning.judging.roles import load_role
    from studies.miniature.simulated_llm.flaws import flaws_of, named_in
    from studies.miniature.specification import from_prompt

    criteria = set().union(*map(named_in, load_role("judge").rubric.splitlines()))
    by_prompt: dict[str, dict[int, list[dict]]] = {}
    for row in rows:
        flaws = sorted(flaws_of(from_prompt(row["prompt"]), row["response"]) & criteria)
        one = {"prompt": row["prompt"], "response": row["response"], "label": int(not flaws), "flaws": flaws}
        by_prompt.setdefault(row["prompt"], {0: [], 1: []})[one["label"]].append(one)
    both = {prompt: sides for prompt, sides in by_prompt.items() if sides[0] and sides[1]}
    chosen, rng = [], random.Random(0)
    for prompt in sorted(both)[:num_prompts]:
        bad, good = both[prompt][0], both[prompt][1]
        size = min(len(good), len(bad))
        chosen += [*rng.sample(good, size), *rng.sample(bad, size)]
    return chosen


def verdicts_of(rows: list[dict], work: Path, name: str, settings: dict) -> dict[str, np.ndarray]:
    """Verdicts of each of :data:`SHOWN`, bool ``(n,)``."""
    from diversity_tuning.generation.engine import EngineConfig
    from studies.judges.retrieval import RetrievalConfig, run_retrieval
    from studies.judges.stages import JUDGE, NEGATIVE, POSITIVE, REFLECT, StageConfig, run_stage
    from studies.miniature.simulated_llm.answers import Settings
    from studies.miniature.simulated_llm.server import simulated_server

    place = work / f"{name.replace(' ', '-')}-{settings['seed']}"
    run_retrieval(RetrievalConfig(str(work / "candidates.jsonl"), str(place / "0")))
    with simulated_server(Settings(**settings)) as url:
        engine = EngineConfig(engine="openai", model="simulated", base_url=url, cache=str(place / "bought"))

        def stage(which, source: str, output: str, debate: bool = True, seed: int = 0) -> list[dict]:
            return run_stage(
                which, StageConfig(str(place / source), str(place / output), engine=engine, debate=debate, seed=seed)
            )

        votes = [stage(JUDGE, "0", f"alone{number or ''}", debate=False, seed=number) for number in range(VOTES)]
        stage(POSITIVE, "0", "1")
        stage(NEGATIVE, "1", "2")
        stage(JUDGE, "2", "3")
        final = stage(REFLECT, "3", "4")
    said = np.array([[row["judge"]["verdict"] for row in one] for one in votes], dtype=bool)
    after = {who: np.array([row[who]["verdict"] for row in final], dtype=bool) for who in ("judge", "reflect")}
    return {"alone": said[0], "majority": said.sum(axis=0) > VOTES / 2, **after}


def interval(rows: list[dict], verdicts: list[np.ndarray], key: str, weights: np.ndarray) -> dict[str, float | None]:
    """Mean over the seeds, and 95% by bootstrap over prompts and seeds; None where a seed has no such figure."""
    labels = np.array([row["label"] for row in rows], dtype=bool)
    lengths = np.array([len(row["response"]) for row in rows], dtype=float)
    value = np.mean([figure(key, one, labels, lengths)[0] for one in verdicts])
    if not np.isfinite(value):  # a seed in which no bad story was passed
        return {"value": None, "low": None, "high": None}
    drawn = np.stack([figure(key, one, labels, lengths, weights) for one in verdicts])
    seeds = np.random.default_rng(0).integers(len(verdicts), size=(len(verdicts), DRAWS))
    low, high = percentile_interval(np.take_along_axis(drawn, seeds, axis=0).mean(axis=0))
    return {"value": float(value), "low": low, "high": high}


def figure(key: str, verdicts, labels, lengths, weights=None) -> np.ndarray:
    """A figure of verdicts against labels, ``(draws,)``.

    ``passed_by_length``: P(a bad story that was passed is longer than one that was caught), .5 where length plays no part.
    """
    from diversity_tuning.judging import agreement

    weights = np.ones((1, len(labels))) if weights is None else weights
    if key in ("accuracy", "kappa"):
        return getattr(agreement, key)(verdicts, labels, weights)
    bad = ~labels
    if key == "passed_by_length":
        return agreement.auc(lengths[bad], verdicts[bad], weights[:, bad])
    part, wrong = (bad, verdicts) if key == "passed" else (labels, ~verdicts)
    return (weights[:, part] * wrong[part]).sum(axis=1) / weights[:, part].sum(axis=1)


def overturned(rows: list[dict], verdicts: list[dict]) -> dict[str, float]:
    """Means over the seeds of what reflect overturned, and of how much of that became right."""
    labels = np.array([row["label"] for row in rows], dtype=bool)
    counts = {
        "to_good": [(~one["judge"] & one["reflect"]).sum() for one in verdicts],
        "to_bad": [(one["judge"] & ~one["reflect"]).sum() for one in verdicts],
        "became_right": [((one["judge"] != one["reflect"]) & (one["reflect"] == labels)).sum() for one in verdicts],
    }
    return {name: float(np.mean(each)) for name, each in counts.items()}


def table(found: dict) -> str:
    """The figures in Markdown."""
    lines = [
        f"{found['rows']} stories, half of them good, {found['prompts']} prompts, {found['seeds']} seeds; simulated LLM."
        " 95% over prompts and seeds.", "",
        f"| bias | verdict of | {' | '.join(FIGURES.values())} | overturned to good / to bad (right) |",
        "| --- " * (3 + len(FIGURES)) + "|",
    ]  # fmt: skip
    for name, one in found["conditions"].items():
        for who, words in SHOWN.items():
            cells = [_shown(one[who][key]) for key in FIGURES]
            good, bad, right = (f"{one['overturned'][key]:.1f}" for key in ("to_good", "to_bad", "became_right"))
            last = f"{good} / {bad} ({right})" if who == "reflect" else ""
            lines.append(f"| {name} | {words} | {' | '.join(cells)} | {last} |")
    return "\n".join(lines) + "\n"


def _shown(found: dict) -> str:
    return "–" if found["value"] is None else f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _weights(rows: list[dict]) -> np.ndarray:
    from diversity_tuning.evaluation.statistics import cluster_weights

    return cluster_weights([row["prompt"] for row in rows], DRAWS, 0)


if __name__ == "__main__":
    main()
