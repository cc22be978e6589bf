r"""Measure the data's own responses like a model's samples: the reference row of a report.

python -m scripts_eval.generation_eval2 --source data/filtered --reward_model runs/reward --output results/gold
R=runs/mine; python -m scripts_eval.generation_eval2 --source $R/data/filtered --start 0 --output runs/my-authors \
    --reward_model $R/reward --semantic_model builtin:minilm --style_model builtin:stylometry:$R/stylometry

gold.csv has the published names: data_semantic_diversity, data_style_diversity, gold_reddit_reward, gold_vote.
"""

from diversity_tuning.cli import command
from diversity_tuning.evaluation.scoring.references import ReferenceConfig, gold_run
from diversity_tuning.flags import parse_flags


@command
def main(argv=None) -> None:
    options = {"defaults": {"name": "gold"}, "required": ["reward_model"]}
    gold_run(parse_flags(ReferenceConfig, "scripts_eval.generation_eval2", __doc__, argv, extra="evaluation", **options))
