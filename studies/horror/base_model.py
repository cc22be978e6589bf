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

from diversity_tuning.cli import at_least, command, parse_with_recipe
from diversity_tuning.data import schema
from studies.horror.boundary import MAX_LENGTH, Encoded, encode_example, pairs_of
from studies.miniature.base_model import base_parser, in_batches, train_in_order, write_model

LAYERS = ("conv", "full_attention", "full_attention")


def build_parser() -> argparse.ArgumentParser:
    source = "data set 'pretraining' of the specifications command"
    parser = base_parser("studies.horror.base_model", __doc__, source, batch_size=8)
    parser.add_argument("--layers", nargs="+", choices=("conv", "full_attention"), default=LAYERS, help="kinds, first to last")
    parser.add_argument("--max_length", type=at_least(2), default=MAX_LENGTH, help="longest document in tokens")
    return parser


@command
def main(argv=None) -> None:
    columns = (schema.FILTERED_COMMENT_TEXTS, "specification")
    write_model(parse_with_recipe(build_parser(), argv), "horror_base_model", columns, train_on_stories)


def train_on_stories(rows, tokenizer, args: argparse.Namespace, scratch: str):
    """Train an LFM2 on the story of every row, in batches of about one length; returns it and its last loss."""
    rng = np.random.default_rng(args.seed)
    documents = [encode_example(tokenizer, *pair, args.max_length) for pair in pairs_of(rows)]
    documents = in_batches(documents, args.batch_size, rng, lambda one: len(one.ids))
    return train_model(documents, tokenizer, args, scratch)


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
    encoded = [(one.ids, one.boundary) for one in documents]
    return train_in_order(new_model(tokenizer, args), encoded, tokenizer, args, scratch)


if __name__ == "__main__":
    main()
