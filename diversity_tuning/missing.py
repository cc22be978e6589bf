"""A command that lacks a package says so in one line with the remedy, instead of in a traceback."""

import os
import sys
from pathlib import Path
from types import TracebackType

_ROOT = Path(__file__).parents[1]
_OURS = ("diversity_tuning", "scripts_", "benchmarks", "studies", "tests")
# Where a package to install is called otherwise than the module to import.
_PACKAGES = {"yaml": "PyYAML", "sklearn": "scikit-learn", "sentence_transformers": "sentence-transformers"}


def explain_missing_packages() -> None:
    """In a command of this project, started by ``python -m``: a missing package ends it with one line and exit code 2.

    Elsewhere, as in a notebook or another program that imports the library, nothing is changed.
    """
    if _is_command(sys.orig_argv):
        sys.excepthook = _hook


def advice(module: str) -> str:
    """What to do about a module that cannot be imported."""
    package = _PACKAGES.get(module, module)
    activate = _ROOT / ".venv" / "bin" / "activate"
    setup = f"bash {_ROOT / 'setup.sh'} makes this project's environment"
    instead = f"activate this project's environment (source {activate})" if activate.is_file() else setup
    return f"error: package {package} is missing for {sys.executable}: {instead}, or pip install -r requirements.txt"


def _is_command(argv: list[str]) -> bool:
    words = argv[argv.index("-m") + 1 :] if "-m" in argv else []
    return bool(words) and words[0].startswith(_OURS[:4])


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    name = (getattr(error, "name", None) or "").partition(".")[0]
    if not issubclass(kind, ModuleNotFoundError) or not name or name.startswith(_OURS):
        sys.__excepthook__(kind, error, trace)
        return
    print(advice(name), file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)  # a hook cannot choose the exit code otherwise
