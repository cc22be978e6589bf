"""Fit style vectors (:mod:`diversity_tuning.embeddings.style_vectors`) on the responses of the training split.

python -m diversity_tuning.stylometry fit --source out/filtered --output out/stylometry
python -m diversity_tuning.stylometry fit --source out/filtered --output out/stylometry --max_texts 500 --dimension 16

Use the folder as an encoder: ``builtin:stylometry:out/stylometry``.
"""

if not __package__:
    raise SystemExit("error: run it as python -m diversity_tuning.stylometry")

from pathlib import Path

import numpy as np

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.embeddings.style_vectors import fit_model, save_model
from diversity_tuning.errors import UserError
from diversity_tuning.next_steps import print_next
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance


def training_texts(source: str | Path, max_texts: int, seed: int) -> list[str]:
    """Distinct responses of stage 1's training split, at most ``max_texts`` of them, drawn with ``seed``."""
    from diversity_tuning.data.storage import load_stage
    from diversity_tuning.data.validate import FILTERED

    splits = load_stage(source, FILTERED, 1)
    if schema.TRAIN not in splits:
        raise UserError(f"{source}: no split '{schema.TRAIN}'; run stage 0 and 1 again")
    train = splits[schema.TRAIN].select_columns([schema.FILTERED_COMMENT_TEXTS])
    texts: list[str] = []
    for row in np.random.default_rng(seed).permutation(len(train)).tolist():  # whole prompts, until there are enough
        texts += train[row][schema.FILTERED_COMMENT_TEXTS]
        if len(texts) >= max_texts:
            break
    return list(dict.fromkeys(texts))[:max_texts]


def build_parser() -> Parser:
    parser = Parser("diversity_tuning.stylometry", __doc__)
    parser.add_argument("action", choices=["fit"], help="fit a model on the responses of the training split")
    parser.add_argument("--source", required=True, help="stage 1's output folder")
    parser.add_output("folder for the fitted model")
    parser.add_argument("--dimension", type=at_least(1), default=64, help="length of a style vector, at most")
    parser.add_argument("--max_features", type=at_least(1), default=5000, help="masked character n-grams, at most")
    parser.add_argument("--max_texts", type=at_least(1), default=20_000, help="texts to fit on, at most")
    parser.add_argument("--seed", type=at_least(0), default=42, help="which texts are drawn when there are more")
    return parser


@command
def main(argv=None) -> None:
    from diversity_tuning.data.storage import require_apart, require_stage

    args = parse_with_recipe(build_parser(), argv)
    require_stage(args.source, 1)
    require_apart(source=args.source, output=args.output)
    settings = {name: getattr(args, name) for name in ("dimension", "max_features", "max_texts", "seed")}
    if min(args.dimension, args.max_features, args.max_texts) < 2 or args.seed < 0:
        raise UserError("--dimension, --max_features and --max_texts must be at least 2, --seed at least 0")
    record = provenance("stylometry", settings, {"source": args.source})
    if is_finished(args.output, record, args.overwrite):
        return
    texts = training_texts(args.source, args.max_texts, args.seed)
    model = fit_model(texts, args.dimension, args.max_features, args.seed)
    with atomic_folder(args.output) as folder:
        save_model(model, folder)
        write_provenance(folder, record, texts=len(texts), ngrams=len(model.vocabulary), dimension=model.dimension)
    print(f"{args.output}: style vectors of {model.dimension} numbers, fitted on {len(texts)} texts")
    print_next("stylometry", args.output)


if __name__ == "__main__":
    main()
