r"""Score the samples of a run folder, again or for the first time; nothing is sampled.

python -m scripts_eval.score --reward_model runs/reward --output results/ddpo-both --name ddpo-both
R=runs/mine; python -m scripts_eval.score --reward_model $R/reward --semantic_model builtin:minilm \
    --style_model builtin:stylometry:$R/stylometry --output runs/my-dpo --overwrite
"""

from diversity_tuning.cli import command
from diversity_tuning.evaluation.scoring.run import ScoringConfig, score_run
from diversity_tuning.flags import parse_flags


@command
def main(argv=None) -> None:
    score_run(parse_flags(ScoringConfig, "scripts_eval.score", __doc__, argv, extra="evaluation"))
