r"""Measure sampled captions, contest by contest: rewards, diversity, distinct captions, copies of training captions, length.

    R=runs/captions/seed0; python -m studies.captions.measure --samples $R/samples/sft $R/samples/dpo \
        --source $R/data/filtered --reward_a $R/reward-a --reward_b $R/reward-b --embedding_cache runs/captions/embeddings \
        --output $R/measures

Beside the models stands a row ``people``: as many captions of the split, drawn at random. Writes contests.csv (model, contest,
measures; no texts) and examples.md (captions of every model, the first ones drawn, for a person to read).
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.captions.measure")

import json
from pathlib import Path

import numpy as np

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.errors import UserError
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance

PEOPLE = "people"
# Column -> what it is called in tables.
MEASURES = {
    "reward_a": "reward A", "reward_b": "reward B", "ngrams_b": "n-grams of B", "vectors_b": "MiniLM head of B",
    "semantic_diversity": "semantic diversity", "distinct": "distinct", "copies": "copies", "near_copies": "near copies",
    "words": "words",
}  # fmt: skip
TABLE, EXAMPLES = "contests.csv", "examples.md"
_SHOWN = 12  # captions of a model and contest in examples.md


def build_parser() -> Parser:
    parser = Parser("studies.captions.measure", __doc__)
    parser.add_argument("--samples", nargs="+", required=True, help="folders of scripts_eval.sample; a model goes by its name")
    parser.add_argument("--source", required=True, help="output of data stage 1: training captions, and people's of --split")
    parser.add_argument("--split", default=schema.TEST, help="split of people's captions")
    parser.add_argument("--reward_a", required=True, help="caption reward of the half that the policies were trained on")
    parser.add_argument("--reward_b", required=True, help="caption reward of the other half")
    parser.add_argument("--semantic_model", default="builtin:minilm", help="encoder of semantic diversity")
    parser.add_argument("--embedding_cache", default=None, help="folder that keeps embeddings between runs")
    parser.add_argument("--batch_size", type=at_least(1), default=64, help="texts embedded at once")
    parser.add_argument("--seed", type=at_least(0), default=0, help="which of people's captions are drawn")
    parser.add_output("folder for contests.csv and examples.md")
    return parser


def sample_files(folders: list[str], taken: tuple[str, ...] = ()) -> dict[str, Path]:
    """The samples of each model, which goes by its folder's name; a :class:`UserError` for equal or ``taken`` names."""
    from diversity_tuning.evaluation.files import SAMPLES

    found = {Path(folder).name: Path(folder) / SAMPLES for folder in folders}
    if len(found) < len(folders) or set(taken) & set(found):
        names = ", ".join([*(Path(folder).name for folder in folders), *taken])
        raise UserError(f"--samples: two folders are called alike ({names}), and a model goes by its folder's name")
    for path in found.values():
        if not path.is_file():
            raise UserError(f"{path}: no samples here; run scripts_eval.sample first")
    return found


@command
def main(argv=None) -> None:
    args = parse_with_recipe(build_parser(), argv)
    from studies.results.publish import write_cells

    inputs = sample_files(args.samples)
    settings = {"split": args.split, "seed": args.seed, "semantic_model": args.semantic_model}
    more = {"source": args.source, "reward_a": args.reward_a, "reward_b": args.reward_b}
    record = provenance("captions_measure", settings, {**inputs, **more})
    if is_finished(args.output, record, args.overwrite):
        return
    texts, rows = run(args, list(inputs))
    with atomic_folder(args.output) as folder:
        write_cells(folder / TABLE, [["model", "contest", "captions", *MEASURES], *rows])
        (folder / EXAMPLES).write_text(examples(texts), encoding="utf-8")
        write_provenance(folder, record, models=list(texts))
    print(f"{args.output}: {len(texts)} models, {len(rows)} rows", flush=True)


def run(args, names: list[str]) -> tuple[dict, list[list]]:
    """(model -> contest -> captions, rows of the table)."""
    from diversity_tuning.embeddings import load_encoder
    from studies.captions.caption_reward import load_caption_reward
    from studies.captions.copies import normalised
    from studies.captions.data import read_filtered

    encoder = load_encoder(args.semantic_model, batch_size=args.batch_size, cache=args.embedding_cache)
    folders = {name: getattr(args, f"reward_{name}") for name in ("a", "b")}
    rewards = {name: load_caption_reward(folder, args.semantic_model, encoder.encode) for name, folder in folders.items()}
    training = read_filtered(args.source, schema.TRAIN)
    texts = {name: sampled(folder) for name, folder in zip(names, args.samples, strict=True)}
    texts = {PEOPLE: drawn(read_filtered(args.source, args.split), texts[names[0]], args.seed)} | texts
    everywhere = frozenset(normalised(text) for captions in training.values() for text in captions)
    rows = []
    for model, by_contest in texts.items():
        for contest, captions in by_contest.items():
            found = measures(captions, contest, rewards, encoder.encode, training.get(contest, []), everywhere)
            rows.append([model, contest, len(captions), *(format(found[name], ".6g") for name in MEASURES)])
    return texts, rows


def sampled(folder: str) -> dict[str, list[str]]:
    """Contest -> sampled captions, in the order of the samples."""
    from diversity_tuning.evaluation.sampling.samples import read_samples

    found: dict[str, list[str]] = {}
    for row in read_samples(folder):
        found.setdefault(row.prompt, []).append(row.response)
    return found


def drawn(captions: dict[str, list[str]], like: dict[str, list[str]], seed: int) -> dict[str, list[str]]:
    """As many of the ``captions`` of each contest as ``like`` has, at random and without replacement; fewer where there are.

    A contest without any is a :class:`~diversity_tuning.errors.UserError`.
    """
    found = {}
    for number, (contest, samples) in enumerate(like.items()):
        own = captions.get(contest, [])
        if not own:
            raise UserError(
                f"'{contest.strip()[:60]}': sampled for, but the split has no captions of it; give the samples' split"
            )
        order = np.random.default_rng([seed, number]).permutation(len(own))[: len(samples)]
        found[contest] = [own[i] for i in order]
    return found


def measures(captions: list[str], contest: str, rewards: dict, encode, training: list[str], everywhere: frozenset) -> dict:
    """The :data:`MEASURES` of one model's captions for one contest, means or shares over captions.

    ``distinct``: different captions, once normalised, over all. ``copies``: equal to a training caption of any contest, once
    normalised. ``near_copies``: these, and those at least :data:`~.copies.NEAR` similar to one of the same contest.
    """
    from diversity_tuning.evaluation.metrics import diversity_by_prompt
    from studies.captions.copies import NEAR, normalised, similarity_to

    plain = [normalised(caption) for caption in captions]
    prompts = [contest] * len(captions)
    by_kind = rewards["b"].by_kind(prompts, captions)
    copies = np.array([bool(text) and text in everywhere for text in plain])
    near = copies | (similarity_to(captions, training) >= NEAR)
    values = {
        "reward_a": rewards["a"].score(prompts, captions), "reward_b": by_kind["reward"],
        "ngrams_b": by_kind["ngrams"], "vectors_b": by_kind["vectors"],
        "semantic_diversity": diversity_by_prompt(encode(captions), prompts), "distinct": [len(set(plain)) / len(plain)],
        "copies": copies, "near_copies": near, "words": [len(text.split()) for text in plain],
    }  # fmt: skip
    return {name: float(np.mean(value)) for name, value in values.items()}


def examples(texts: dict[str, dict[str, list[str]]]) -> str:
    """The first captions of every model for every contest, as Markdown; nothing is chosen."""
    lines = ["# The first samples drawn of every model, by prompt", ""]
    for contest in next(iter(texts.values())):
        lines += [f"## {contest.strip()}", ""]
        for model, by_contest in texts.items():
            shown = [json.dumps(text, ensure_ascii=False) for text in by_contest.get(contest, [])[:_SHOWN]]
            lines += [f"**{model}**", "", *(f"- {text}" for text in shown), ""]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
