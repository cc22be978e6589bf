r"""Sample responses to test prompts, then score them: reward, semantic diversity, style diversity (paper, section 4.1).

python -m scripts_eval.generation_eval1_1 --source data/filtered --base_model meta-llama/Llama-3.1-8B --adapter runs/ddpo-both \
    --reward_model runs/reward --output results/ddpo-both
R=runs/mine; python -m scripts_eval.generation_eval1_1 --config eval1_1.yaml \
    --source $R/data/filtered --base_model $R/base --adapter $R/dpo --reward_model $R/reward \
    --style_model builtin:stylometry:$R/stylometry --output runs/my-dpo

An instruct model goes without --adapter, with --system_prompt "You write a creative writing based on the user-given writing
prompt.". Servers, several GPUs and other ways to ask: see scripts_eval.sample.

Writes samples.jsonl, scores.csv (one row per response, published columns first), prompts.csv, metrics.json.
"""

from dataclasses import replace

from diversity_tuning.cli import command
from diversity_tuning.evaluation.sampling.run import SamplingConfig, sample_run
from diversity_tuning.evaluation.scoring.run import ScoringConfig, score_run
from diversity_tuning.flags import parse_flags


@command
def main(argv=None) -> None:
    module, classes = "scripts_eval.generation_eval1_1", (SamplingConfig, ScoringConfig)
    sampling, scoring = parse_flags(classes, module, __doc__, argv, extra="evaluation", required=["reward_model"])
    added = sample_run(sampling)
    if added is not None:  # of several processes the first one scores
        # Not --overwrite, which would sample anew.
        scoring = replace(scoring, overwrite=scoring.overwrite or added)
        score_run(scoring, advice="run scripts_eval.score --overwrite, which keeps the samples,")
