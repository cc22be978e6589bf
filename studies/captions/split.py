r"""Split the captions of every contest: half A, half B, validation and test. All parts have the same contests.

    python -m studies.captions.split --source caption_contest_full.jsonl.gz --seed 0 --output runs/captions/seed0/data

``--output`` holds two data sets, in the form of data stage 0. ``scored``: ``train`` (half A), ``validation`` and ``test``;
from here on the path is that of any data. ``other``: ``train`` (half B), which only the second reward model reads.
Captions that differ in case and punctuation alone stay together, so that no test caption stands in a half.
With ``--folds K`` there is a third, ``policy``: half A's captions by contest, ``train``, ``validation`` and ``test``. The
contests of ``test`` are those of fold ``--seed`` modulo K: K seeds test every contest once, and train on none that they test.
With ``--deal prompts``, for few responses a prompt, a prompt's responses stay together: ``--half`` of the prompts that are not
held out are half B; ``scored`` and ``policy`` have the others, and those held out, on which reward B is weighed and measured.
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.captions.split")

from pathlib import Path

import numpy as np

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.errors import UserError
from diversity_tuning.runs import is_finished, provenance
from studies.captions.copies import normalised
from studies.captions.votes import PARTS, deal

LEAST, LEAST_OF_PART = 20, 2  # distinct captions of a contest, and of each part: one vote has no place among others
DEALT = ("responses", "prompts")


def build_parser() -> Parser:
    parser = Parser("studies.captions.split", __doc__)
    parser.add_argument("--source", required=True, help="contests with captions and votes: .jsonl, .jsonl.gz or .parquet")
    parser.add_output("folder for the data sets")
    parser.add_argument("--seed", type=at_least(0), default=0, help="which captions go where")
    parser.add_argument("--half", type=float, default=0.45, help="share of half B; half A gets what is left")
    parser.add_argument("--validation", type=float, default=0.03, help="share of the validation part, of --deal responses")
    parser.add_argument("--test", type=float, default=0.07, help="share of the test part, of --deal responses")
    parser.add_argument("--most", type=at_least(LEAST), default=None, help="captions of a contest, at most, drawn at random")
    parser.add_argument("--folds", type=at_least(2), default=None, help="also hold out whole contests: one part of this many")
    parser.add_argument(
        "--deal", choices=DEALT, default=DEALT[0], help="what a half has: responses of every prompt, or prompts"
    )
    return parser


@command
def main(argv=None) -> None:
    args = parse_with_recipe(build_parser(), argv)
    shares = {"train": None, "other": args.half, "validation": args.validation, "test": args.test}
    given = (args.half, args.validation, args.test)
    if not (all(share > 0 for share in given) and sum(given) < 1):
        raise UserError("--half, --validation and --test must each be above 0, and together below 1")
    whole = args.deal == DEALT[1]
    if whole and not args.folds:
        raise UserError("--deal prompts: needs --folds, whose held-out prompts reward B is weighed and measured on")
    from diversity_tuning.data import sources, storage, tables

    sources.check_source(args.source)
    storage.require_apart(source=args.source, output=args.output)
    left_out = {"output", "source", *(("validation", "test") if whole else ("deal",))}  # what decides nothing
    settings = {key: value for key, value in vars(args).items() if key not in left_out}
    record = provenance("captions_split", settings, {"source": args.source})
    names = ("scored", "other", "policy") if args.folds else ("scored", "other")
    places = {name: Path(args.output) / name for name in names}
    missing = [name for name, path in places.items() if not is_finished(path, {**record, "kind": name}, args.overwrite)]
    if missing:
        with storage.stage_output(places[missing[0]]) as (_, work):
            source = tables.load_source(args.source, work)
            parts, counts = split_contests(source, {"train": None} if whole else shares, args.seed, args.most)
            made = data_sets(parts, args, counts)
        for name in missing:
            with storage.stage_output(places[name]) as (folder, _):
                storage.finish(made[name], folder, {**record, "kind": name}, captions=counts)
        print(f"{args.output}: {counts['contests']} prompts; responses: " + ", ".join(f"{counts[p]} {p}" for p in PARTS))


def data_sets(parts: dict, args, counts: dict) -> dict[str, dict]:
    """``scored``, ``other`` and with ``--folds`` ``policy``: split -> data set of each.

    ``parts``: of :func:`split_contests`. With ``--deal prompts`` there is ``train`` alone, with all responses, and the parts'
    ``counts`` are written here.
    """
    if not args.folds:
        return {"scored": {k: v for k, v in parts.items() if k != "other"}, "other": {"train": parts["other"]}}
    rows = fold_rows(len(parts["train"]), args.folds, args.seed % args.folds)
    if args.deal == DEALT[0]:
        policy = {part: parts["train"].select(places) for part, places in rows.items()}
        return {
            "scored": {k: v for k, v in parts.items() if k != "other"},
            "other": {"train": parts["other"]},
            "policy": policy,
        }
    halves = deal(len(rows["train"]), {"train": None, "other": args.half}, np.random.default_rng(args.seed))
    if empty := next((name for name, own in halves.items() if not len(own)), None):
        raise UserError(f"--half {args.half}: of {len(rows['train'])} prompts none goes to the part '{empty}'")
    rows |= {name: [rows["train"][i] for i in own] for name, own in halves.items()}
    made = {name: parts["train"].select(places) for name, places in rows.items()}
    counts |= {name: sum(map(len, own[schema.COMMENT_TEXTS])) for name, own in made.items()}
    other = {"train": made.pop("other")}
    return {"scored": made, "other": other, "policy": made}


def fold_rows(contests: int, folds: int, fold: int) -> dict[str, list[int]]:
    """The rows of ``train``, ``validation`` and ``test`` of one fold of n contests, each ascending and none twice.

    Over all folds every contest is tested once. Half of the test contests of the fold before it, of the last one for fold 0,
    are for validation, so that settings chosen on fold 0's have not seen a test contest of any fold but the last.
    A part without a contest is a :class:`~diversity_tuning.errors.UserError`.
    """
    order = np.random.default_rng(0).permutation(contests)  # the same in all folds
    test, before = order[fold::folds], order[(fold - 1) % folds :: folds]
    validation = before[: (len(before) + 1) // 2]
    train = np.setdiff1d(order, np.concatenate([test, validation]))
    parts = {"train": train, "validation": validation, "test": test}
    if empty := [name for name, rows in parts.items() if not len(rows)]:
        raise UserError(f"--folds {folds}: of {contests} contests none is left for {empty[0]}; give fewer folds, 2 at least")
    return {name: sorted(map(int, rows)) for name, rows in parts.items()}


def split_contests(source, shares: dict, seed: int, most: int | None = None) -> tuple[dict, dict]:
    """(data set of every part, counts). ``source``: a row per contest, as the data stages read it; ``shares``: of :func:`deal`.

    A row of every part keeps the contest's prompt, and the captions, votes and transformed votes of that part. Of captions
    that :func:`~.copies.normalised` makes equal the one with the most votes counts. A contest that cannot be split, has votes
    below 0 or another one's prompt is a :class:`~diversity_tuning.errors.UserError`.
    """
    from datasets import Dataset

    from diversity_tuning.data.score import transform_votes, vote_range

    low, high = vote_range(source)
    least = LEAST if len(shares) > 1 else LEAST_OF_PART
    columns: dict[str, dict[str, list]] = {part: {} for part in shares}
    prompts: dict[str, int] = {}
    counts = {"contests": len(source), **dict.fromkeys(PARTS, 0), "the same but for case and punctuation": 0}
    for number, row in enumerate(source):
        kept = distinct(row[schema.COMMENT_TEXTS], row[schema.COMMENT_SCORES])
        counts["the same but for case and punctuation"] += len(row[schema.COMMENT_TEXTS]) - len(kept)
        title, where = _prompt(row), f"contest {number + 1} ('{row[schema.POST_TITLE][:60]}')"
        _check(
            row, where, len(kept), least, prompts.setdefault(schema.prompt_text(title, row[schema.POST_TEXT]), number), number
        )
        rng = np.random.default_rng([seed, number])
        kept = np.sort(rng.permutation(kept)[:most])
        transformed = transform_votes(row[schema.COMMENT_SCORES], low, high)
        for part, places in deal(len(kept), shares, rng).items():
            if len(places) < LEAST_OF_PART:
                raise UserError(
                    f"{where}: of {len(kept)} captions {len(places)} go to the part '{part}', which needs {LEAST_OF_PART};"
                    " give it a larger share"
                )
            own = kept[places]
            made = {
                schema.POST_TITLE: title,
                schema.POST_TEXT: row[schema.POST_TEXT] or "",
                **{name: row[name] for name in (schema.POST_SCORES,) if name in row},
                schema.COMMENT_TEXTS: [row[schema.COMMENT_TEXTS][i].strip() for i in own],
                schema.COMMENT_SCORES: [row[schema.COMMENT_SCORES][i] for i in own],
                schema.TRANSFORMED_SCORE: transformed[own].tolist(),
            }
            counts[part] += len(own)
            for name, value in made.items():
                columns[part].setdefault(name, []).append(value)
    return {part: Dataset.from_dict(found) for part, found in columns.items()}, counts


def _prompt(row: dict) -> str:
    from diversity_tuning.data.score import clean_title

    return clean_title(row[schema.POST_TITLE]).strip('"')


def _check(row: dict, where: str, captions: int, least: int, first: int, number: int) -> None:
    """:class:`UserError` for a contest that cannot be used. ``first``: the number of the first contest with its prompt."""
    if captions < least:
        other = "" if least < LEAST else "; --folds K --deal prompts is for few responses a prompt"
        raise UserError(f"{where} has {captions} captions, fewer than {least}; leave the contest out{other}")
    if first != number:
        raise UserError(f"{where} has the same prompt as contest {first + 1}; put their captions in one row")
    if min(row[schema.COMMENT_SCORES]) < 0:
        place = int(np.argmin(row[schema.COMMENT_SCORES]))
        raise UserError(f"{where}: caption {place + 1} has {row[schema.COMMENT_SCORES][place]} votes; votes count from 0 up")


def distinct(texts: list[str], votes: list[int]) -> np.ndarray:
    """Places of the captions to keep, ascending: of those equal once normalised the one with the most votes, none empty."""
    best: dict[str, int] = {}
    for place, text in enumerate(texts):
        key = normalised(text)
        if key and (key not in best or votes[place] > votes[best[key]]):
            best[key] = place
    return np.array(sorted(best.values()), dtype=int)


if __name__ == "__main__":
    main()
