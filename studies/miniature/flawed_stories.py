"""Synthetic stories with known labels, for trying judges: good ones, and bad ones with flaws put in.

    python -m studies.miniature.flawed_stories --source runs/miniature/seed0/data/filtered --output runs/labels
    python -m studies.miniature.flawed_stories --source prompts.jsonl --output runs/labels --flaws twist ending

Rows of prompt, response, label (1 good, 0 bad), and flaws: those that were put in. A bad story has one or two of --flaws. Any
story may also have one of --nuisances, which a reader could take for a flaw and the labels do not mind. train.jsonl and
heldout.jsonl have no prompt in common.
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.miniature.flawed_stories")

import json

import numpy as np

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.errors import UserError
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_json_lines, write_provenance
from studies.miniature.simulated_llm.flaws import POOL
from studies.miniature.simulated_llm.writing import write_flawed
from studies.miniature.specification import Specification, from_prompt

FLAWS = ("hero", "taboo", "twist", "sensory", "repetition", "ending", "nonsense")
NUISANCES = ("cliche", "moral", "stranger", "object", "companion", "preamble")
NUISANCE_SHARE = 0.3
TRAIN, HELD_OUT = "train.jsonl", "heldout.jsonl"


def labelled_stories(
    specification: Specification,
    rng: np.random.Generator,
    flaws: tuple[str, ...] = FLAWS,
    nuisances: tuple[str, ...] = NUISANCES,
    each: int = 2,
) -> list[dict]:
    """``each`` good and as many bad stories for one specification, in random order: rows without their prompt."""
    rows = []
    for label in [1, 0] * each:
        number = 0 if label else int(rng.integers(1, min(2, len(flaws)) + 1))
        put_in = {str(one) for one in rng.choice(flaws, number, replace=False)}
        nuisance = {str(rng.choice(nuisances))} if nuisances and rng.random() < NUISANCE_SHARE else set()
        text = write_flawed(rng, specification, put_in | nuisance)
        rows.append({"response": text, "label": label, "flaws": sorted(put_in), "nuisances": sorted(nuisance)})
    return [rows[i] for i in rng.permutation(len(rows))]


def build_parser() -> Parser:
    parser = Parser("studies.miniature.flawed_stories", __doc__)
    parser.add_argument("--source", required=True, help="the miniature's prompts: output of a data stage, or a file")
    parser.add_argument("--split", default="train", help="split of it")
    parser.add_output("folder for train.jsonl and heldout.jsonl")
    parser.add_argument("--flaws", nargs="+", default=list(FLAWS), choices=list(POOL), help="what makes a story bad")
    parser.add_argument("--nuisances", nargs="*", default=list(NUISANCES), choices=list(POOL), help="what does not")
    parser.add_argument("--num_prompts", type=at_least(2), default=200, help="prompts from the first row on")
    parser.add_argument("--held_out", type=float, default=0.5, help="share of the prompts for heldout.jsonl")
    parser.add_argument("--each", type=at_least(1), default=2, help="good stories, and bad stories, for a prompt")
    parser.add_argument("--seed", type=int, default=0)
    return parser


@command
def main(argv=None) -> None:
    args = parse_with_recipe(build_parser(), argv)
    both = sorted(set(args.flaws) & set(args.nuisances))
    if both:
        raise UserError(f"--nuisances {both[0]}: is one of --flaws, too; name it once")
    if not 0 < args.held_out < 1:
        raise UserError(f"--held_out {args.held_out}: must be between 0 and 1")
    settings = {name: value for name, value in vars(args).items() if name not in ("source", "output")}
    record = provenance("miniature.flawed_stories", settings, {"source": args.source})
    if is_finished(args.output, record, args.overwrite):
        return
    parts = _draw(args)
    with atomic_folder(args.output) as folder:
        for name, rows in parts.items():
            write_json_lines(folder / name, rows)
        write_provenance(folder, record, counts={name: len(rows) for name, rows in parts.items()})
    print(json.dumps({name: len(rows) for name, rows in parts.items()}), flush=True)


def _draw(args) -> dict[str, list[dict]]:
    from diversity_tuning.evaluation.sampling.samples import select_prompts

    prompts = list(select_prompts(args.source, args.split, 0, args.num_prompts, say=False).values())
    rng = np.random.default_rng(args.seed)
    held_out = max(1, min(len(prompts) - 1, round(args.held_out * len(prompts))))
    parts: dict[str, list[dict]] = {TRAIN: [], HELD_OUT: []}
    for number, place in enumerate(rng.permutation(len(prompts))):
        prompt = prompts[place]
        specification = from_prompt(prompt)
        if specification is None:
            raise UserError(f"{args.source}: row {place + 1}: not a prompt of the miniature")
        rows = labelled_stories(specification, rng, tuple(args.flaws), tuple(args.nuisances), args.each)
        parts[HELD_OUT if number < held_out else TRAIN] += [{"prompt": prompt, **row} for row in rows]
    return parts


if __name__ == "__main__":
    main()
