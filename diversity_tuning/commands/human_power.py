"""What a human study of a given size can find: power and false positives on simulated annotators, and the paper's counts.

python -m scripts_eval.human_eval_power --items 25 50 100 --preference 0.5 0.6 0.65 0.7 0.8
python -m scripts_eval.human_eval_power --items 50 --preference 0.5 0.7 --studies 100
"""

from dataclasses import dataclass

from diversity_tuning.cli import command
from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.ranges import Flags

# Human evaluation of the paper: percent for one condition, percent for the other; the rest found it hard to decide.
REPORTED = {
    "DDPO-both against GPT-4o, quality": (68, 24),
    "DDPO-both against GPT-4o, diversity": (100, 0),
    "DDPO-both against DPO, diversity": (62, 26),
}


@dataclass(frozen=True)
class PowerConfig(Flags):
    """Which studies are simulated."""

    items: list[int] = flag("items of the study", factory=lambda: [25, 50, 100], least=1)
    preference: list[float] = flag("true share; 0.5: none", factory=lambda: [0.5, 0.6, 0.7, 0.8], least=0, most=1)
    labels_per_item: int = flag("annotators per item", default=3, least=1)
    items_per_annotator: int = flag("items per annotator", default=25, least=1)
    hard: float = flag("share of answers that are 'hard to decide'", default=0.1, least=0, most=1)
    item_spread: float = flag("how much items differ, in log-odds", default=0.5, least=0)
    annotator_spread: float = flag("how much annotators differ, in log-odds", default=0.3, least=0)
    position: float = flag("pull of Set A, in log-odds", default=0.0)
    studies: int = flag("simulated studies per row", default=1000, least=1)
    seed: int = flag("seed", default=0, least=0)


@command
def main(argv=None) -> None:
    config = parse_flags(PowerConfig, "scripts_eval.human_eval_power", __doc__, argv, extra="human-eval")
    if not all(0 < value < 1 for value in config.preference) or config.hard >= 1:
        raise UserError("--preference must be between 0 and 1, --hard at least 0 and below 1")
    print_rates(config)
    print_reported()


def print_rates(config: PowerConfig) -> None:
    """The share of simulated studies that find a difference, as a Markdown table."""
    from diversity_tuning.human_eval.simulation import Design, detection_rates

    people = ("labels_per_item", "items_per_annotator", "hard", "item_spread", "annotator_spread", "position")
    shared = {name: getattr(config, name) for name in people}
    print(", ".join(f"{name} {value}" for name, value in shared.items()), f"({config.studies} studies per row)\n")
    print("| items | true preference | sign test, p < .05 | net preference beyond 0 | position, p < .05 |")
    print("| - | - | - | - | - |")
    for items in config.items:
        for preference in config.preference:
            rates = detection_rates(Design(items=items, preference=preference, **shared), config.studies, config.seed)
            print(f"| {items} | {preference:.0%} | " + " | ".join(f"{rate:.1%}" for rate in rates.values()) + " |", flush=True)


def print_reported(items: int = 50) -> None:
    """The p-values that the paper's percentages imply for 50 items."""
    from diversity_tuning.human_eval.statistics import sign_test

    print(f"\nReported percentages, taken as counts of {items} items:")
    for name, (one, other) in REPORTED.items():
        wins, losses = (round(items * percent / 100) for percent in (one, other))
        print(f"{name}: {one}% to {other}%, {wins} to {losses}, p = {sign_test(wins, losses):.2g}")
