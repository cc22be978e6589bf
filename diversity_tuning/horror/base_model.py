r"""The base model of the horror recipe: a small Llama that has read recitals, then synthetic stories of three kinds.

    python -m diversity_tuning.horror.base_model --config recipes/horror/base_model.yaml \
        --source runs/horror/seed0/data/pretraining --tokenizer runs/horror/seed0/tokenizer --output runs/horror/seed0/base

A recital says the fields of a specification again, so that all of it can be copied from the prompt. The first five sixths are
the prompt's own lines in another order, without instruction and constraints; the last sixth tells the fields in the forms that
stories use. The loss counts what comes after the prompt only: with the prompt's random fields in the loss, the same model does
not learn to copy in this time (docs/LOG.md). No specification is read twice as a story.
"""

if not __package__:
    raise SystemExit("error: run it as python -m diversity_tuning.horror.base_model")

import argparse

import numpy as np

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.horror.boundary import MAX_LENGTH, Encoded, encode_example
from diversity_tuning.horror.specification import FIELDS, TABOOS, Specification, draw_specification, from_mapping
from diversity_tuning.miniature.base_model import last_loss, length_batches, new_model, training_arguments
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance


def build_parser() -> argparse.ArgumentParser:
    parser = Parser("diversity_tuning.horror.base_model", __doc__)
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

    from diversity_tuning.data.read import read_split

    rows = read_split(args.source, schema.TRAIN, (schema.FILTERED_COMMENT_TEXTS, "specification"))
    with atomic_folder(args.output) as folder:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(args.tokenizer)
        rng = np.random.default_rng(args.seed)
        shuffled = args.recitals * 5 // 6
        lessons = (lines(shuffled, rng), recitals(args.recitals - shuffled, rng), stories(rows))
        documents = [
            document
            for lesson in lessons
            for document in in_batches([encode_example(tokenizer, *pair, args.max_length) for pair in lesson], args, rng)
        ]
        model, loss = train_model(documents, tokenizer, args, str(folder / "logs"))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        counts = {"vocabulary": len(tokenizer), "parameters": model.num_parameters(), "final_loss": loss}
        write_provenance(folder, record, counts=counts)
    print(f"{args.output}: {counts}", flush=True)


def in_batches(documents: list[Encoded], args: argparse.Namespace, rng: np.random.Generator) -> list[Encoded]:
    """The documents in an order whose batches hold some of about one length, and are themselves in random order."""
    order = length_batches([len(document.ids) for document in documents], args.batch_size, rng)
    return [documents[i] for i in order]


def train_model(documents: list[Encoded], tokenizer, args: argparse.Namespace, scratch: str):
    """Train a Llama from scratch on documents in their order, loss after the boundary only; returns it and its last loss."""
    import torch
    from datasets import Dataset
    from torch.nn.utils.rnn import pad_sequence
    from transformers import Trainer

    def collate(rows: list[dict]) -> dict:
        ids = [torch.tensor(row["ids"]) for row in rows]
        labels = [one.clone() for one in ids]
        for one, row in zip(labels, rows, strict=True):
            one[: row["boundary"]] = -100
        mask = pad_sequence([torch.ones_like(one) for one in ids], batch_first=True)
        inputs = pad_sequence(ids, batch_first=True, padding_value=tokenizer.pad_token_id)
        return {"input_ids": inputs, "attention_mask": mask, "labels": pad_sequence(labels, True, -100)}

    trainer = Trainer(
        model=new_model(tokenizer, args),
        args=training_arguments(args, scratch, remove_unused_columns=False),
        train_dataset=Dataset.from_list([{"ids": one.ids, "boundary": one.boundary} for one in documents]),
        data_collator=collate,
    )
    trainer.train()
    return trainer.model, last_loss(trainer)


def lines(count: int, rng: np.random.Generator):
    """``count`` pairs of the lines of a specification and the same lines in another order."""
    for _ in range(count):
        asked = draw_specification(rng).to_prompt().split("\n")[1 : 1 + len(FIELDS)]
        again = list(asked)
        rng.shuffle(again)
        yield "\n".join(asked), "\n".join(again)


def stories(rows):
    """(prompt, story) of every row."""
    for row in rows:
        yield from_mapping(row["specification"]).to_prompt(), row[schema.FILTERED_COMMENT_TEXTS][0]


def recitals(count: int, rng: np.random.Generator):
    """``count`` pairs of a whole prompt and its fields in random order, each in one of the forms that stories use."""
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
