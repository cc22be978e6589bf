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

from diversity_tuning.cli import command
from diversity_tuning.flags import parse_flags
from diversity_tuning.next_steps import print_next

STAGE = "0_retrieval_agent"


@command
def main(argv=None) -> None:
    from studies.judges.retrieval import RetrievalConfig, run_retrieval

    config = parse_flags(RetrievalConfig, f"scripts_multi_agent.{STAGE}", __doc__, argv)
    run_retrieval(config)
    print_next(STAGE, config.output)


if __name__ == "__main__":
    main()
