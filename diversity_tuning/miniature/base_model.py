r"""The miniature's base model: a small Llama that knows the language of the world.

    python -m diversity_tuning.miniature.base_model --config recipes/miniature/base_model.yaml \
        --source runs/miniature/seed0/data/filtered --tokenizer runs/miniature/seed0/tokenizer \
        --output runs/miniature/seed0/base

It stands where Llama-3.1-8B stands in the paper. Like a real base model it has read much text of the kind it will write, the
training split's prompts and responses alike, good and bad, and no votes.
"""

import argparse

from diversity_tuning.cli import command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.miniature.augment import swap_parts
from diversity_tuning.miniature.specification import from_prompt
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance


@command
def main(argv=None) -> None:
    parser = argparse.ArgumentParser(
        prog="diversity_tuning.miniature.base_model",
        description="Train the miniature's base model on the training split.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--source", required=True, help="output folder of stage 1")
    parser.add_argument("--tokenizer", required=True, help="folder of the tokenizer; copied beside the model")
    parser.add_argument("--output", required=True, help="folder for model and tokenizer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hidden_size", type=int, default=128)
    parser.add_argument("--num_layers", type=int, default=4)
    parser.add_argument("--num_heads", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch_size", type=int, default=16, help="sequences an update")
    parser.add_argument("--learning_rate", type=float, default=3e-3)
    parser.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False)
    args = parse_with_recipe(parser, argv)

    settings = {key: value for key, value in vars(args).items() if key != "output"}
    settings["examples_per_update"] = args.batch_size  # elsewhere a batch size only decides the speed; here, the result
    record = provenance("base_model", settings, {"source": args.source, "tokenizer": args.tokenizer})
    if is_finished(args.output, record, args.overwrite):
        return
    from transformers import PreTrainedTokenizerFast

    from diversity_tuning.launch import load_split

    rows = load_split(args.source, schema.TRAIN, (schema.POST_TITLE, schema.POST_TEXT, schema.FILTERED_COMMENT_TEXTS))
    with atomic_folder(args.output) as folder:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(args.tokenizer)
        model, loss = train_model(rows, tokenizer, args, str(folder / "logs"))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        counts = {"vocabulary": len(tokenizer), "parameters": model.num_parameters(), "final_loss": loss}
        write_provenance(folder, record, counts=counts)
    print(f"{args.output}: {counts}", flush=True)


def train_model(rows, tokenizer, args: argparse.Namespace, scratch: str):
    """Train a Llama from scratch on whole conversations; returns it with its last logged loss."""
    from transformers import (
        DataCollatorForLanguageModeling,
        LlamaConfig,
        LlamaForCausalLM,
        Trainer,
        TrainingArguments,
        set_seed,
    )

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
    model = LlamaForCausalLM(config)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=scratch,
            num_train_epochs=1,  # over `epochs` copies of the data
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
            train_sampling_strategy="group_by_length",
        ),
        train_dataset=conversations(rows, tokenizer, args.epochs, args.seed),
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )
    result = trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return model, losses[-1] if losses else result.training_loss


def conversations(rows, tokenizer, copies: int, seed: int):
    """Every prompt with each of its kept responses, ``copies`` times, through the chat template; cut at 512 tokens.

    In every copy but the first, people and things are those of another prompt of the split (:mod:`.augment`): a model that
    sees each of a few hundred prompts ten times over would learn them by heart and never learn to read them.
    """
    import numpy as np
    from datasets import Dataset

    rng = np.random.default_rng(seed)
    prompts = [schema.prompt_text(row[schema.POST_TITLE], row[schema.POST_TEXT]) for row in rows]
    donors = [spec for spec in map(from_prompt, prompts) if spec is not None]
    texts = []
    for copy in range(copies):
        for prompt, row in zip(prompts, rows, strict=True):
            own = from_prompt(prompt)
            for response in row[schema.FILTERED_COMMENT_TEXTS]:
                pair = prompt, response
                if copy and own is not None:
                    pair = swap_parts(prompt, response, own, donors[rng.integers(len(donors))])
                text = tokenizer.apply_chat_template(schema.to_messages(*pair), tokenize=False)
                texts.append(text)
    encoded = tokenizer(texts, add_special_tokens=False, truncation=True, max_length=512)
    return Dataset.from_dict({"input_ids": encoded["input_ids"]})


if __name__ == "__main__":
    main()
