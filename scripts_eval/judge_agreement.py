r"""How well a judge or reward agrees with people: accuracy, F1, AUC, Cohen's kappa, pairs, by length, beside length alone.

    python -m scripts_eval.judge_agreement --reward runs/greetings/reward_pairs --labels labels.jsonl --output runs/agreement
    python -m scripts_eval.judge_agreement --reward builtin:length --pairs pairs.jsonl --output runs/agreement-length
    python -m scripts_eval.judge_agreement --reward runs/judge/judge.yaml --labels labels.jsonl --output runs/agreement-judge
    python -m scripts_eval.judge_agreement --reward runs/reward --annotations runs/human/study/annotations \
        --key runs/human/ddpo-dpo/key.csv --runs runs/eval/ddpo runs/eval/dpo --output runs/agreement-human

Labels: rows of prompt (or query), response, label (1 good, 0 bad). Pairs: rows of prompt, chosen, rejected. Texts or messages,
in any form that a training command takes (.jsonl, .json, .parquet, .csv, …). Annotations: the story that each annotator of a
human study found best, against each of the others on the page. Writes agreement.json, agreement.png. An LLM judge
(judge.yaml) is asked twice for every good response: once beside another prompt. Its verdicts need no threshold.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.judge_agreement")

import argparse

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance


@command
def main(argv=None) -> None:
    parser = make_parser()
    args = parse_with_recipe(parser, argv)
    if bool(args.annotations) != bool(args.key and args.runs):
        parser.error("--annotations, --key and --runs go together")
    from diversity_tuning.judging.judge_reward import check_scorer_name

    check_scorer_name(args.reward)
    record = record_of(args)
    if is_finished(args.output, record, args.overwrite):
        return
    result = run(args, record)
    shown = {name: result[name]["value"] for name in ("accuracy", "f1", "auc", "kappa", "pair_accuracy", "own_vs_other")}
    print({name: None if value is None else round(value, 3) for name, value in shown.items()}, flush=True)


def make_parser() -> Parser:
    """The command's flags."""
    parser = Parser("scripts_eval.judge_agreement", __doc__)
    parser.add_argument("--reward", required=True, help="a reward model's folder or hub id, judge.yaml, or builtin:length")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--labels", help="what people said: rows of prompt, response, label")
    given.add_argument("--pairs", help="what people preferred: rows of prompt, chosen, rejected")
    given.add_argument("--annotations", nargs="+", help="what people preferred: annotations/ of human studies")
    parser.add_argument("--key", nargs="+", help="with --annotations: key.csv of every item file")
    parser.add_argument("--runs", nargs="+", help="with --annotations: the evaluated runs whose stories were shown")
    parser.add_argument("--trained_on", nargs="+", metavar="FILE", help="leave out what shares a prompt or text with these")
    parser.add_argument(
        "--threshold", type=float, help="score above which a response is good; default: learned, cross-fitted; of judge.yaml .5"
    )
    parser.add_argument("--output", required=True, help="folder")
    parser.add_argument("--draws", type=at_least(1), default=1000, help="bootstrap draws")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch_size", type=at_least(1), default=32)
    parser.add_argument("--device", help="cpu, cuda, …; default: cuda where there is one")
    parser.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False)
    group = parser.add_argument_group("an LLM judge, in place of what its file says")
    group.add_argument("--judge_base_url", help="where its server is now")
    group.add_argument("--judge_cache", help="folder of its paid answers")
    group.add_argument("--judge_max_cost", type=float, help="US dollars to spend in this run at most; needs its file's prices")
    return parser


def record_of(args: argparse.Namespace) -> dict:
    """The provenance: settings, and the fingerprint of every file and folder that is read."""
    inputs = {"labels": args.labels, "pairs": args.pairs}
    for name in ("annotations", "key", "runs", "trained_on"):
        inputs |= {f"{name}_{number}": path for number, path in enumerate(getattr(args, name) or [])}
    settings = {name: getattr(args, name) for name in ("reward", "threshold", "draws", "seed")}
    if not args.reward.startswith("builtin:"):
        inputs["reward"] = args.reward
    return provenance("judge_agreement", settings, inputs)


def run(args: argparse.Namespace, record: dict) -> dict:
    """Read, judge, compare; the content of agreement.json."""
    from diversity_tuning.errors import UserError
    from diversity_tuning.judging.check import check
    from diversity_tuning.judging.judge_reward import is_judge, load_scorer
    from diversity_tuning.judging.read import read_labels_or_pairs

    data = people(args)
    rows = len(data.responses)
    for path in args.trained_on or []:
        data = data.without(read_labels_or_pairs(path))
    if not data.responses:
        source = args.labels or args.pairs or args.annotations[0]
        raise UserError(f"{source}: all {rows} responses share a prompt or text with --trained_on")
    moved = {"base_url": args.judge_base_url, "cache": args.judge_cache, "max_cost": args.judge_max_cost}
    if not is_judge(args.reward) and any(value is not None for value in moved.values()):
        raise UserError(f"--judge_…: only for an LLM judge, and --reward {args.reward} is none")
    score = load_scorer(args.reward, args.device, args.batch_size, **(moved if is_judge(args.reward) else {}))
    threshold = 0.5 if args.threshold is None and is_judge(args.reward) else args.threshold
    with atomic_folder(args.output) as folder:
        result = check(score, data, folder, args.reward, threshold, args.draws, args.seed)
        about = {"judge": score.about} if is_judge(args.reward) else {}
        write_provenance(folder, record, counts={"responses_left_out_as_trained_on": rows - len(data.responses)}, **about)
    return result


def people(args: argparse.Namespace):
    """What people said, from the one source that was given."""
    from diversity_tuning.human_eval.preferences import preferred_stories
    from diversity_tuning.judging.read import read_labels, read_pairs

    if args.annotations:
        return preferred_stories(args.annotations, args.key, args.runs)
    return read_labels(args.labels) if args.labels else read_pairs(args.pairs)


if __name__ == "__main__":
    main()
