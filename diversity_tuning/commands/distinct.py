r"""Calibrate the distance below which two samples count as the same in distinct_k, on the data's own responses.

python -m scripts_eval.distinct_threshold --source data/filtered --split train --num_prompts 500 --output runs/distinct
python -m scripts_eval.distinct_threshold --source runs/mine/data/filtered --split validation \
    --semantic_model builtin:minilm --labels my_labels:kind --output runs/my-threshold

Writes threshold.json, which --distinct_threshold of the scoring commands takes, and prints the threshold.
"""

from diversity_tuning.cli import command
from diversity_tuning.evaluation.scoring.calibration import CalibrationConfig, calibrate
from diversity_tuning.flags import parse_flags
from diversity_tuning.next_steps import print_next
from diversity_tuning.partition import THRESHOLD_FILE
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_json, write_provenance


@command
def main(argv=None) -> None:
    config = parse_flags(CalibrationConfig, "scripts_eval.distinct_threshold", __doc__, argv, extra="evaluation")
    from diversity_tuning.embeddings import encoder_input

    names = ("split", "start", "num_prompts", "draw", "seed", "share", "labels", "trust_remote_code")
    settings = {name: getattr(config, name) for name in names}
    inputs = {"source": config.source, "semantic_model": encoder_input(config.semantic_model)}
    record = provenance("distinct_threshold", settings, inputs)
    if is_finished(config.output, record, config.overwrite):
        return
    result = calibrate(config)
    with atomic_folder(config.output) as folder:
        write_json(folder / THRESHOLD_FILE, result)
        write_provenance(folder, record, **result)
    how = f"equal error {result['error']:.1%}" if config.labels else f"{config.share:.0%} of pairs nearer"
    counts = f"{result['pairs']} pairs of {result['prompts']} prompts"
    print(f"threshold {result['threshold']:.3f} for {config.semantic_model}: {how}, {counts}", flush=True)
    print_next("distinct_threshold", config.output)
