r"""Diversity of sampled stories per specification: distance of meanings (embeddings) and of words (1 − ROUGE-L).

    python -m studies.horror.diversity --samples runs/horror/seed0/samples/dpo-hard runs/horror/seed0/samples/sft \
        --output runs/horror/seed0/diversity/hard.json
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.horror.diversity")

import json
from pathlib import Path

import numpy as np

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.evaluation.metrics import diversity_by_prompt, homogenization_score
from diversity_tuning.evaluation.sampling.samples import SAMPLES, read_samples
from diversity_tuning.runs import fingerprint, write_text


@command
def main(argv=None) -> None:
    parser = Parser("studies.horror.diversity", __doc__)
    parser.add_argument("--samples", nargs="+", required=True, help="run folders of scripts_eval.sample; the name is the model")
    parser.add_argument("--semantic_model", default="builtin:minilm")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_output("JSON file")
    args = parse_with_recipe(parser, argv)
    inputs = {Path(one).name: fingerprint(Path(one) / SAMPLES) for one in args.samples} | {"encoder": args.semantic_model}
    output = Path(args.output)
    if output.is_file() and not args.overwrite and json.loads(output.read_text(encoding="utf-8")).get("inputs") == inputs:
        print(f"{output}: already made with these settings, skipped", flush=True)
        return
    from diversity_tuning.embeddings import load_encoder

    encoder = load_encoder(args.semantic_model, batch_size=args.batch_size)
    found = {Path(one).name: per_prompt(read_samples(one), encoder) for one in args.samples}
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, json.dumps({"inputs": inputs, "models": found}) + "\n")
    for name, values in found.items():
        print(name, {metric: round(float(np.nanmean(list(by.values()))), 3) for metric, by in values.items()}, flush=True)


def per_prompt(rows, encoder) -> dict[str, dict[str, float]]:
    """Metric -> prompt -> value over the samples of that prompt."""
    prompts: dict[str, list[str]] = {}
    for row in rows:
        prompts.setdefault(row.prompt, []).append(row.response)
    texts = [text for responses in prompts.values() for text in responses]
    vectors = dict(zip(texts, encoder.encode(texts), strict=True))
    semantic = {
        prompt: float(np.mean(diversity_by_prompt(np.stack([vectors[text] for text in found]), [0] * len(found))))
        for prompt, found in prompts.items()
    }
    return {"semantic": semantic, "words": {prompt: 1 - homogenization_score(found) for prompt, found in prompts.items()}}


if __name__ == "__main__":
    main()
