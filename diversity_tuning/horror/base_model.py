r"""The base model of the horror recipe: a small Llama that has read recitals, then synthetic stories of three kinds.

    python -m diversity_tuning.horror.base_model --config recipes/horror/base_model.yaml \
        --source runs/horror/seed0/data/pretraining --tokenizer runs/horror/seed0/tokenizer --output runs/horror/seed0/base

A recital repeats the fields of a specification in another order and in the forms that stories use, so that all of it can be
copied from the prompt: see :mod:`diversity_tuning.miniature.base_model`. No specification is read twice as a story.
"""

import argparse

import numpy as np

from diversity_tuning.cli import at_least, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.horror.boundary import MAX_LENGTH, encode_example
from diversity_tuning.horror.specification import TABOOS, Specification, draw_specification, from_mapping
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="diversity_tuning.horror.base_model",
        description="Train the base model of the horror recipe.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--source", required=True, help="data set 'pretraining' of the specifications command")
    parser.add_argument("--tokenizer", required=True, help="folder of the tokenizer; copied beside the model")
    parser.add_argument("--output", required=True, help="folder for model and tokenizer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hidden_size", type=int, default=128)
    parser.add_argument("--num_layers", type=int, default=3)
    parser.add_argument("--num_heads", type=int, default=4)
    parser.add_argument("--recitals", type=at_least(0), default=6400, help="recitals to read before the stories")
    parser.add_argument("--batch_size", type=at_least(1), default=8, help="documents an update")
    parser.add_argument("--learning_rate", type=float, default=6e-3)
    parser.add_argument("--max_length", type=at_least(2), default=MAX_LENGTH, help="longest document in tokens")
    parser.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False)
    return parser


@command
def main(argv=None) -> None:
    args = parse_with_recipe(build_parser(), argv)
    settings = {key: value for key, value in vars(args).items() if key != "output"}
    settings["examples_per_update"] = args.batch_size  # elsewhere a batch size only decides the speed; here, the result
    record = provenance("horror_base_model", settings, {"source": args.source, "tokenizer": args.tokenizer})
    if is_finished(args.output, record, args.overwrite):
        return
    from transformers import PreTrainedTokenizerFast

    from diversity_tuning.launch import load_split
    from diversity_tuning.miniature.base_model import train_on

    rows = load_split(args.source, schema.TRAIN, (schema.FILTERED_COMMENT_TEXTS, "specification"))
    with atomic_folder(args.output) as folder:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(args.tokenizer)
        rng = np.random.default_rng(args.seed)
        lessons = [
            [encode_example(tokenizer, *pair, args.max_length).ids for pair in lesson]
            for lesson in (recitals(args.recitals, rng), stories(rows))
        ]
        model, loss = train_on(lessons, tokenizer, args, str(folder / "logs"), rng)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        counts = {"vocabulary": len(tokenizer), "parameters": model.num_parameters(), "final_loss": loss}
        write_provenance(folder, record, counts=counts)
    print(f"{args.output}: {counts}", flush=True)


def stories(rows):
    """(prompt, story) of every row."""
    for row in rows:
        yield from_mapping(row["specification"]).to_prompt(), row[schema.FILTERED_COMMENT_TEXTS][0]


def recitals(count: int, rng: np.random.Generator):
    """``count`` pairs of a prompt and its fields in random order, each in one of the forms that stories use."""
    for _ in range(count):
        spec = draw_specification(rng)
        parts = [forms[rng.integers(len(forms))] for forms in _forms(spec)]
        rng.shuffle(parts)
        yield spec.to_prompt(), "\n\n".join([spec.title, " ".join(parts)])


def _forms(spec: Specification) -> tuple[tuple[str, ...], ...]:
    hero, other, twist = spec.protagonist, spec.supporting, spec.twist
    done = f"did not {spec.taboo}" if spec.taboo_kept else TABOOS[spec.taboo]
    return (
        (f"{hero} came to {spec.setting}.",),
        (
            f"{spec.object[0].upper()}{spec.object[1:]} was there.",
            f"There lay {spec.object}.",
            f"The {spec.object.split(' ', 1)[1]}.",
        ),
        (f'"Never {spec.taboo}," {other} said.', f"{other} said never {spec.taboo}."),
        (f"{hero} {done}.", f"In the night, {hero} {done}."),
        (f"It said that {twist}.", f'"{twist[0].upper()}{twist[1:]}," {other} said.'),
        (f"{hero}'s name.", f"{other} was there.", f"{hero} and {other}."),
    )


if __name__ == "__main__":
    main()
