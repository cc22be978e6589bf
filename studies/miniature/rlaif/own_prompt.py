r"""Whether a reward reads the prompt: how often a response scores higher for its own prompt than for another one.

python -m studies.miniature.rlaif.own_prompt --run runs/miniature/seed0/eval/sft --seed 0 \
        --reward runs/miniature/seed0/reward runs/miniature/seed0/judge/judge.yaml --output runs/miniature/seed0/own-prompt.json
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.miniature.rlaif.own_prompt")

import json
from pathlib import Path

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.evaluation.scoring.reward_check import own_prompt_share


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
    from diversity_tuning.reward_functions import check_reward, load_reward
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
