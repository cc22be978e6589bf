r"""Whether a reward reads the prompt: how often a response scores higher for its own prompt than for another one.

python -m studies.miniature.rlaif.own_prompt --run runs/miniature/seed0/eval/sft --seed 0 \
        --reward runs/miniature/seed0/reward runs/miniature/seed0/judge/judge.yaml --output runs/miniature/seed0/own-prompt.json
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.miniature.rlaif.own_prompt")

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from diversity_tuning.cli import Parser, command, parse_with_recipe


def own_prompt_share(reward: Callable, prompts: list[str], responses: list[str], seed: int = 0) -> dict[str, float]:
    """``own``, ``other``: mean reward of responses with their own and with another prompt; ``wins``: P(own > other), ties half.

    ``untied``: the share of pairs with different rewards; ``wins_untied``: P(own > other) among them. Chance is 0.5.
    ``reward``: as in :mod:`diversity_tuning.rewards`. The other prompt is drawn from the different ones; NaN where there is
    one only. Pairs with a failed reward are left out.
    """
    different = list(dict.fromkeys(prompts))
    if len(different) < 2:
        return dict.fromkeys(("own", "other", "wins", "untied", "wins_untied"), float("nan"))
    place = {prompt: i for i, prompt in enumerate(different)}
    steps = np.random.default_rng(seed).integers(1, len(different), len(prompts))
    others = [different[(place[prompt] + step) % len(different)] for prompt, step in zip(prompts, steps, strict=True)]
    scores = np.array([_numbers(reward(asked, responses, [True] * len(responses))) for asked in (prompts, others)])
    own, other = scores[:, ~np.isnan(scores).any(axis=0)]
    untied = own != other
    return {
        "own": _mean(own), "other": _mean(other), "wins": _mean((own > other) + 0.5 * ~untied), "untied": _mean(untied),
        "wins_untied": _mean((own > other)[untied]),
    }  # fmt: skip


def _numbers(values: list[float | None]) -> list[float]:
    return [np.nan if value is None else float(value) for value in values]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


@command
def main(argv=None) -> None:
    parser = Parser("studies.miniature.rlaif.own_prompt", __doc__)
    parser.add_argument("--run", required=True, help="a scored run, the responses of which are scored again")
    parser.add_argument("--reward", nargs="+", required=True, help="rewards as in the training: a folder, a judge.yaml, …")
    parser.add_argument("--seed", type=int, default=0, help="of the other prompts")
    parser.add_argument("--output", required=True, help="JSON file: what each reward says")
    args = parse_with_recipe(parser, argv)
    from diversity_tuning.data.schema import PROMPT, RESPONSE
    from diversity_tuning.evaluation.csvfiles import read_csv
    from diversity_tuning.evaluation.files import SCORES
    from diversity_tuning.rewards import check_reward, load_reward
    from diversity_tuning.runs import write_text

    rows = read_csv(Path(args.run) / SCORES, [PROMPT, RESPONSE])
    for name in args.reward:
        check_reward(name)
    found = {}
    for name in args.reward:
        shares = own_prompt_share(load_reward(name), rows[PROMPT].tolist(), rows[RESPONSE].tolist(), args.seed)
        found[Path(name).parent.name if name.endswith(".yaml") else Path(name).name] = shares
        print(f"{name}: own {shares['own']:.3f}, other {shares['other']:.3f}, own above other {shares['wins']:.3f}", flush=True)
    write_text(args.output, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
