r"""Check a reward model on held-out responses: order of votes, calibration, whether it reads the prompt, figures.

    python -m scripts_reward_modeling.reward_model_perf_analysis --source runs/llama-3.1-8b/seed0/data/filtered \
        --reward_model runs/llama-3.1-8b/seed0/reward --output results/reward-check
    python -m scripts_reward_modeling.reward_model_perf_analysis --source runs/mine/data/filtered \
        --split validation --reward_model runs/mine/reward --output runs/my-reward-check
"""

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.errors import UserError
from diversity_tuning.next_steps import print_next
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance


@command
def main(argv=None) -> None:
    parser = Parser("scripts_reward_modeling.reward_model_perf_analysis", __doc__)
    parser.add_argument("--source", required=True, help="stage 1's output")
    parser.add_argument("--split", default=schema.TEST, help="split of it; one that the model was not trained on")
    parser.add_argument("--max_prompts", type=at_least(1), default=None, help="use the first N prompts only")
    parser.add_argument(
        "--max_responses", type=at_least(1), default=None, help="of more responses to a prompt so many are drawn; default: all"
    )
    parser.add_argument("--reward_model", required=True, help="folder or hub id of the trained reward model")
    parser.add_output("folder for numbers and figures")
    parser.add_argument("--batch_size", type=at_least(1), default=32, help="responses scored at once")
    parser.add_argument("--device", default=None, help="cpu, cuda, …; default: cuda where there is one")
    args = parse_with_recipe(parser, argv, extra="evaluation")

    settings = {"split": args.split, "max_prompts": args.max_prompts}
    if args.max_responses:
        settings["max_responses"] = args.max_responses
    record = provenance("reward_check", settings, {"source": args.source, "reward_model": args.reward_model})
    if is_finished(args.output, record, args.overwrite):
        return
    from diversity_tuning.evaluation.scoring.reward_check import check, own_prompt_share, summary
    from diversity_tuning.evaluation.scoring.summary import nan_to_none
    from diversity_tuning.reward_model import load_reward_model

    prompts, responses, targets, votes, numbers = held_out(args.source, args.split, args.max_prompts, args.max_responses)
    model = load_reward_model(args.reward_model, args.device)
    rewards = model.score(prompts, responses, args.batch_size)

    def score(asked, texts, _):
        return model.score(asked, texts, args.batch_size)

    own = own_prompt_share(score, prompts, responses, known=rewards)
    with atomic_folder(args.output) as folder:
        result = check(rewards, targets, votes, numbers, folder, own)
        write_provenance(folder, record, metrics=nan_to_none(result))
    print(summary(args.output, result), flush=True)
    print_next("reward_check", args.output)


def held_out(source: str, split: str, max_prompts: int | None, max_responses: int | None = None):
    """Texts, transformed votes, votes and prompt numbers of a split's kept responses, at most ``max_responses`` a prompt."""
    import numpy as np

    from diversity_tuning.data.tables import read_split
    from diversity_tuning.evaluation.scoring.references import sample_rows

    columns = (schema.FILTERED_TRANSFORMED_SCORES, schema.FILTERED_COMMENT_SCORES)
    needed = (schema.POST_TITLE, schema.POST_TEXT, schema.FILTERED_COMMENT_TEXTS, *columns)
    rows = read_split(source, split, needed, max_prompts).select_columns(list(needed))
    kept = list(schema.kept_responses(rows[:], *columns))
    if max_responses and kept:
        drawn = sample_rows(np.array([number for number, *_ in kept]), max_responses, 0)
        places = np.concatenate(list(drawn.values()))
        print(f"{source}, '{split}': {len(places)} of {len(kept)} responses, at most {max_responses} a prompt", flush=True)
        kept = [kept[place] for place in places]
    numbers, prompts, responses, targets, votes = map(list, zip(*kept, strict=True)) if kept else ([],) * 5
    if len(responses) < 3:
        raise UserError(f"{source}, split '{split}': {len(responses)} responses are too few to check a reward model")
    if len(set(targets)) == 1:
        raise UserError(f"{source}, split '{split}': all {len(targets)} responses have the same votes, nothing to predict")
    return prompts, responses, np.array(targets), np.array(votes), np.array(numbers)
