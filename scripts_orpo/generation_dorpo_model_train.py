r"""DORPO: ORPO with each pair's loss weighted by the deviation of its winning story, from the base model.

    accelerate launch --config_file accelerate_configs/multi_gpu.yaml -m scripts_orpo.generation_dorpo_model_train \
        --config recipes/llama-3.1-8b/dorpo.yaml --source runs/llama-3.1-8b/data/pairs-both \
        --output_dir runs/llama-3.1-8b/dorpo
    python -m scripts_orpo.generation_dorpo_model_train --config recipes/miniature/dorpo.yaml \
        --source runs/miniature/seed0/data/pairs-both \
        --model_name_or_path runs/miniature/seed0/base --output_dir runs/my-dorpo
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_orpo.generation_dorpo_model_train")

import sys

from diversity_tuning.cli import command
from diversity_tuning.training.life_cycle import TrainingRun


@command
def main(argv=None) -> None:
    run = TrainingRun("dorpo", sys.argv[1:] if argv is None else list(argv), __doc__)
    if run.is_finished():
        return
    from diversity_tuning.trainers import DORPOConfig, DORPOTrainer  # heavy: a finished run is skipped before
    from diversity_tuning.training.preference import train_preference

    train_preference(run, DORPOTrainer, DORPOConfig)


if __name__ == "__main__":
    main()
