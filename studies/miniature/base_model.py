r"""The miniature's base model: a small Llama trained from scratch on the synthetic training split.

    python -m studies.miniature.base_model --config recipes/miniature/base_model.yaml \
        --source runs/miniature/seed0/data/filtered --tokenizer runs/miniature/seed0/tokenizer \
        --output runs/miniature/seed0/base

It takes the place of Llama-3.1-8B. Like a real base model it has read much text of the kind it will write, the
training split's prompts and responses alike, good and bad, and no votes. Before the stories it reads recitals, which only say
a prompt's parts again in another order. Every word of those is to be found in the prompt, so that the model learns within some
hundred updates to look there; from stories alone it learns so late and, on some seeds, not at all (docs/LOG.md).
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.miniature.base_model")

import argparse
from collections.abc import Callable

import numpy as np

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.next_steps import SFT_LINE, print_next, register_next
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance
from studies.miniature.augment import swap_parts
from studies.miniature.specification import from_prompt

register_next("base_model", SFT_LINE)


@command
def main(argv=None) -> None:
    parser = base_parser("studies.miniature.base_model", __doc__, source="output folder of stage 1", batch_size=16)
    parser.add_argument("--num_layers", type=int, default=4, help="layers")
    parser.add_argument("--recitals", type=int, default=6400, help="recitals to read before the stories; 0 for none")
    parser.add_argument("--epochs", type=int, default=4, help="how often every story is read")
    args = parse_with_recipe(parser, argv)
    columns = (schema.POST_TITLE, schema.POST_TEXT, schema.FILTERED_COMMENT_TEXTS)
    if write_model(args, "base_model", columns, train_model):
        print_next("base_model", args.output)


def base_parser(module: str, text: str, source: str, batch_size: int) -> Parser:
    """The flags that every base model of the studies has; ``source`` says what its data are."""
    parser = Parser(module, text)
    parser.add_argument("--source", required=True, help=source)
    parser.add_argument("--tokenizer", required=True, help="folder of the tokenizer; copied beside the model")
    parser.add_output("folder for model and tokenizer")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order")
    parser.add_argument("--hidden_size", type=int, default=128, help="width of the model")
    parser.add_argument("--num_heads", type=int, default=4, help="attention heads of a layer")
    parser.add_argument("--batch_size", type=at_least(1), default=batch_size, help="documents an update")
    parser.add_argument("--learning_rate", type=float, default=3e-3, help="highest learning rate of the cosine schedule")
    return parser


def write_model(args: argparse.Namespace, stage: str, columns: tuple[str, ...], train: Callable) -> bool:
    """Train on the rows of ``--source`` and write model and tokenizer; False where that is made already.

    ``train``: (rows, tokenizer, args, folder for scratch files) -> (model, its last loss).
    """
    settings = {key: value for key, value in vars(args).items() if key != "output"}
    settings["examples_per_update"] = args.batch_size  # elsewhere a batch size only decides the speed; here, the result
    record = provenance(stage, settings, {"source": args.source, "tokenizer": args.tokenizer})
    if is_finished(args.output, record, args.overwrite):
        return False
    from transformers import PreTrainedTokenizerFast

    from diversity_tuning.data.tables import read_split
    from diversity_tuning.opening import from_pretrained

    rows = read_split(args.source, schema.TRAIN, columns)
    with atomic_folder(args.output) as folder:
        tokenizer = from_pretrained(PreTrainedTokenizerFast, args.tokenizer)
        model, loss = train(rows, tokenizer, args, str(folder / "logs"))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        counts = {"vocabulary": len(tokenizer), "parameters": model.num_parameters(), "final_loss": loss}
        write_provenance(folder, record, counts=counts)
    print(f"{args.output}: {counts}", flush=True)
    return True


def train_model(rows, tokenizer, args: argparse.Namespace, scratch: str):
    """Train a Llama from scratch on recitals, then on whole conversations; returns it with its last logged loss."""
    rng = np.random.default_rng(args.seed)
    lessons = [encode(tokenizer, recitals(rows, args.recitals, rng)), encode(tokenizer, conversations(rows, args.epochs, rng))]
    documents = [document for lesson in lessons for document in in_batches(lesson, args.batch_size, rng)]
    return train_in_order(new_model(tokenizer, args), [(ids, 0) for ids in documents], tokenizer, args, scratch)


def new_model(tokenizer, args: argparse.Namespace):
    """An untrained Llama; ``args``: seed, hidden_size, num_layers, num_heads."""
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    set_seed(args.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.hidden_size,
        intermediate_size=2 * args.hidden_size,
        num_hidden_layers=args.num_layers,
        num_attention_heads=args.num_heads,
        num_key_value_heads=args.num_heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def train_in_order(model, documents: list[tuple[list[int], int]], tokenizer, args: argparse.Namespace, scratch: str):
    """One pass over documents in their order, under one cosine schedule; returns the model and its last logged loss.

    ``documents``: token ids, and where the loss begins in them; ``args``: seed, batch_size, learning_rate.
    """
    from datasets import Dataset
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=scratch,
        num_train_epochs=1,  # over `epochs` copies of the stories
        per_device_train_batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,  # below 1: a share of all steps
        weight_decay=0.01,
        adam_beta2=0.98,
        seed=args.seed,
        logging_steps=50,
        save_strategy="no",
        report_to="none",
        train_sampling_strategy="sequential",
    )
    rows = [{"input_ids": ids, "labels": [-100] * start + ids[start:]} for ids, start in documents]
    collator = DataCollatorForSeq2Seq(tokenizer)  # pads at the end, labels with -100
    trainer = Trainer(model=model, args=arguments, train_dataset=Dataset.from_list(rows), data_collator=collator)
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return trainer.model, losses[-1] if losses else trainer.state.log_history[-1]["train_loss"]


def encode(tokenizer, pairs) -> list[list[int]]:
    """Token ids of every (prompt, response) in the chat template, cut at 512."""
    texts = [tokenizer.apply_chat_template(schema.to_messages(*pair), tokenize=False) for pair in pairs]
    return tokenizer(texts, add_special_tokens=False, truncation=True, max_length=512)["input_ids"] if texts else []


def in_batches(documents: list, batch_size: int, rng: np.random.Generator, length: Callable = len) -> list:
    """The documents in an order whose batches hold some of about one ``length``, and are themselves in random order."""
    lengths = list(map(length, documents))
    order = rng.permutation(len(lengths))
    order = order[np.argsort([lengths[i] for i in order], kind="stable")]
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    full, rest = (batches[:-1], batches[-1:]) if len(order) % batch_size else (batches, [])
    rng.shuffle(full)
    return [documents[i] for batch in [*full, *rest] for i in batch]


def recitals(rows, count: int, rng: np.random.Generator):
    """``count`` pairs of a prompt, its parts drawn from the split's prompts, and those parts as its text has them, shuffled."""
    posts = [(row[schema.POST_TITLE], row[schema.POST_TEXT]) for row in rows]
    known = [(post, spec) for post in posts if (spec := from_prompt(schema.prompt_text(*post))) is not None]
    for _ in range(count if known else 0):
        (title, text), own = known[rng.integers(len(known))]
        _, donor = known[rng.integers(len(known))]
        prompt, parts = swap_parts(schema.prompt_text(title, text), text, own, donor)
        sentences = parts.strip().removesuffix(".").split(". ")
        rng.shuffle(sentences)
        yield prompt, ". ".join(sentences) + "."


def conversations(rows, copies: int, rng: np.random.Generator):
    """Every prompt with each of its kept responses, ``copies`` times.

    In every copy but the first, names and objects are those of another prompt of the split (:mod:`.augment`): a model that
    sees each of a few hundred prompts ten times over would learn them by heart and never learn to read them.
    """
    prompts = [schema.prompt_text(row[schema.POST_TITLE], row[schema.POST_TEXT]) for row in rows]
    donors = [spec for spec in map(from_prompt, prompts) if spec is not None]
    for copy in range(copies):
        for prompt, row in zip(prompts, rows, strict=True):
            own = from_prompt(prompt)
            for response in row[schema.FILTERED_COMMENT_TEXTS]:
                if copy and own is not None:
                    yield swap_parts(prompt, response, own, donors[rng.integers(len(donors))])
                else:
                    yield prompt, response


if __name__ == "__main__":
    main()
