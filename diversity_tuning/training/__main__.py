"""Train by name: ``python -m diversity_tuning.training NAME [flags]``, NAME an entry of :mod:`diversity_tuning.objectives`."""

import sys

from diversity_tuning.names import nearest
from diversity_tuning.objectives import trainings
from diversity_tuning.training.command import training_command

if __name__ == "__main__":
    names, (name, *words) = trainings(), sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(f"usage: python -m diversity_tuning.training NAME [flags]\n\nNAME: {', '.join(names)}")
    elif name not in names:
        print(f"error: no training '{name}'{nearest(name, names)}; there are: {', '.join(names)}", file=sys.stderr)
        raise SystemExit(2)
    else:
        training_command(name)(words)
