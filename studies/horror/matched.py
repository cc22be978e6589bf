r"""A third level of pairs, matched in likelihood: which story a policy finds likelier says little of which is preferred.

    python -m studies.horror.matched --data runs/horror/seed0/data --base_model runs/horror/seed0/base \
        --adapter runs/horror/seed0/generation --output runs/horror/seed0/data-matched

Every pair of ``hard`` is written anew with the same specification and fault: of some drafts of each side the two are kept whose
log-probabilities under the policy are nearest, among drafts of about one length. Pairs further apart than ``--gap`` are
dropped. ``likelihood.json`` beside them says how many are kept, and how often the preferred story is the likelier one in first
drafts and in the matched ones.
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.horror.matched")

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.data.tables import read_split
from diversity_tuning.errors import UserError
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_json, write_provenance
from studies.horror.boundary import MAX_LENGTH, encode_example
from studies.horror.specification import from_mapping
from studies.horror.specifications import SPLITS, pair_row
from studies.horror.stories import GOOD, write_story

LENGTHS = 4  # words that the two sides may differ by

Score = Callable[[list[tuple[str, str]]], np.ndarray]  # (prompt, story) pairs -> log-probabilities


@command
def main(argv=None) -> None:
    parser = Parser("studies.horror.matched", __doc__)
    parser.add_argument("--data", required=True, help="output folder of the specifications command")
    parser.add_argument("--base_model", required=True)
    parser.add_argument("--adapter", default=None, help="of the policy, such as SFT's; default: the base model itself")
    parser.add_argument("--gap", type=float, default=1.0, help="nats that the two log-probabilities may differ by")
    parser.add_argument("--drafts", type=at_least(2), default=12, help="of each side of a pair")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch_size", type=at_least(1), default=50)
    parser.add_output("folder for the data set")
    args = parse_with_recipe(parser, argv)
    settings = {"seed": args.seed, "drafts": args.drafts, "gap": args.gap}
    record = provenance(
        "horror_matched",
        settings,
        {"data": str(Path(args.data) / "hard"), "base_model": args.base_model, "adapter": args.adapter},
    )
    if is_finished(args.output, record, args.overwrite):
        return
    from datasets import Dataset, DatasetDict

    hard = {
        split: read_split(str(Path(args.data) / "hard"), split, (schema.CHOSEN, "fault", "specification")) for split in SPLITS
    }
    score, rng = likelihood(args.base_model, args.adapter, args.batch_size), np.random.default_rng(args.seed)
    made, shares = {}, {}
    for split, rows in hard.items():
        made[split], shares[split] = match(rng, list(rows), args.drafts, score, args.gap)
    with atomic_folder(args.output) as folder:
        DatasetDict({split: Dataset.from_list(rows) for split, rows in made.items()}).save_to_disk(str(folder))
        write_json(folder / "likelihood.json", shares)
        write_provenance(folder, record, counts={split: len(rows) for split, rows in made.items()})
    print(f"{args.output}: {json.dumps(shares)}", flush=True)


def likelihood(base_model: str, adapter: str | None, batch_size: int) -> Score:
    """Log-probabilities of stories after their prompts under a policy."""
    from diversity_tuning.policy import load_policy
    from studies.horror.preference_accuracy import log_probs

    model, tokenizer = load_policy(base_model, adapter, None)
    return lambda pairs: log_probs(
        model, tokenizer, [encode_example(tokenizer, *pair, MAX_LENGTH) for pair in pairs], batch_size
    )


def match(rng: np.random.Generator, rows: list[dict], drafts: int, score: Score, gap: float = 1.0) -> tuple[list[dict], dict]:
    """Pairs of nearest likelihood for the rows of ``hard``: those that are at most ``gap`` nats apart, and what they show.

    The second value: ``pairs`` asked for, ``kept``, and the share of likelier preferred stories, ``before`` and ``after``.
    """
    made, first, last = [], [], []
    for row in rows:
        spec = from_mapping(row["specification"])
        part, value = row["fault"].split(" ", 1)
        stories = [
            [write_story(rng, spec, quality=quality) for _ in range(drafts)]
            for quality in (GOOD, dataclasses.replace(GOOD, **{part: value}))
        ]
        prompt = spec.to_prompt()
        values = score([(prompt, story) for side in stories for story in side]).reshape(2, drafts)
        one, other = nearest(values, [[len(story.split()) for story in side] for side in stories])
        first.append(values[0, 0] > values[1, 0])
        if abs(values[0, one] - values[1, other]) > gap:
            continue
        last.append(values[0, one] > values[1, other])
        made.append(pair_row(spec, stories[0][one], stories[1][other], row["fault"]))
    if not made:
        raise UserError(f"no pair has drafts within {gap} nats of each other; give more --drafts or a larger --gap")
    shares = {"before": round(float(np.mean(first)), 3), "after": round(float(np.mean(last)), 3)}
    return made, {"pairs": len(rows), "kept": len(made), **shares}


def nearest(values: np.ndarray, lengths: list[list[int]]) -> tuple[int, int]:
    """Places of the two drafts, one of each side, with the nearest values among those of about one length.

    ``values``: ``(2, drafts)``. Where no two are of about one length, the pair with the least difference in length.
    """
    apart = np.abs(np.subtract.outer(*(np.array(side) for side in lengths)))
    gaps = np.abs(np.subtract.outer(values[0], values[1]))
    gaps = np.where(apart <= max(LENGTHS, apart.min()), gaps, np.inf)
    return tuple(int(place) for place in np.unravel_index(np.argmin(gaps), gaps.shape))


if __name__ == "__main__":
    main()
