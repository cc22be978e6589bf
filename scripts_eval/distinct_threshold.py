r"""Calibrate the distance below which two samples count as the same in distinct_k, on the data's own responses.

python -m scripts_eval.distinct_threshold --source data/filtered --split train --num_prompts 500 --output runs/distinct
python -m scripts_eval.distinct_threshold --source runs/miniature/seed0/data/filtered --split validation \
    --semantic_model builtin:minilm --labels studies.miniature.recognise:direction --output runs/my-threshold

Writes threshold.json, which --distinct_threshold of the scoring commands takes, and prints the threshold.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.distinct_threshold")

import argparse
import json

from diversity_tuning.cli import Parser, at_least, command, from_flags, parse_with_recipe
from diversity_tuning.evaluation.scoring.calibration import CalibrationConfig, calibrate
from diversity_tuning.next_steps import print_next
from diversity_tuning.partition import THRESHOLD_FILE
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance, write_text


@command
def main(argv=None) -> None:
    parser = Parser("scripts_eval.distinct_threshold", __doc__)
    parser.add_argument("--source", required=True, help="folder with the cleaned data: output of data stage 0 or 1")
    parser.add_argument("--split", default=CalibrationConfig.split, help="split of it; not the one that is evaluated on")
    parser.add_argument("--start", type=int, default=CalibrationConfig.start, help="first row")
    parser.add_argument(
        "--num_prompts", type=int, default=CalibrationConfig.num_prompts, help="rows from there on; fewer where the split ends"
    )
    parser.add_argument("--draw", type=at_least(1), default=CalibrationConfig.draw, help="responses a prompt, at most")
    parser.add_argument("--seed", type=at_least(0), default=CalibrationConfig.seed, help="decides that draw")
    parser.add_argument("--semantic_model", default=CalibrationConfig.semantic_model, help="semantic embedding model")
    parser.add_argument("--embedding_cache", default=None, help="folder that keeps embeddings between runs")
    parser.add_argument(
        "--share",
        type=float,
        default=CalibrationConfig.share,
        help="without labels: share of the pairs that count as the same",
    )
    parser.add_argument(
        "--labels", default=None, metavar="MODULE:COLUMN", help="a diagnostics module's label of what is the same"
    )
    parser.add_argument("--batch_size", type=int, default=CalibrationConfig.batch_size, help="texts embedded at once")
    parser.add_argument("--device", default=None, help="cpu, cuda, …; default: cuda where there is one")
    parser.add_argument("--trust_remote_code", action=argparse.BooleanOptionalAction, default=False, help="run the hub's code")
    parser.add_argument("--output", required=True, help="folder for threshold.json")
    parser.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="make it anew")
    args = parse_with_recipe(parser, argv)
    config = from_flags(CalibrationConfig, args)
    from diversity_tuning.embeddings import encoder_input

    names = ("split", "start", "num_prompts", "draw", "seed", "share", "labels", "trust_remote_code")
    settings = {name: getattr(args, name) for name in names}
    inputs = {"source": args.source, "semantic_model": encoder_input(args.semantic_model)}
    record = provenance("distinct_threshold", settings, inputs)
    if is_finished(args.output, record, args.overwrite):
        return
    result = calibrate(config)
    with atomic_folder(args.output) as folder:
        write_text(folder / THRESHOLD_FILE, json.dumps(result, indent=2) + "\n")
        write_provenance(folder, record, **result)
    how = f"equal error {result['error']:.1%}" if args.labels else f"{args.share:.0%} of pairs nearer"
    counts = f"{result['pairs']} pairs of {result['prompts']} prompts"
    print(f"threshold {result['threshold']:.3f} for {args.semantic_model}: {how}, {counts}", flush=True)
    print_next("distinct_threshold", args.output)


if __name__ == "__main__":
    main()
