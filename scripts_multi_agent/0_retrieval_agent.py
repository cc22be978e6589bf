r"""Stage 0: candidates of any policy, one row per response, each with examples from a corpus.

python -m scripts_multi_agent.0_retrieval_agent --source runs/eval/sft --corpus corpus.jsonl --popularity_column clicks \
    --output out/0_retrieval
R=runs/miniature/seed0; python -m scripts_multi_agent.0_retrieval_agent --source $R/data/filtered --split test \
    --corpus $R/data/filtered --popularity_column votes --output out/0_retrieval

--source: a run folder of scripts_eval.sample, or rows of prompt (or query) and response in any form that a training command
takes. Other columns, such as id or label, are kept. The corpus has the same forms.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_multi_agent.0_retrieval_agent")

import argparse

from diversity_tuning.cli import Parser, at_least, command, from_flags, parse_with_recipe
from diversity_tuning.next_steps import print_next
from scripts_multi_agent.common import add_retrieval_arguments

STAGE = "0_retrieval_agent"


@command
def main(argv=None) -> None:
    parser = Parser(f"scripts_multi_agent.{STAGE}", __doc__)
    add_retrieval_arguments(parser)
    parser.add_argument("--output", required=True, help="output folder")
    parser.add_argument("--device", default="auto", help="of the encoder: auto, cpu, cuda:0, or several: cuda:0,cuda:1")
    parser.add_argument("--batch_size", type=at_least(1), default=32, help="texts embedded at once")
    parser.add_argument("--trust_remote_code", action="store_true", help="run code that comes with the encoder")
    parser.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="redo what is there")
    args = parse_with_recipe(parser, argv)
    from diversity_tuning.judging.retrieval import RetrievalConfig, run_retrieval

    run_retrieval(from_flags(RetrievalConfig, args))
    print_next(STAGE, args.output)


if __name__ == "__main__":
    main()
