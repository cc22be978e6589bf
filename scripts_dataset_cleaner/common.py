"""What the five stages share on their command lines."""

import argparse
from pathlib import Path

from diversity_tuning.cli import Parser, at_least, parse_with_recipe
from diversity_tuning.errors import UserError
from diversity_tuning.runs import NOT_SETTINGS


def stage_parser(name: str, description: str) -> Parser:
    """A parser with the flags of every stage."""
    parser = Parser(f"scripts_dataset_cleaner.{name}", description)
    parser.add_argument("--num_proc", type=at_least(1), default=1, help="processes; the output is the same for any number")
    parser.add_argument("--overwrite", action="store_true", help="replace an output made with other settings")
    return parser


def add_encoder_arguments(parser: Parser) -> None:
    """The flags of the stages that embed texts."""
    parser.add_argument(
        "--score_process", nargs="+", choices=["semantic", "style"], default=["semantic", "style"],
        help="types of deviation; two are combined by their geometric mean",
    )  # fmt: skip
    parser.add_argument("--semantic_model", default="jinaai/jina-embeddings-v3-hf", help="id, folder or builtin:minilm")
    parser.add_argument("--style_model", default="AnnaWegmann/Style-Embedding", help="id, folder or builtin:stylometry:FOLDER")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:0, or several: cuda:0,cuda:1")
    parser.add_argument("--batch_size", type=at_least(1), default=32, help="texts embedded at once on each device")
    parser.add_argument("--trust_remote_code", action="store_true", help="run code that comes with a model")
    parser.add_argument("--embedding_cache", default=None, help="folder that keeps embeddings between runs")
    parser.add_argument("--min_score_non_zero", action="store_true", help="raise deviations to --min_deviation at least")
    parser.add_argument(
        "--min_deviation", type=fraction, default=0.2, action=_Floor, help="the floor, and --min_score_non_zero; released: 0.2"
    )


class _Floor(argparse.Action):
    """A floor that is given is meant: it switches itself on."""

    def __call__(self, parser, namespace, value, option_string=None):
        namespace.min_deviation, namespace.min_score_non_zero = value, True


def fraction(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 1")
    return value


def parse(parser: Parser, argv) -> argparse.Namespace:
    """Parse flags and recipe; ``None`` as a path means no path."""
    args = parse_with_recipe(parser, argv)
    if len(set(getattr(args, "score_process", []))) != len(getattr(args, "score_process", [])):
        raise UserError("--score_process: a type is given twice")
    return args


def settings(args: argparse.Namespace, *paths: str) -> dict:
    """What decides the output: the arguments without ``paths``, without speed, and without encoders that are not used."""
    left_out = {*paths, *NOT_SETTINGS, "embedding_cache"}
    for kind in ("semantic", "style"):
        if kind not in getattr(args, "score_process", [kind]):
            left_out.add(f"{kind}_model")
    return {name: value for name, value in vars(args).items() if name not in left_out}


def tokenizer_inputs(name: str) -> dict:
    """The files that make a local tokenizer, or the hub id: the weights beside them decide nothing here."""
    parts = ("tokenizer", "chat_template", "special_tokens", "vocab", "merges", "added_tokens")
    files = sorted(file for file in Path(name).glob("*") if file.name.startswith(parts)) if Path(name).is_dir() else []
    return {file.name: file for file in files} or {"model_to_use": name}


def encoder_inputs(args: argparse.Namespace) -> dict[str, str]:
    """The models in use, by name, for provenance."""
    from diversity_tuning.embeddings import encoder_input

    return {f"{kind}_model": encoder_input(getattr(args, f"{kind}_model")) for kind in sorted(args.score_process)}


def open_stores(args: argparse.Namespace, work) -> list:
    """An embedding store for every type, in ``--embedding_cache`` or, for this run only, in ``work``."""
    from diversity_tuning.embeddings import load_encoder

    options = {"device": args.device, "batch_size": args.batch_size, "trust_remote_code": args.trust_remote_code}
    folder = args.embedding_cache or work / "embeddings"
    names = [getattr(args, f"{kind}_model") for kind in sorted(args.score_process)]
    return [load_encoder(name, cache=folder, **options).store for name in names]


def close_stores(stores: list) -> None:
    """End the encoders' processes."""
    for store in stores:
        store.encoder.close()
