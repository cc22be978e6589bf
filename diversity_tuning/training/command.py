"""The ``main(argv)`` of every training command."""

import sys
from collections.abc import Callable

from diversity_tuning.cli import command
from diversity_tuning.objectives import trainings
from diversity_tuning.training.life_cycle import TrainingRun


def training_command(name: str, text: str | None = None) -> Callable[..., int]:
    """The command that trains ``name``, an entry of :mod:`diversity_tuning.objectives`; ``text`` opens its help."""

    @command
    def main(argv=None) -> None:
        training = trainings()[name]
        start = "" if not training.takes_adapter or not getattr(training, "from_adapter", True) else " --adapter SFT"
        about = text or (
            f"{training.label}: {training.card}.\n\n    python -m {training.module} --config RECIPE.yaml --source FOLDER"
            f" --model_name_or_path BASE{start} --output_dir FOLDER"
        )
        run = TrainingRun(name, sys.argv[1:] if argv is None else list(argv), about, training.further_inputs)
        if not run.is_finished():  # known before torch is loaded
            training.train(run)

    return main
