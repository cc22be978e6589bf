r"""From the annotations of a human study and its key to win rates, a significance test, agreement and position bias.

python -m scripts_eval.human_eval_analysis --annotations runs/human/study/annotations --key runs/human/ddpo-dpo/key.csv \
    --output results/human
python -m scripts_eval.human_eval_analysis --annotations human-eval/study/annotations --key human-eval/sample/key.csv \
    --output runs/mine/human-report

Writes report.md, wins.csv, wins.tex, annotators.csv, answers.csv, human.json, wins.png and .pdf. Annotators appear as numbers.
"""

import argparse
from pathlib import Path

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.next_steps import print_next


@command
def main(argv=None) -> None:
    parser = Parser("scripts_eval.human_eval_analysis", __doc__)
    parser.add_argument("--annotations", nargs="+", required=True, help="annotations/ of one study, or of several")
    parser.add_argument("--key", nargs="+", required=True, help="key.csv of every item file they showed")
    parser.add_argument("--output", required=True, help="folder to write to")
    parser.add_argument("--exclude", nargs="+", default=None, metavar="NAME", help="annotators to leave out, by id")
    parser.add_argument("--figure", action=argparse.BooleanOptionalAction, default=True, help="draw the figure")
    args = parse_with_recipe(parser, argv)
    from diversity_tuning.human_eval.annotations import read_answers, read_key
    from diversity_tuning.human_eval.report import write_report

    answers = read_answers(args.annotations, read_key(args.key), args.exclude)
    results = write_report(answers, Path(args.output), args.figure)
    print(f"{args.output}: report of {len(answers)} answers by {answers['annotator'].nunique()} annotators", flush=True)
    for result in results:
        wins = result["wins"]
        counts = f"{wins['one']} to {wins['other']} of {wins['items']} items, {wins['undecided']} undecided"
        print(f"{result['question']}: {result['one']} against {result['other']} {counts}, p = {wins['p']:.3g}", flush=True)
    print_next("human_analysis", args.output)
