r"""Find the principles of an LLM judge: an adversary that tries to fool it, and reflection on its errors on labelled responses.

    OPENAI_API_KEY=… python -m scripts_adversarial.main --labels labels.jsonl --queries prompts.jsonl --output runs/judge \
        --engine openai --model gpt-4o --max_cost 20 --price_input 2.5 --price_output 10
    python -m scripts_adversarial.main --labels labels.jsonl --held_out other_labels.jsonl --output runs/judge --rounds 20 \
        --engine openai --base_url http://localhost:8000/v1 --model MODEL --language zh --task greetings

Without an LLM, on the miniature's stories (the judge is simulated):

    python -m studies.miniature.flawed_stories --source runs/miniature/seed0/data/filtered --output runs/labels
    python -m studies.miniature.simulated_llm --port 8123 &
    python -m scripts_adversarial.main --labels runs/labels/train.jsonl --held_out runs/labels/heldout.jsonl \
        --output runs/judge --engine openai --base_url http://127.0.0.1:8123/v1 --model simulated

Labels: rows of prompt (or query), response, label (1 good, 0 bad). Every round is judged by held-out labels; judge.yaml holds
the principles of the best one, for --reward. A killed run, and one that reached a cap, goes on when the command is given again;
so does a finished one with more --rounds.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_adversarial.main")

import argparse
import dataclasses

from diversity_tuning.cli import Parser, at_least, command, from_flags, parse_with_recipe
from diversity_tuning.next_steps import print_next


@command
def main(argv=None) -> None:
    args = parse_with_recipe(make_parser(), argv)
    from diversity_tuning.judging.adversarial_run import find_principles

    find_principles(config_of(args), say=lambda line: print(line, flush=True))
    print_next("adversarial", args.output)


def make_parser() -> Parser:
    """The command's flags."""
    from diversity_tuning.generation.engine import add_engine_arguments

    parser = Parser("scripts_adversarial.main", __doc__)
    parser.add_argument("--labels", required=True, help="what people said: rows of prompt, response, label")
    parser.add_argument("--held_out", help="labels that rounds are compared by; default: a share of the prompts of --labels")
    parser.add_argument("--held_out_share", type=float, default=0.5, help="share of the prompts, without --held_out")
    parser.add_argument(
        "--queries", help="prompts to write flawed responses to; default: those of the labels that are learned from"
    )
    parser.add_argument("--output", required=True, help="folder for judge.yaml, rounds.jsonl, report")
    parser.add_argument("--language", choices=["en", "zh"], default="en", help="language of the roles' prompts")
    parser.add_argument("--task", default="stories", help="rubric: stories, greetings, or one of --prompts")
    parser.add_argument("--prompts", help="folder of your own ROLE.txt and rubrics/TASK.txt; ours for what it has not")
    parser.add_argument("--principles", help="text file with the principles to begin with, one a line; may be empty")
    parser.add_argument("--strategies", help="text file with the strategies to begin with, one a line; may be empty")
    parser.add_argument("--rounds", type=at_least(0), default=10, help="rounds; 0 only judges the principles to begin with")
    parser.add_argument("--batch", type=at_least(1), default=16, help="queries, and labelled rows, of a round")
    parser.add_argument(
        "--early_stop", type=at_least(0), default=3, help="stop after so many rounds without a better one; 0: never"
    )
    parser.add_argument(
        "--update", choices=["batch", "item"], default="batch", help="rewrite rules once a step, or for each item"
    )
    parser.add_argument(
        "--steps", nargs="+", choices=["adversarial", "reflection"], default=["adversarial", "reflection"], help="of a round"
    )
    parser.add_argument(
        "--accept", choices=["always", "not_worse"], default="always",
        help="new principles: always, as in the paper, or unless they judge six batches of labelled rows worse than the old",
    )  # fmt: skip
    add_engine_arguments(parser)
    group = parser.add_argument_group("sampling")
    group.add_argument("--temperature", type=float, default=0.2, help="of all roles but the generator, above 0")
    group.add_argument("--writing_temperature", type=float, default=1.0, help="of the generator")
    group.add_argument("--top_p", type=float, default=1.0, help="probability that is kept; not sent to Anthropic")
    group.add_argument("--top_k", type=int, default=0, help="local, vllm: most likely tokens; 0 keeps all")
    group.add_argument("--repetition_penalty", type=float, default=1.0, help="local, vllm: 1 is none, as JSON needs")
    group.add_argument("--max_new_tokens", type=at_least(1), default=1024, help="where a reply is cut, reasoning included")
    group.add_argument("--system_prompt", help="system line")
    group.add_argument("--seed", type=int, default=0, help="decides the held-out part, the batches and what servers are sent")
    parser.add_argument("--device", help="local: cpu, cuda, …; default: cuda where there is one")
    parser.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="redo what is there")
    return parser


def config_of(args: argparse.Namespace):
    """The flags as a configuration."""
    from diversity_tuning.generation.engine import engine_config
    from diversity_tuning.generation.requests import SamplingSettings
    from diversity_tuning.judging.adversarial_run import AdversarialConfig

    sampling = from_flags(SamplingSettings, args)
    writing = dataclasses.replace(sampling, temperature=args.writing_temperature)
    return from_flags(AdversarialConfig, args, engine=engine_config(args), sampling=sampling, writing=writing)


if __name__ == "__main__":
    main()
