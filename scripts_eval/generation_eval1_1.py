"""Sample responses to test prompts, then score them: reward, semantic diversity, style diversity (paper, section 4.1).

python -m scripts_eval.generation_eval1_1 --source data/filtered --base_model meta-llama/Llama-3.1-8B --adapter runs/ddpo-both \
    --reward_model runs/reward --output results/ddpo-both
python -m scripts_eval.generation_eval1_1 --config recipes/miniature/eval.yaml --adapter runs/miniature/dpo \
    --output runs/miniature/eval/dpo --name dpo

An instruct model goes without --adapter, with --system_prompt "You write a creative writing based on the user-given writing
prompt.". Servers, several GPUs and other ways to ask: see scripts_eval.sample.

Writes samples.jsonl, scores.csv (one row per response, published columns first), prompts.csv, metrics.json.
"""

import argparse

from diversity_tuning.cli import command, parse_with_recipe
from diversity_tuning.evaluation.sampling import add_output_arguments, add_sampling_arguments, sample_run
from diversity_tuning.evaluation.scoring import add_scoring_arguments, score_run


@command
def main(argv=None) -> None:
    parser = argparse.ArgumentParser(
        prog="scripts_eval.generation_eval1_1",
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_sampling_arguments(parser)
    add_scoring_arguments(parser)
    add_output_arguments(parser)
    args = parse_with_recipe(parser, argv)
    added = sample_run(args)
    if added is not None:  # of several processes the first one scores
        score_run(args, overwrite=args.overwrite or added)


if __name__ == "__main__":
    main()
