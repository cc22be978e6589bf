r"""Synthetic specifications and stories: text for the base model, SFT data, and preference pairs at two levels.

    python -m studies.horror.specifications --config recipes/horror/specifications.yaml --seed 0 \
        --output runs/horror/seed0/data

Under ``--output``: ``pretraining`` (what the base model reads: horror, wholesome and off-style stories), ``sft`` (one horror
story per specification), ``easy`` and ``hard`` (pairs with the same preferred stories; see docs/HORROR.md), each a data set of
train, validation and test, and ``separability.json``, which says how far words alone tell the two sides of a pair apart.
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.horror.specifications")

import argparse
import dataclasses
import itertools
import json
from collections.abc import Sequence

import numpy as np

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_json, write_provenance
from studies.horror.play.prompts import read_prompt
from studies.horror.specification import OUTSIDE, POSTER, Specification, draw_specifications
from studies.horror.stories import GOOD, draw_quality, hard_fault, write_story
from studies.pools import pick

SPLITS = (schema.TRAIN, schema.VALIDATION, schema.TEST)
LEVELS = ("easy", "hard")
_KINDS = ("horror", "wholesome", "off_style")
_KIND_SHARES = (0.6, 0.25, 0.15)  # of the base model's text
_DRAFTS = 8  # of a dispreferred story; the one nearest in length to the preferred one is kept


def build_parser() -> argparse.ArgumentParser:
    parser = Parser("studies.horror.specifications", __doc__)
    parser.add_output("folder for the data sets")
    parser.add_argument("--seed", type=int, default=0)
    sizes = {"train": (600, 160), "validation": (40, 24), "test": (60, 50)}
    for split, (sft, preference) in sizes.items():
        parser.add_argument(f"--sft_{split}", type=at_least(1), default=sft, help="specifications, one story each")
        parser.add_argument(f"--preference_{split}", type=at_least(1), default=preference, help="specifications of pairs")
    parser.add_argument("--pairs", type=at_least(1), default=3, help="pairs per specification")
    parser.add_argument("--pretraining", type=at_least(1), default=8000, help="stories for the base model")
    parser.add_argument(
        "--held_out", type=at_least(0), default=0,
        help="specifications from pools that no story is written for, and the poster's prompt, in the test split of sft",
    )  # fmt: skip
    parser.add_argument("--good", type=float, default=0.65, help="how often taboo, twist and end are each right in SFT stories")
    return parser


@command
def main(argv=None) -> None:
    args = parse_with_recipe(build_parser(), argv)
    settings = {key: value for key, value in vars(args).items() if key != "output"}
    record = provenance("horror_specifications", settings, {})
    if is_finished(args.output, record, args.overwrite):
        return
    from datasets import Dataset, DatasetDict

    from studies.horror.separability import describe, separability

    data = make_data(args)
    figures = {level: separability(data[level][schema.TRAIN] + data[level][schema.TEST], args.seed) for level in LEVELS}
    with atomic_folder(args.output) as folder:
        for name, splits in data.items():
            rows = {split: Dataset.from_list(found) for split, found in splits.items()}
            DatasetDict(rows).save_to_disk(str(folder / name))
        write_json(folder / "separability.json", figures)
        counts = {name: {split: len(rows) for split, rows in splits.items()} for name, splits in data.items()}
        write_provenance(folder, record, counts=counts)
    print(f"{args.output}: {json.dumps(counts)}", flush=True)
    print(describe(figures), flush=True)


def make_data(args: argparse.Namespace) -> dict[str, dict[str, list[dict]]]:
    """Data set -> split -> rows. Every specification is drawn once, so none is in two splits or data sets."""
    rng = np.random.default_rng(args.seed)
    sizes = {("sft", split): getattr(args, f"sft_{split}") for split in SPLITS}
    sizes |= {("preference", split): getattr(args, f"preference_{split}") for split in SPLITS}
    sizes["pretraining", schema.TRAIN] = args.pretraining
    drawn = iter(draw_specifications(rng, sum(sizes.values())))
    specifications = {part: [next(drawn) for _ in range(size)] for part, size in sizes.items()}
    data: dict[str, dict[str, list[dict]]] = {name: {} for name in ("pretraining", "sft", *LEVELS)}
    for (name, split), specs in specifications.items():
        if name == "preference":
            data["easy"][split], data["hard"][split] = preference_rows(rng, specs, args.pairs)
        else:
            kinds = ("horror",) if name == "sft" else _KINDS
            data[name][split] = [story_row(rng, spec, kinds, args.good) for spec in specs]
    if args.held_out:
        data["sft"][schema.TEST] = _with_held_out(data["sft"][schema.TEST], args)
    return data


def _with_held_out(inside: list[dict], args: argparse.Namespace) -> list[dict]:
    """The poster's fields in its layout and in ours, then the rows and those of held-out pools by turns, which have no story.

    They are drawn from a stream of their own, so that the other rows are what they are without them.
    """
    drawn = draw_specifications(np.random.default_rng([args.seed, 1]), args.held_out, OUTSIDE)
    poster = Specification(**read_prompt(POSTER), taboo_kept=False)
    posts = [(POSTER.split("\n", 1), poster), *((spec.to_post(), spec) for spec in (poster, *drawn))]
    first, second, *outside = [_row(post, spec, []) for post, spec in posts]
    both = (row for rows in itertools.zip_longest(inside, outside) for row in rows if row)
    return [first, second, *both]


def story_row(rng: np.random.Generator, spec: Specification, kinds: tuple[str, ...], good: float) -> dict:
    """One specification with one story, in the columns that the training commands read."""
    kind = kinds[0] if len(kinds) == 1 else str(rng.choice(kinds, p=_KIND_SHARES))
    story = write_story(rng, spec, kind, draw_quality(rng, good))
    return _row(spec.to_post(), spec, [story])


def _row(post: Sequence[str], spec: Specification, stories: list[str]) -> dict:
    texts = dict.fromkeys((schema.COMMENT_TEXTS, schema.FILTERED_COMMENT_TEXTS), stories)
    return (
        dict(zip((schema.POST_TITLE, schema.POST_TEXT), post, strict=True))
        | texts
        | {"specification": dataclasses.asdict(spec)}
    )


def preference_rows(rng: np.random.Generator, specs: list[Specification], pairs: int) -> tuple[list[dict], list[dict]]:
    """The pairs of both levels: the same preferred horror stories against easy and against hard dispreferred ones."""
    easy, hard = [], []
    for spec in specs:
        for _ in range(pairs):
            preferred = write_story(rng, spec)
            kind, fault = pick(rng, ("wholesome", "off_style")), hard_fault(rng)
            drafts = [write_story(rng, spec, kind, GOOD) for _ in range(_DRAFTS)]
            easy.append(pair_row(spec, preferred, nearest_in_length(drafts, preferred), kind))
            drafts = [write_story(rng, spec, "horror", fault) for _ in range(_DRAFTS)]
            named = next(f"{part} {value}" for part, value in dataclasses.asdict(fault).items() if value != getattr(GOOD, part))
            hard.append(pair_row(spec, preferred, nearest_in_length(drafts, preferred), named))
    return easy, hard


def nearest_in_length(drafts: list[str], story: str) -> str:
    """The draft whose number of words is nearest to the story's; the first of several."""
    return min(drafts, key=lambda draft: abs(len(draft.split()) - len(story.split())))


def pair_row(spec: Specification, preferred: str, dispreferred: str, fault: str) -> dict:
    """One pair in the columns of the pair stages; ``fault`` says what is wrong with the dispreferred story."""
    prompt = spec.to_prompt()
    return {
        schema.CHOSEN: schema.to_messages(prompt, preferred),
        schema.REJECTED: schema.to_messages(prompt, dispreferred),
        schema.SCORE_CHOSEN: 1,
        schema.SCORE_REJECTED: 0,
        "fault": fault,
        "specification": dataclasses.asdict(spec),
    }


if __name__ == "__main__":
    main()
