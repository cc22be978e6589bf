"""Embedding the responses of a folder of pairs: each distinct text once, against a loop over prompts, in one process.

python -m benchmarks.embedding --source_pair out/pairs --semantic_model builtin:minilm --device cpu

The loop calls the model once a prompt with the distinct responses in that prompt's pairs, as the words of the pipeline have
it. Both get the same texts, after the model is loaded and warm; the vectors must agree to 1e-5. "again" is the next run with
the same store, which every further variant of stage 3 and the evaluation find. The one pass is also set against the rate of
matrix products that the same device reaches just before and after it, in the model's precision and with as many threads.
``--processes 2`` adds the one pass on two processes. Prints one line of JSON.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.embedding")

import json
import sys
import tempfile
import time
from contextlib import redirect_stdout

import numpy as np
import torch

from diversity_tuning.cli import Parser, command
from diversity_tuning.embeddings import MINILM, EmbeddingStore, load_encoder, text_key
from diversity_tuning.embeddings.encoder import minilm_folder


def prompts_of(folder: str, most: int | None) -> dict[str, list[str]]:
    """The distinct responses in the pairs of each prompt of the training split, of the first ``most`` prompts."""
    from datasets import load_from_disk

    found: dict[str, dict[str, None]] = {}
    for row in load_from_disk(folder)["train"]:
        prompt = row["chosen"][0]["content"]
        if prompt not in found and most is not None and len(found) == most:
            break
        for side in ("chosen", "rejected"):
            found.setdefault(prompt, {})[row[side][-1]["content"]] = None
    return {prompt: list(texts) for prompt, texts in found.items()}


def timed(function) -> tuple[float, float, object]:
    """(wall seconds, CPU seconds of this process, result)."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def one_pass(model: str, device: str, batch_size: int, texts: list[str]) -> dict:
    """The store, filled from nothing as stage 3 fills it, and then asked again by a second run."""
    from diversity_tuning.data.weigh import embed_texts

    def fill(store) -> np.ndarray:
        keys = embed_texts((texts[place : place + 500] for place in range(0, len(texts), 500)), [store])
        store.vectors(keys)
        return keys

    with tempfile.TemporaryDirectory() as folder:
        encoder = load_encoder(model, device, batch_size, cache=folder)
        encoder.encode_distinct([f"warm {number}" for number in range(16)])
        with redirect_stdout(sys.stderr):
            seconds, cpu, keys = timed(lambda: fill(encoder.store))
            again = timed(lambda: fill(EmbeddingStore(folder, encoder)))[0]
        vectors = encoder.store.vectors(np.array([text_key(text) for text in texts], "S16"))
        truncated = encoder.store.count_truncated(keys)
        encoder.close()
    return {"seconds": seconds, "cpu": cpu, "again": again, "truncated": truncated, "vectors": vectors}


def loop(model: str, device: str, batch_size: int, prompts: dict[str, list[str]]) -> dict:
    """One call of the model per prompt."""
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(str(minilm_folder()) if model == MINILM else model, device=device)
    loaded.encode([f"warm {number}" for number in range(16)])
    options = {"batch_size": batch_size, "show_progress_bar": False}
    seconds, cpu, vectors = timed(lambda: [loaded.encode(texts, **options) for texts in prompts.values()])
    stacked = np.concatenate(vectors)
    vectors = stacked / np.linalg.norm(stacked, axis=1, keepdims=True)
    tokens, operations = work(loaded, [text for texts in prompts.values() for text in dict.fromkeys(texts)])
    return {
        "seconds": seconds,
        "cpu": cpu,
        "vectors": vectors,
        "tokens": tokens,
        "operations": operations,
        "dtype": loaded.dtype,
    }


def work(model, texts: list[str]) -> tuple[int, float]:
    """(tokens, floating-point operations) of one forward pass over ``texts``, without padding.

    Two for every weight of a linear layer and token, and in every layer 4 · hidden · T² for attention to T tokens.
    Norms, activations and a pooling layer over one token are left out.
    """
    ids = model.tokenizer(texts, truncation=True, max_length=model.max_seq_length)["input_ids"]
    lengths = np.array([len(one) for one in ids], dtype=np.float64)
    encoder = model[0].auto_model
    linear = (part for name, part in encoder.named_modules() if isinstance(part, torch.nn.Linear) and "pooler" not in name)
    weights = sum(part.weight.numel() for part in linear)
    attention = 4 * encoder.config.num_hidden_layers * encoder.config.hidden_size
    return int(lengths.sum()), float((2 * weights * lengths + attention * lengths**2).sum())


def product_rates(device: str, dtype: torch.dtype, repeats: int = 5) -> list[float]:
    """Floating-point operations a second of square matrix products on ``device``, one rate a repeat."""
    size = 8192 if device.startswith("cuda") else 1536
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    finish = torch.cuda.synchronize if device.startswith("cuda") else lambda: None

    def product() -> None:
        left @ right
        finish()

    product()
    return [2 * size**3 / timed(product)[0] for _ in range(repeats)]


def throughput(cost: dict, seconds: float, texts: int, rate: float) -> dict:
    """What the one pass did a second, beside ``rate``, the matrix products' operations a second."""
    return {
        "threads": torch.get_num_threads(),
        "precision": str(cost["dtype"]).removeprefix("torch."),
        "texts/s": round(texts / seconds, 1),
        "tokens/s": round(cost["tokens"] / seconds),
        "encoder GFLOP/s": round(cost["operations"] / seconds / 1e9, 1),
        "matrix product GFLOP/s": round(rate / 1e9, 1),
        "share of the matrix product": round(cost["operations"] / seconds / rate, 3),
    }


@command
def main(argv=None) -> None:
    parser = Parser("benchmarks.embedding", __doc__)
    parser.add_argument("--source_pair", required=True, help="stage 2's pairs")
    parser.add_argument("--semantic_model", default="builtin:minilm", help="hub id, folder or builtin:minilm")
    parser.add_argument("--device", default="cpu", help="where to embed: cpu, cuda:0, …")
    parser.add_argument("--batch_size", type=int, default=32, help="texts at once")
    parser.add_argument("--prompts", type=int, default=None, help="the first prompts only")
    parser.add_argument("--processes", type=int, default=1, help="also the one pass on so many processes of --device")
    args = parser.parse_args(argv)
    prompts = prompts_of(args.source_pair, args.prompts)
    texts = [text for responses in prompts.values() for text in responses]
    options = (args.batch_size, texts)
    other = loop(args.semantic_model, args.device, args.batch_size, prompts)
    rates = product_rates(args.device, other["dtype"])
    ours = one_pass(args.semantic_model, args.device, *options)
    rate = float(np.median(rates + product_rates(args.device, other["dtype"])))
    result = {
        "device": torch.cuda.get_device_name() if args.device.startswith("cuda") else args.device,
        "prompts": len(prompts),
        "texts": len(texts),
        "distinct": len(set(texts)),
        "words per text": round(float(np.mean([len(text.split()) for text in texts])), 1),
        "truncated": ours["truncated"],
        "loop s": round(other["seconds"], 2),
        "one pass s": round(ours["seconds"], 2),
        "ratio": round(other["seconds"] / ours["seconds"], 2),
        **throughput(other, ours["seconds"], len(texts), rate),
        "loop CPU s": round(other["cpu"], 2),
        "one pass CPU s": round(ours["cpu"], 2),
        "again s": round(ours["again"], 3),
        "ratio over 4 runs": round(4 * other["seconds"] / (ours["seconds"] + 3 * ours["again"]), 2),
        "largest difference": float(np.abs(ours["vectors"] - other["vectors"]).max()),
    }
    if args.processes > 1:
        several = one_pass(args.semantic_model, ",".join([args.device] * args.processes), *options)
        result[f"{args.processes} processes s"] = round(several["seconds"], 2)
        result[f"{args.processes} processes largest difference"] = float(np.abs(several["vectors"] - ours["vectors"]).max())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
