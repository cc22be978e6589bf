"""What a human study of a given size can find: power and false positives on simulated annotators, and the paper's counts.

python -m scripts_eval.human_eval_power --items 25 50 100 --preference 0.5 0.6 0.65 0.7 0.8
python -m scripts_eval.human_eval_power --items 50 --preference 0.5 0.7 --studies 100
"""

import argparse

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.errors import UserError

# Human evaluation of the paper: percent for one condition, percent for the other; the rest found it hard to decide.
REPORTED = {
    "DDPO-both against GPT-4o, quality": (68, 24),
    "DDPO-both against GPT-4o, diversity": (100, 0),
    "DDPO-both against DPO, diversity": (62, 26),
}


@command
def main(argv=None) -> None:
    parser = Parser("scripts_eval.human_eval_power", __doc__)
    parser.add_argument("--items", nargs="+", type=int, default=[25, 50, 100], help="items of the study")
    parser.add_argument("--preference", nargs="+", type=float, default=[0.5, 0.6, 0.7, 0.8], help="true share; 0.5: none")
    parser.add_argument("--labels_per_item", type=int, default=3, help="annotators per item")
    parser.add_argument("--items_per_annotator", type=int, default=25, help="items per annotator")
    parser.add_argument("--hard", type=float, default=0.1, help="share of answers that are 'hard to decide'")
    parser.add_argument("--item_spread", type=float, default=0.5, help="how much items differ, in log-odds")
    parser.add_argument("--annotator_spread", type=float, default=0.3, help="how much annotators differ, in log-odds")
    parser.add_argument("--position", type=float, default=0.0, help="pull of Set A, in log-odds")
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies per row")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed")
    args = parse_with_recipe(parser, argv, extra="human-eval")
    if not all(0 < value < 1 for value in args.preference) or not 0 <= args.hard < 1:
        raise UserError("--preference must be between 0 and 1, --hard at least 0 and below 1")
    if min(*args.items, args.labels_per_item, args.items_per_annotator, args.studies) < 1:
        raise UserError("--items, --labels_per_item, --items_per_annotator and --studies must be at least 1")
    if args.item_spread < 0 or args.annotator_spread < 0:
        raise UserError("--item_spread and --annotator_spread must be at least 0")
    print_rates(args)
    print_reported()


def print_rates(args: argparse.Namespace) -> None:
    """The share of simulated studies that find a difference, as a Markdown table."""
    from diversity_tuning.human_eval.simulation import Design, detection_rates

    people = ("labels_per_item", "items_per_annotator", "hard", "item_spread", "annotator_spread", "position")
    shared = {name: getattr(args, name) for name in people}
    print(", ".join(f"{name} {value}" for name, value in shared.items()), f"({args.studies} studies per row)\n")
    print(
        "| items | true preference | sign test, p < .05 | net preference beyond 0 | position, p < .05 |\n| - | - | - | - | - |"
    )
    for items in args.items:
        for preference in args.preference:
            rates = detection_rates(Design(items=items, preference=preference, **shared), args.studies, args.seed)
            print(f"| {items} | {preference:.0%} | " + " | ".join(f"{rate:.1%}" for rate in rates.values()) + " |", flush=True)


def print_reported(items: int = 50) -> None:
    """The p-values that the paper's percentages imply for 50 items."""
    from diversity_tuning.human_eval.statistics import sign_test

    print(f"\nReported percentages, taken as counts of {items} items:")
    for name, (one, other) in REPORTED.items():
        wins, losses = (round(items * percent / 100) for percent in (one, other))
        print(f"{name}: {one}% to {other}%, {wins} to {losses}, p = {sign_test(wins, losses):.2g}")
