"""Calibrate the distance below which two samples count as the same in distinct_k, on people's responses.

python -m scripts_eval.distinct_threshold --source data/filtered --split train --num_prompts 500 --output runs/distinct
python -m scripts_eval.distinct_threshold --source runs/miniature/seed0/data/filtered --split validation \
    --semantic_model builtin:minilm --labels diversity_tuning.miniature.recognise:direction --output runs/my-threshold

Writes threshold.json, which --distinct_threshold of the scoring commands takes, and prints the threshold.
"""

import argparse
import json

from diversity_tuning.cli import at_least, command, parse_with_recipe
from diversity_tuning.errors import UserError
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance, write_text


@command
def main(argv=None) -> None:
    parser = argparse.ArgumentParser(
        prog="scripts_eval.distinct_threshold",
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--source", required=True, help="folder with the cleaned data: output of data stage 0 or 1")
    parser.add_argument("--split", default="train", help="split of it; not the one that is evaluated on")
    parser.add_argument("--start", type=int, default=0, help="first row")
    parser.add_argument("--num_prompts", type=int, default=500, help="rows from there on; fewer where the split ends")
    parser.add_argument("--draw", type=at_least(1), default=8, help="responses a prompt, at most")
    parser.add_argument("--seed", type=at_least(0), default=42, help="decides that draw")
    parser.add_argument("--semantic_model", default="jinaai/jina-embeddings-v3-hf", help="semantic embedding model")
    parser.add_argument("--embedding_cache", default=None, help="folder that keeps embeddings between runs")
    parser.add_argument("--share", type=float, default=0.05, help="without labels: share of human pairs that count as the same")
    parser.add_argument(
        "--labels", default=None, metavar="MODULE:COLUMN", help="a diagnostics module's label of what is the same"
    )
    parser.add_argument("--batch_size", type=int, default=32, help="texts embedded at once")
    parser.add_argument("--device", default=None, help="cpu, cuda, …; default: cuda where there is one")
    parser.add_argument("--trust_remote_code", action=argparse.BooleanOptionalAction, default=False, help="run the hub's code")
    parser.add_argument("--output", required=True, help="folder for threshold.json")
    parser.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="make it anew")
    args = parse_with_recipe(parser, argv)
    if not 0 < args.share < 1 or args.draw < 2:
        raise UserError("--share lies between 0 and 1, --draw is at least 2")
    from diversity_tuning.embeddings import encoder_input
    from diversity_tuning.evaluation.scoring.calibration import calibrate
    from diversity_tuning.evaluation.scoring.threshold import FILE

    names = ("split", "start", "num_prompts", "draw", "seed", "share", "labels", "trust_remote_code")
    settings = {name: getattr(args, name) for name in names}
    inputs = {"source": args.source, "semantic_model": encoder_input(args.semantic_model)}
    record = provenance("distinct_threshold", settings, inputs)
    if is_finished(args.output, record, args.overwrite):
        return
    found = calibrate(args)
    with atomic_folder(args.output) as folder:
        write_text(folder / FILE, json.dumps(found, indent=2) + "\n")
        write_provenance(folder, record, **found)
    how = f"equal error {found['error']:.1%}" if args.labels else f"{args.share:.0%} of pairs nearer"
    counts = f"{found['pairs']} pairs of {found['prompts']} prompts"
    print(f"threshold {found['threshold']:.3f} for {args.semantic_model}: {how}, {counts}", flush=True)


if __name__ == "__main__":
    main()
