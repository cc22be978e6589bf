"""Embedding the responses of a folder of pairs: each distinct text once, against a loop over prompts, in one process.

python -m benchmarks.embedding --source_pair out/pairs --semantic_model builtin:minilm --device cpu

The loop calls the same loaded model once a prompt with the distinct responses in that prompt's pairs, as the words of the
pipeline have it. Both read the same pairs; the vectors must agree to 1e-5. ``--processes 2`` adds the one pass on two CPU
processes. Prints one line of JSON.
"""

import argparse
import json
import tempfile
import time

import numpy as np


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


def one_pass(model: str, device: str, batch_size: int, texts: list[str]) -> tuple[float, int, np.ndarray]:
    """(seconds, truncated texts, vectors) of the store, filled as stage 3 fills it, into an empty folder."""
    from diversity_tuning.data.weigh import embed_texts
    from diversity_tuning.embeddings import load_encoder, text_key

    with tempfile.TemporaryDirectory() as folder:
        encoder = load_encoder(model, device, batch_size, cache=folder)
        encoder.encode_distinct(["warm", "up"] * 8)
        start = time.perf_counter()
        keys = embed_texts((texts[place : place + 500] for place in range(0, len(texts), 500)), [encoder.store])
        seconds = time.perf_counter() - start
        vectors = encoder.store.vectors(np.array([text_key(text) for text in texts], "S16"))
        truncated = encoder.store.count_truncated(keys)
        encoder.close()
    return seconds, truncated, vectors


def loop(model: str, device: str, batch_size: int, prompts: dict[str, list[str]]) -> tuple[float, np.ndarray]:
    """(seconds, vectors) of one call of the model per prompt."""
    from sentence_transformers import SentenceTransformer

    from diversity_tuning.embeddings import MINILM, minilm_folder

    loaded = SentenceTransformer(str(minilm_folder()) if model == MINILM else model, device=device)
    loaded.encode(["warm", "up"] * 8)
    start = time.perf_counter()
    vectors = [loaded.encode(texts, batch_size=batch_size, show_progress_bar=False) for texts in prompts.values()]
    seconds = time.perf_counter() - start
    stacked = np.concatenate(vectors)
    return seconds, stacked / np.linalg.norm(stacked, axis=1, keepdims=True)


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source_pair", required=True, help="stage 2's pairs")
    parser.add_argument("--semantic_model", default="builtin:minilm")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--prompts", type=int, default=None, help="the first prompts only")
    parser.add_argument("--processes", type=int, default=1, help="also the one pass on so many processes of --device")
    args = parser.parse_args(argv)
    prompts = prompts_of(args.source_pair, args.prompts)
    texts = [text for responses in prompts.values() for text in responses]
    looped, expected = loop(args.semantic_model, args.device, args.batch_size, prompts)
    seconds, truncated, vectors = one_pass(args.semantic_model, args.device, args.batch_size, texts)
    result = {
        "prompts": len(prompts),
        "texts": len(texts),
        "distinct": len(set(texts)),
        "words per text": round(float(np.mean([len(text.split()) for text in texts])), 1),
        "truncated": truncated,
        "loop seconds": round(looped, 2),
        "one pass seconds": round(seconds, 2),
        "ratio": round(looped / seconds, 2),
        "largest difference": float(np.abs(vectors - expected).max()),
    }
    if args.processes > 1:
        devices = ",".join([args.device] * args.processes)
        seconds, _, several = one_pass(args.semantic_model, devices, args.batch_size, texts)
        result[f"{args.processes} processes seconds"] = round(seconds, 2)
        result[f"{args.processes} processes largest difference"] = float(np.abs(several - vectors).max())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
