r"""The released greetings (arXiv 2508.21476): a clean part to train on, a small model to train, and a baseline of n-grams.

    G=…/Igniting-Creative-Writing-in-Small-Language-Models/dataset
    python -m benchmarks.greetings prepare --train $G/reward_model/reward_data_train.json \
        --held_out $G/reward_model/reward_data_test.json $G/evaluation_set/evaluate_data.json --output runs/greetings/data
    python -m benchmarks.greetings ngrams --source runs/greetings/data/pairs_clean.jsonl \
        --labels $G/evaluation_set/evaluate_data.json --output runs/greetings/ngrams-labels
    python -m benchmarks.greetings retrieval --source TRAIN_PAIRS --queries TEST_PAIRS --output runs/retrieval

``prepare`` writes ``pairs_clean.jsonl`` (training pairs that share no prompt and no response with the held-out files), ``base``
(a Llama from scratch over the characters of those pairs) and ``leak.json`` (what is shared). ``ngrams`` writes what
``scripts_eval.judge_agreement`` writes, for a logistic regression on character n-grams. ``retrieval`` writes how many of
the ten prompts of ``--source`` nearest to a query are of its occasion, by two encoders. docs/GREETINGS.md has all commands.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.greetings")

import argparse
import json
from pathlib import Path

import numpy as np

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.judging.read import read_labels_or_pairs, read_pairs
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_json, write_json_lines, write_provenance

TAGS = ("<prompt>", "</prompt>", "<response>", "</response>")


@command
def main(argv=None) -> None:
    parser = Parser("benchmarks.greetings", __doc__)
    parser.add_argument("task", choices=["prepare", "ngrams", "retrieval"])
    parser.add_argument("--train", help="prepare: pairs to train on")
    parser.add_argument("--held_out", nargs="+", help="prepare: files of pairs or labels to keep apart")
    parser.add_argument("--hidden_size", type=int, default=128, help="prepare: of the base model")
    parser.add_argument("--num_layers", type=int, default=2, help="prepare: of the base model")
    parser.add_argument("--seed", type=int, default=0, help="prepare: of the base model's weights")
    parser.add_argument("--source", help="ngrams: pairs to train on")
    parser.add_argument("--labels", help="ngrams: rows of prompt, response, label; or give --pairs")
    parser.add_argument("--pairs", help="ngrams: rows of prompt, chosen, rejected")
    parser.add_argument("--queries", help="retrieval: rows with a prompt")
    parser.add_output("folder")
    args = parse_with_recipe(parser, argv)
    if args.task == "prepare" and not (args.train and args.held_out):
        parser.error("prepare needs --train and --held_out")
    if args.task == "ngrams" and not (args.source and (args.labels or args.pairs)):
        parser.error("ngrams needs --source, and --labels or --pairs")
    if args.task == "retrieval" and not (args.source and args.queries):
        parser.error("retrieval needs --source and --queries")
    return {"prepare": prepare, "ngrams": ngrams, "retrieval": retrieval}[args.task](args)


def retrieval(args: argparse.Namespace) -> None:
    """Of the ten nearest prompts, how many are of the query's occasion: mean over queries that have one, by encoder."""
    from benchmarks.greetings_occasions import occasion
    from diversity_tuning.embeddings import MINILM, load_encoder
    from studies.judges.retrieval import NGRAMS, ngram_encoder

    record = provenance("greetings-retrieval", {}, {"source": args.source, "queries": args.queries})
    if is_finished(args.output, record, args.overwrite):
        return
    corpus = sorted(set(read_pairs(args.source).prompts))
    queries = sorted(one for one in {*read_pairs(args.queries).prompts} - {*corpus} if occasion(one))
    same = np.array([[occasion(one) == occasion(query) for one in corpus] for query in queries])
    found = {"prompts": len(corpus), "queries": len(queries), "chance": float(same.mean())}
    for name, encode in ((NGRAMS, ngram_encoder(corpus)), (MINILM, load_encoder(MINILM, "cpu").encode)):
        nearest = np.argsort(-(encode(queries) @ encode(corpus).T), axis=1, kind="stable")[:, :10]
        found[name] = float(np.take_along_axis(same, nearest, axis=1).mean())
    with atomic_folder(args.output) as folder:
        write_json(folder / "retrieval.json", found)
        write_provenance(folder, record)
    print(json.dumps(found), flush=True)


# A clean part, and a model for it.


def prepare(args: argparse.Namespace) -> None:
    """Write the training pairs without what is held out, counts of what is shared, and a base model."""
    held_out = {f"held_out_{number}": path for number, path in enumerate(args.held_out)}
    settings = {"hidden_size": args.hidden_size, "num_layers": args.num_layers, "seed": args.seed}
    record = provenance("greetings", settings, {"train": args.train, **held_out})
    if is_finished(args.output, record, args.overwrite):
        return
    pairs = read_pairs(args.train)
    apart = [read_labels_or_pairs(path) for path in args.held_out]
    prompts = {prompt for data in apart for prompt in data.prompts}
    texts = {response for data in apart for response in data.responses}
    rows = [
        {"prompt": pairs.prompts[chosen], "chosen": pairs.responses[chosen], "rejected": pairs.responses[rejected]}
        for chosen, rejected in pairs.pairs
    ]
    clean = [row for row in rows if row["prompt"] not in prompts and not {row["chosen"], row["rejected"]} & texts]
    leak = {"train_pairs": len(rows), "clean_pairs": len(clean)}
    leak |= {path: shared(data, rows) for path, data in zip(map(file_name, args.held_out), apart, strict=True)}
    with atomic_folder(args.output) as folder:
        write_json_lines(folder / "pairs_clean.jsonl", clean)
        write_json(folder / "leak.json", leak)
        counts = save_base([text for row in clean for text in row.values()], args, folder / "base")
        write_provenance(folder, record, counts=counts)
    print(json.dumps({**leak, **counts}, ensure_ascii=False), flush=True)


def shared(data, rows: list[dict]) -> dict[str, int]:
    """Of held-out rows: how many have a prompt or a response of the training pairs, word for word."""
    prompts, chosen, rejected = ({row[name] for row in rows} for name in ("prompt", "chosen", "rejected"))
    good = [response for response, label in zip(data.responses, data.labels, strict=True) if label]
    bad = [response for response, label in zip(data.responses, data.labels, strict=True) if not label]
    return {
        "rows": len(data.responses),
        "rows_with_a_training_prompt": sum(prompt in prompts for prompt in data.prompts),
        "good": len(good),
        "good_that_are_a_chosen_training_response": sum(response in chosen for response in good),
        "bad": len(bad),
        "bad_that_are_a_rejected_training_response": sum(response in rejected for response in bad),
    }


def file_name(path: str) -> str:
    return Path(path).name


def save_base(texts: list[str], args: argparse.Namespace, folder: Path) -> dict[str, int]:
    """A tokenizer of single characters and a random Llama over them."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = character_tokenizer(texts)
    torch.manual_seed(args.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=args.hidden_size, intermediate_size=3 * args.hidden_size,
        num_hidden_layers=args.num_layers, num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True, initializer_range=args.hidden_size**-0.5,  # at 0.02 attention stays even for long
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {"vocabulary": len(tokenizer), "parameters": model.num_parameters()}


def character_tokenizer(texts: list[str]):
    """One token for each character of ``texts``; any other character is the tokens of its bytes. Nothing is unknown."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    specials = ["<|bos|>", "<|end|>", "<|pad|>"]
    alphabet = sorted({character for text in texts for character in text})
    tokens = [*specials, *TAGS, *(f"<0x{byte:02X}>" for byte in range(256)), *alphabet]
    backend = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[], byte_fallback=True))
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    backend.add_special_tokens([*specials, *TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=specials[0], eos_token=specials[1], pad_token=specials[2],
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


# The baseline.


def ngrams(args: argparse.Namespace) -> None:
    """Agreement of a classifier that tells chosen from rejected training responses by their characters."""
    from diversity_tuning.judging.check import check

    record = provenance("ngrams", {}, {"source": args.source, "labels": args.labels, "pairs": args.pairs})
    if is_finished(args.output, record, args.overwrite):
        return
    data = read_labels_or_pairs(args.labels or args.pairs)
    score = ngram_scorer(read_pairs(args.source))
    with atomic_folder(args.output) as folder:
        result = check(score, data, folder, name="character n-grams")
        write_provenance(folder, record)
    print(json.dumps({name: result[name] for name in ("accuracy", "f1", "auc", "pair_accuracy")}), flush=True)


def ngram_scorer(train, weights: np.ndarray | None = None):
    """TF-IDF of the response's character 1- and 2-grams, logistic regression of good against bad; the prompt is not read.

    ``weights`` ``(n,)``: how much each row of ``train`` counts.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    vectors = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = make_pipeline(vectors, LogisticRegression(C=10, max_iter=1000))
    model.fit(train.responses, train.labels, logisticregression__sample_weight=weights)
    return lambda prompts, responses: model.decision_function(responses)


if __name__ == "__main__":
    main()
