r"""The base model of the horror recipe: a small LFM2 that has read synthetic stories of three kinds.

    python -m studies.horror.base_model --config recipes/horror/base_model.yaml \
        --source runs/horror/seed0/data/pretraining --tokenizer runs/horror/seed0/tokenizer --output runs/horror/seed0/base

Two choices let it learn within some hundred updates to copy the fields of its prompt (docs/LOG.md): a short convolution before
the attention layers, so that a token knows the label that it follows, and attention layers that start as copying ones
(:func:`start_copying`). The loss counts the stories only, and no story is read twice.
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.horror.base_model")

import argparse

import numpy as np

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance
from studies.horror.boundary import MAX_LENGTH, Encoded, encode_example
from studies.horror.specification import from_mapping
from studies.miniature.base_model import last_loss, length_batches, training_arguments

LAYERS = ("conv", "full_attention", "full_attention")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser("studies.horror.base_model", __doc__)
    parser.add_argument("--source", required=True, help="data set 'pretraining' of the specifications command")
    parser.add_argument("--tokenizer", required=True, help="folder of the tokenizer; copied beside the model")
    parser.add_argument("--output", required=True, help="folder for model and tokenizer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hidden_size", type=int, default=128)
    parser.add_argument("--layers", nargs="+", choices=("conv", "full_attention"), default=LAYERS, help="kinds, first to last")
    parser.add_argument("--num_heads", type=int, default=4)
    parser.add_argument("--batch_size", type=at_least(1), default=8, help="documents an update")
    parser.add_argument("--learning_rate", type=float, default=3e-3)
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

    from diversity_tuning.data.tables import read_split

    rows = read_split(args.source, schema.TRAIN, (schema.FILTERED_COMMENT_TEXTS, "specification"))
    with atomic_folder(args.output) as folder:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(args.tokenizer)
        rng = np.random.default_rng(args.seed)
        documents = in_batches([encode_example(tokenizer, *pair, args.max_length) for pair in stories(rows)], args, rng)
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


def new_model(tokenizer, args: argparse.Namespace):
    """An untrained LFM2 that starts copying; ``args``: seed, hidden_size, layers, num_heads."""
    from transformers import Lfm2Config, Lfm2ForCausalLM, set_seed

    set_seed(args.seed)
    config = Lfm2Config(
        vocab_size=len(tokenizer),
        hidden_size=args.hidden_size,
        intermediate_size=2 * args.hidden_size,
        block_auto_adjust_ff_dim=False,
        num_hidden_layers=len(args.layers),
        layer_types=list(args.layers),
        num_attention_heads=args.num_heads,
        num_key_value_heads=args.num_heads,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Lfm2ForCausalLM(config)
    start_copying(model)
    return model


def start_copying(model) -> None:
    """Make every attention layer of an untrained LFM2 hand on what it attends to, unchanged.

    Values are projected by an orthogonal matrix V and outputs by its transpose, so that their product is the identity, and
    with tied embeddings a token that is attended to becomes likelier at once; what is left to learn is where to look. The
    idea is that of mimetic initialisation (Trockman and Kolter, 2023), which fits such products to those of trained models.
    """
    import torch

    for layer in model.model.layers:
        if layer.is_attention_layer:
            torch.nn.init.orthogonal_(layer.self_attn.v_proj.weight)
            with torch.no_grad():
                layer.self_attn.out_proj.weight.copy_(layer.self_attn.v_proj.weight.T)


def train_model(documents: list[Encoded], tokenizer, args: argparse.Namespace, scratch: str):
    """Train an LFM2 from scratch on documents in their order, loss after the boundary only; returns it and its last loss."""
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


def stories(rows):
    """(prompt, story) of every row."""
    for row in rows:
        yield from_mapping(row["specification"]).to_prompt(), row[schema.FILTERED_COMMENT_TEXTS][0]


if __name__ == "__main__":
    main()
