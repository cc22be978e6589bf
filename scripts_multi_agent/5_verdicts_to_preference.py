r"""Stage 5: verdicts to pairs: a good and a bad response of the same prompt.

python -m scripts_multi_agent.5_verdicts_to_preference --source out/4_reflect --output out/pairs --length_match 0.85 \
    --validation_share 0.1

The pairs (prompt, chosen, rejected) are what scripts_reward_modeling.pairwise_reward_model_train --source reads. Ties, prompts
with good or bad responses only, failed and repeated rows are counted, here and in provenance.json.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_multi_agent.5_verdicts_to_preference")

from diversity_tuning.cli import command
from diversity_tuning.flags import parse_flags
from diversity_tuning.next_steps import print_next

STAGE = "5_verdicts_to_preference"


@command
def main(argv=None) -> None:
    from studies.judges.verdict_pairs import PairsConfig, make_pairs

    config = parse_flags(PairsConfig, f"scripts_multi_agent.{STAGE}", __doc__, argv)
    make_pairs(config)
    print_next(STAGE, config.output)


if __name__ == "__main__":
    main()
