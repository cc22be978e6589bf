r"""Fit a caption reward to one half of the captions, and measure how well it orders held-out captions of the same contests.

    D=runs/captions/seed0/data; python -m studies.captions.fit --source $D/other --held_out $D/scored \
        --embedding_cache runs/captions/embeddings --output runs/captions/seed0/reward-b

``--held_out`` has a split ``validation``, on which the parts of the reward are weighed, and a split ``test``, on which it is
measured: Spearman's correlation of reward and votes within each contest, with an interval over contests (accuracy.json). Both
may be of other contests than ``--source``.
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.captions.fit")

import json

import numpy as np

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.errors import UserError
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance

ACCURACY = "accuracy.json"


def build_parser() -> Parser:
    parser = Parser("studies.captions.fit", __doc__)
    parser.add_argument("--source", required=True, help="data set whose split train is fitted")
    parser.add_argument("--held_out", required=True, help="data set with the splits validation and test")
    parser.add_output("folder for the reward")
    parser.add_argument("--semantic_model", default="builtin:minilm", help="encoder, kept as it is")
    parser.add_argument("--embedding_cache", default=None, help="folder that keeps embeddings between runs")
    parser.add_argument("--batch_size", type=at_least(1), default=32, help="texts embedded at once")
    parser.add_argument(
        "--accept_flat", action="store_true", help="weigh all parts alike where none rises with validation votes; default: end"
    )
    return parser


@command
def main(argv=None) -> None:
    args = parse_with_recipe(build_parser(), argv)
    inputs = {"source": args.source, "held_out": args.held_out}
    settings = {"semantic_model": args.semantic_model} | ({"accept_flat": True} if args.accept_flat else {})
    record = provenance("caption_reward", settings, inputs)
    if is_finished(args.output, record, args.overwrite):
        return
    from diversity_tuning.embeddings import load_encoder
    from diversity_tuning.embeddings.encoder import tell_cut
    from studies.captions.caption_reward import fit_reward, weigh_parts
    from studies.captions.data import read_captions

    fitted = read_captions(args.source, schema.TRAIN)
    held_out = {name: read_captions(args.held_out, name) for name in (schema.VALIDATION, schema.TEST)}
    encoder = load_encoder(args.semantic_model, batch_size=args.batch_size, cache=args.embedding_cache)
    cut = tell_cut(encoder, [text for part in (fitted, *held_out.values()) for text in part.texts])
    reward = fit_reward(fitted.prompts, fitted.texts, fitted.targets, encoder.encode)
    validation, test = held_out[schema.VALIDATION], held_out[schema.TEST]
    try:
        weigh_parts(reward, validation.prompts, validation.texts, validation.targets)
    except UserError as error:
        if not args.accept_flat:
            raise
        print(f"{args.output}: all parts weighed alike: {error}", flush=True)
    figures = accuracy(reward, test) | {"captions fitted": len(fitted.texts), "captions measured": len(test.texts)}
    with atomic_folder(args.output) as folder:
        reward.save(folder, semantic_model=args.semantic_model)
        (folder / ACCURACY).write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        write_provenance(folder, record, weights=reward.weights.tolist(), truncated_texts=cut)
    mean, low, high = (figures["spearman"]["reward"][part] for part in ("mean", "low", "high"))
    print(f"{args.output}: Spearman {mean:.3f} [{low:.3f}, {high:.3f}] within {len(figures['by_contest']['reward'])} contests")


def accuracy(reward, captions) -> dict:
    """Spearman's correlation with the votes within each contest, of the reward, of its two kinds of features, and of length.

    ``{"spearman": name -> mean and interval over contests, "by_contest": name -> prompt -> correlation}``.
    """
    from diversity_tuning.evaluation.statistics import mean_interval

    scores = reward.by_kind(captions.prompts, captions.texts)
    scores["length"] = np.array([float(len(text)) for text in captions.texts])
    contests = list(dict.fromkeys(captions.prompts))
    prompts = np.array(captions.prompts, dtype=object)
    by_contest = {
        name: {prompt: spearman(values[prompts == prompt], captions.votes[prompts == prompt]) for prompt in contests}
        for name, values in scores.items()
    }
    means = {name: mean_interval(np.array(list(found.values()))) for name, found in by_contest.items()}
    return {"spearman": means, "by_contest": by_contest}


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation; 0 where a side has one value only."""
    from scipy.stats import spearmanr

    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(spearmanr(one, other).statistic)


if __name__ == "__main__":
    main()
