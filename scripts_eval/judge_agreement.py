r"""How well a judge or reward agrees with people: accuracy, F1, AUC, Cohen's kappa, pairs, by length, beside length alone.

    python -m scripts_eval.judge_agreement --reward runs/greetings/reward_pairs --labels labels.jsonl --output runs/agreement
    python -m scripts_eval.judge_agreement --reward builtin:length --pairs pairs.jsonl --output runs/agreement-length

Labels: rows of prompt (or query), response, label (1 good, 0 bad). Pairs: rows of prompt, chosen, rejected. Texts or messages,
in any form that a training command takes (.jsonl, .json, .parquet, .csv, …). Writes agreement.json, agreement.png.
"""

import argparse

from diversity_tuning.cli import at_least, command, parse_with_recipe
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance


@command
def main(argv=None) -> None:
    parser = argparse.ArgumentParser(
        prog="scripts_eval.judge_agreement",
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--reward", required=True, help="folder or hub id of a reward model, or builtin:length")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--labels", help="what people said: rows of prompt, response, label")
    given.add_argument("--pairs", help="what people preferred: rows of prompt, chosen, rejected")
    parser.add_argument(
        "--trained_on", nargs="+", default=[], metavar="FILE", help="leave out rows that share a prompt or text"
    )
    parser.add_argument("--threshold", type=float, default=None, help="score above which a response is good; default: learned")
    parser.add_argument("--output", required=True, help="folder")
    parser.add_argument("--draws", type=at_least(1), default=1000, help="bootstrap draws")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch_size", type=at_least(1), default=32)
    parser.add_argument("--device", default=None, help="cpu, cuda, …; default: cuda where there is one")
    parser.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False)
    args = parse_with_recipe(parser, argv)
    from diversity_tuning.judging.scorers import check_scorer_name

    check_scorer_name(args.reward)
    inputs = {"labels": args.labels, "pairs": args.pairs}
    inputs |= {f"trained_on_{number}": path for number, path in enumerate(args.trained_on)}
    settings = {name: getattr(args, name) for name in ("reward", "threshold", "draws", "seed")}
    if not args.reward.startswith("builtin:"):
        inputs["reward"] = args.reward
    record = provenance("judge_agreement", settings, inputs)
    if is_finished(args.output, record, args.overwrite):
        return
    result = run(args, record)
    shown = {name: result[name]["value"] for name in ("accuracy", "f1", "auc", "kappa", "pair_accuracy", "own_vs_other")}
    print({name: None if value is None else round(value, 3) for name, value in shown.items()}, flush=True)


def run(args: argparse.Namespace, record: dict) -> dict:
    """Read, judge, compare; the content of agreement.json."""
    from diversity_tuning.errors import UserError
    from diversity_tuning.judging.check import check
    from diversity_tuning.judging.read import read_labels, read_labels_or_pairs, read_pairs
    from diversity_tuning.judging.scorers import load_scorer

    data = read_labels(args.labels) if args.labels else read_pairs(args.pairs)
    rows = len(data.responses)
    for path in args.trained_on:
        data = data.without(read_labels_or_pairs(path))
    if not data.responses:
        raise UserError(f"{args.labels or args.pairs}: all {rows} responses share a prompt or text with --trained_on")
    score = load_scorer(args.reward, args.device, args.batch_size)
    with atomic_folder(args.output) as folder:
        result = check(score, data, folder, args.reward, args.threshold, args.draws, args.seed)
        counts = {"responses_left_out_as_trained_on": rows - len(data.responses)}
        write_provenance(folder, record, counts=counts)
    return result


if __name__ == "__main__":
    main()
