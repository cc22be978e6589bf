r"""Supervised fine-tuning (SFT) of a base model on the kept responses: where DPO and DDPO start.

    accelerate launch --config_file accelerate_configs/multi_gpu.yaml -m scripts_finetuning.generation_model_train \
        --config recipes/llama-3.1-8b/generation.yaml --source runs/llama-3.1-8b/data/filtered \
        --output_dir runs/llama-3.1-8b/generation
    python -m scripts_finetuning.generation_model_train --config recipes/miniature/generation.yaml \
        --source runs/miniature/seed0/data/filtered \
        --model_name_or_path runs/miniature/seed0/base --output_dir runs/my-generation
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_finetuning.generation_model_train")

import sys

from diversity_tuning.cli import command
from diversity_tuning.training.life_cycle import TrainingRun


@command
def main(argv=None) -> None:
    run = TrainingRun("generation", sys.argv[1:] if argv is None else list(argv), __doc__)
    if run.is_finished():
        return
    from diversity_tuning.training.sft import (
        train_sft,  # loads torch: after the check, so that a finished run is skipped at once
    )

    train_sft(run)


if __name__ == "__main__":
    main()
