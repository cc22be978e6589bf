r"""Sample responses to test prompts, then score them: reward, semantic diversity, style diversity (paper, section 4.1).

python -m scripts_eval.generation_eval1_1 --source data/filtered --base_model meta-llama/Llama-3.1-8B --adapter runs/ddpo-both \
    --reward_model runs/reward --output results/ddpo-both
R=runs/miniature/seed0; python -m scripts_eval.generation_eval1_1 --config recipes/miniature/eval1_1.yaml \
    --source $R/data/filtered --base_model $R/base --adapter $R/dpo --reward_model $R/reward \
    --style_model builtin:stylometry:$R/stylometry --output runs/my-dpo

An instruct model goes without --adapter, with --system_prompt "You write a creative writing based on the user-given writing
prompt.". Servers, several GPUs and other ways to ask: see scripts_eval.sample.

Writes samples.jsonl, scores.csv (one row per response, published columns first), prompts.csv, metrics.json.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.generation_eval1_1")

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.evaluation.sampling.run import add_output_arguments, add_sampling_arguments, sample_run, sampling_config
from diversity_tuning.evaluation.scoring.run import add_scoring_arguments, score_run, scoring_config


@command
def main(argv=None) -> None:
    parser = Parser("scripts_eval.generation_eval1_1", __doc__)
    add_sampling_arguments(parser)
    add_scoring_arguments(parser)
    add_output_arguments(parser)
    args = parse_with_recipe(parser, argv)
    added = sample_run(sampling_config(args))
    if added is not None:  # of several processes the first one scores
        # Not --overwrite, which would sample anew.
        scoring = scoring_config(args, overwrite=args.overwrite or added)
        score_run(scoring, advice="run scripts_eval.score --overwrite, which keeps the samples,")


if __name__ == "__main__":
    main()
