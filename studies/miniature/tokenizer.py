r"""The miniature's tokenizer: byte-level BPE with a chat template, from the training split's prompts and responses.

    python -m studies.miniature.tokenizer --config recipes/miniature/tokenizer.yaml \
        --source runs/miniature/seed0/data/scored --output runs/miniature/seed0/tokenizer
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.miniature.tokenizer")

import argparse

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.next_steps import DATA_STAGE, print_next, register_next
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance

BOS, END, PAD, USER, ASSISTANT = "<|bos|>", "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"
# GPT-2's parts of a text, but with the colon after a word as part of it.
_PARTS = r" ?\p{L}+:?| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
register_next(
    "tokenizer",
    DATA_STAGE + "1_data_prep_filtering {1_data_prep_filtering.yaml} --source {SCORED} --data_path {beside}/data/filtered"
    " --model_to_use {output}",
    "",  # of other texts than stage 0's
)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ message['content'] }}{{ eos_token }}"
    "{% else %}<|user|>{{ message['content'] }}<|assistant|>{% endif %}{% endfor %}"
)


@command
def main(argv=None) -> None:
    parser = Parser("studies.miniature.tokenizer", __doc__)
    parser.add_argument("--source", required=True, help="output folder of stage 0")
    parser.add_output("folder for the tokenizer")
    parser.add_argument("--vocab_size", type=int, default=1200, help="at most; merges stop when nothing repeats")
    parser.add_argument(
        "--labels_whole", action=argparse.BooleanOptionalAction, default=False, help="a colon stays with the word before it"
    )
    args = parse_with_recipe(parser, argv)

    settings = {"vocab_size": args.vocab_size} | ({"labels_whole": True} if args.labels_whole else {})
    record = provenance("tokenizer", settings, {"source": args.source})
    if is_finished(args.output, record, args.overwrite):
        return
    from diversity_tuning.data.tables import read_split

    rows = read_split(args.source, schema.TRAIN, (schema.POST_TITLE, schema.POST_TEXT, schema.COMMENT_TEXTS))
    tokenizer = train_tokenizer(texts_of(rows), args.vocab_size, args.labels_whole)
    with atomic_folder(args.output) as folder:
        tokenizer.save_pretrained(folder)
        write_provenance(folder, record, counts={"vocabulary": len(tokenizer)})
    print(f"{args.output}: {len(tokenizer)} tokens", flush=True)
    print_next("tokenizer", args.output)


def texts_of(rows):
    """Prompts and responses, one after the other."""
    for row in rows:
        yield schema.prompt_text(row[schema.POST_TITLE], row[schema.POST_TEXT])
        yield from row[schema.COMMENT_TEXTS]


def train_tokenizer(texts, vocab_size: int, labels_whole: bool = False):
    """A byte-level BPE tokenizer with the miniature's chat template; it has no unknown tokens.

    ``labels_whole``: a colon stays with the word before it, so that a label such as "Twist:" can be one token.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if labels_whole:
        parts = pre_tokenizers.Split(Regex(_PARTS), behavior="isolated")
        whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([parts, whole])
    backend.decoder = decoders.ByteLevel()
    specials = [BOS, END, PAD, USER, ASSISTANT]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=specials, initial_alphabet=alphabet, min_frequency=3, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=BOS, eos_token=END, pad_token=PAD, additional_special_tokens=[USER, ASSISTANT]
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


if __name__ == "__main__":
    main()
