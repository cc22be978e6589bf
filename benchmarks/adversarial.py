r"""Does the search for a judge's principles find the flaws that exist? With a simulated LLM, on synthetic stories.

    python -m benchmarks.adversarial --source runs/miniature/seed0/data/filtered --output runs/adversarial
    python -m benchmarks.adversarial --source runs/miniature/seed0/data/filtered --output runs/quick --seeds 0 --rounds 3

The labels know seven flaws of the pool of 17; the LLM is not told which. Each seed has its own stories, draws and errors of the
LLM. Writes results.json, table.md and adversarial.png: the flaws among the principles by round, with each half of a round left
out; the agreement with test labels that no round was chosen by; and what the length bias of the LLM does to the judge. Searches
that are complete are not done again.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.adversarial")

import json
from pathlib import Path

import numpy as np

from benchmarks.adversarial_report import judge_table, plot, search_table
from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.rendering import markdown
from diversity_tuning.evaluation.statistics import mean_interval, paired_difference
from diversity_tuning.generation.engine import EngineConfig
from diversity_tuning.judging.judge_reward import JudgeReward
from diversity_tuning.judging.principles import JudgeFile
from diversity_tuning.runs import write_text
from studies.judges.adversarial import STEPS
from studies.judges.adversarial_run import AdversarialConfig, best_round, find_principles, write_judge
from studies.miniature.flawed_stories import FLAWS, NUISANCES, labelled_stories
from studies.miniature.simulated_llm.answers import Settings
from studies.miniature.simulated_llm.flaws import flaws_of, named_in
from studies.miniature.simulated_llm.server import MODEL, simulated_server
from studies.miniature.simulated_llm.writing import padded
from studies.miniature.specification import from_prompt

LENGTH_BIAS = 0.6
SEARCHES = {  # name -> steps of a round, length bias of the LLM, whether new principles are checked
    "both": (STEPS, 0.0, "always"), "adversarial": (STEPS[:1], 0.0, "always"), "reflection": (STEPS[1:], 0.0, "always"),
    "both, checked": (STEPS, 0.0, "not_worse"), "both, length bias": (STEPS, LENGTH_BIAS, "always"),
}  # fmt: skip
QUARTERS = 4


@command
def main(argv=None) -> None:
    parser = Parser("benchmarks.adversarial", __doc__)
    parser.add_argument("--source", required=True, help="filtered data of a seed of the miniature")
    parser.add_argument("--output", required=True, help="folder")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rounds", type=at_least(1), default=20)
    parser.add_argument("--batch", type=at_least(1), default=16)
    parser.add_argument("--num_prompts", type=at_least(4), default=200, help="for learning and held out, half each")
    args = parse_with_recipe(parser, argv)
    output = Path(args.output)
    output.mkdir(parents=True, exist_ok=True)
    prompts = _prompts(args.source, args.num_prompts)
    searches = {name: [_search(args, name, seed, prompts["train"]) for seed in args.seeds] for name in SEARCHES}
    judged = [_judge(args, seed, prompts["test"], _principles(searches, place)) for place, seed in enumerate(args.seeds)]
    result = {
        "command": vars(args) | {"source": Path(args.source).name, "output": output.name},
        "flaws": FLAWS,
        "nuisances": NUISANCES,
        "length_bias": LENGTH_BIAS,
        "searches": {name: [_found(rounds) for rounds in runs] for name, runs in searches.items()},
        "judges": _judges(judged),
    }
    write_text(output / "results.json", json.dumps(result, indent=1) + "\n")
    text = "\n".join(markdown(table) for table in (search_table(result), judge_table(result)))
    write_text(output / "table.md", text)
    plot(result, output / "adversarial.png")
    print(text, flush=True)


def _prompts(source: str, count: int) -> dict[str, list[str]]:
    from diversity_tuning.evaluation.sampling.samples import select_prompts

    found = {split: list(select_prompts(source, split, 0, count, say=False).values()) for split in ("train", "test")}
    wrong = [prompt for part in found.values() for prompt in part if from_prompt(prompt) is None]
    if wrong:
        raise UserError(f"{source}: not data of the miniature ({wrong[0]!r})")
    known = set(found["train"])
    return {"train": found["train"], "test": [prompt for prompt in found["test"] if prompt not in known]}


def _stories(prompts: list[str], seed: int, each: int) -> list[dict]:
    rng = np.random.default_rng([3, seed])
    return [{"prompt": prompt, **row} for prompt in prompts for row in labelled_stories(from_prompt(prompt), rng, each=each)]


# Searches.


def _search(args, name: str, seed: int, prompts: list[str]) -> list[dict]:
    """The rounds of one search; on disk, so that it is not done twice."""
    folder = Path(args.output) / "searches" / f"{name.replace(', ', '-').replace(' ', '_')}-seed{seed}"
    steps, bias, accept = SEARCHES[name]
    folder.parent.mkdir(parents=True, exist_ok=True)
    labels = folder.with_suffix(".labels.jsonl")
    write_text(labels, "".join(json.dumps(row) + "\n" for row in _stories(prompts, seed, each=1)))
    with simulated_server(Settings(length_bias=bias, seed=seed)) as url:
        config = AdversarialConfig(
            str(labels), str(folder), engine=EngineConfig("openai", model=MODEL, base_url=url, cache=""),
            steps=steps, accept=accept, rounds=args.rounds, batch=args.batch, early_stop=0, seed=seed,
        )  # fmt: skip
        return find_principles(config, say=lambda line: print(f"{name}, seed {seed}: {line}", flush=True))


def _found(rounds: list[dict]) -> dict:
    """Of each round: the share of the existing flaws among its principles, the share of checkable principles that name one."""
    named = [set().union(*map(named_in, one["principles"]), set()) for one in rounds]
    return {
        "recall": [len(one & set(FLAWS)) / len(FLAWS) for one in named],
        "precision": [len(one & set(FLAWS)) / len(one) if one else None for one in named],
        "nuisances": [len(one & set(NUISANCES)) for one in named],
        "accuracy": [one["scores"]["accuracy"]["value"] for one in rounds],
        "fooled": [one["fooled"] / one["written"] if one["written"] else None for one in rounds],
        "best": best_round(rounds),
        "calls": sum(one["calls"] for one in rounds),
    }


# Judges of test stories that no search has seen.


def _principles(searches: dict[str, list[list[dict]]], place: int) -> dict[str, list[str]]:
    """The principles that are compared as judges, of one seed."""
    both, checked = searches["both"][place], searches["both, checked"][place]
    chosen = {"first": both[0], "best": both[best_round(both)], "last": both[-1], "checked, best": checked[best_round(checked)]}
    return {name: one["principles"] for name, one in chosen.items()}


def _judge(args, seed: int, prompts: list[str], judges: dict[str, list[str]]) -> dict[str, dict]:
    """What each judge says of test stories, and of the bad ones among them when they are padded."""
    rows = _stories(prompts, 1000 + seed, each=2)
    rng = np.random.default_rng([4, seed])
    longer = [text for row in rows if not row["label"] and (text := _longer(row, rng)) is not None]
    found = {}
    for bias in (0.0, LENGTH_BIAS):
        with simulated_server(Settings(length_bias=bias, seed=seed)) as url:
            for name, principles in judges.items():
                said = _verdicts(args, url, principles, rows + longer)
                found[f"{name}, length bias {bias:g}"] = {
                    "rows": rows, "said": said[: len(rows)], "longer": longer, "padded": said[len(rows) :],
                }  # fmt: skip
    return found


def _longer(row: dict, rng: np.random.Generator) -> dict | None:
    """A bad story, padded, with all its flaws and how it was before; None where padding takes a flaw away."""
    specification = from_prompt(row["prompt"])
    for _ in range(10):
        text = padded(rng, row["response"], specification)
        if set(row["flaws"]) <= flaws_of(specification, text):
            return {**row, "response": text, "before": row["response"]}
    return None


def _verdicts(args, url: str, principles: list[str], rows: list[dict]) -> list[float | None]:
    path = Path(args.output) / "judge.yaml"
    engine = EngineConfig("openai", model=MODEL, base_url=url)
    write_judge(path, JudgeFile(principles, "en", "stories", engine))
    reward = JudgeReward(path, cache="")
    path.unlink()
    return reward([row["prompt"] for row in rows], [row["response"] for row in rows], [True] * len(rows))


def _judges(judged: list[dict]) -> dict[str, dict]:
    """Each judge's figures over seeds and test prompts: mean and 95% interval (bootstrap of both)."""
    result = {}
    for name in judged[0]:
        of = [one[name] for one in judged]
        result[name] = {
            "accuracy": _over_prompts(of, lambda row, said: said == row["label"]),
            "bad_passed": _over_prompts(of, lambda row, said: said if not row["label"] else None),
            "good_passed": _over_prompts(of, lambda row, said: said if row["label"] else None),
            "bad_padded_passed": mean_interval(_matrix([(one["longer"], one["padded"]) for one in of], _passed, of)),
            "gain_of_padding": _gain(of),
            "bad_passed_by_length": _by_length(of),
        }
    return result


def _over_prompts(of: list[dict], value) -> dict:
    return mean_interval(_matrix([(one["rows"], one["said"]) for one in of], value, of))


def _passed(row: dict, said: float) -> float:
    return said


def _matrix(parts: list[tuple[list[dict], list]], value, of: list[dict]) -> np.ndarray:
    """Means of a value over the stories of each test prompt, NaN where it has none: ``(seeds, prompts)``."""
    names = list(dict.fromkeys(row["prompt"] for row in of[0]["rows"]))
    found = []
    for rows, said in parts:
        by_prompt: dict[str, list[float]] = {name: [] for name in names}
        for row, one in zip(rows, said, strict=True):
            number = None if one is None else value(row, one)
            by_prompt[row["prompt"]] += [] if number is None else [float(number)]
        found.append([np.mean(values) if values else np.nan for values in by_prompt.values()])
    return np.array(found)


def _gain(of: list[dict]) -> dict:
    """Padded less unpadded, of the stories that could be padded."""
    before = []
    for one in of:
        said = {(row["prompt"], row["response"]): verdict for row, verdict in zip(one["rows"], one["said"], strict=True)}
        before.append((one["longer"], [said[row["prompt"], row["before"]] for row in one["longer"]]))
    after = [(one["longer"], one["padded"]) for one in of]
    return paired_difference(*(_matrix(part, _passed, of) for part in (after, before)))


def _by_length(of: list[dict]) -> list[dict]:
    """The share of bad stories that pass, by quarter of their length in words, over all seeds."""
    pairs = [(len(row["response"].split()), said) for one in of for row, said in zip(one["rows"], one["said"], strict=True)
             if not row["label"] and said is not None]  # fmt: skip
    sizes, said = (np.array(part, dtype=float) for part in zip(*pairs, strict=True))
    edges = np.unique(np.quantile(sizes, np.linspace(0, 1, QUARTERS + 1)))
    number = np.clip(np.searchsorted(edges, sizes, side="left") - 1, 0, None)
    return [
        {"from": int(sizes[rows].min()), "to": int(sizes[rows].max()), "n": int(rows.sum()), "passed": float(said[rows].mean())}
        for rows in (number == part for part in np.unique(number))
    ]


if __name__ == "__main__":
    main()
