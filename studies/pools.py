"""Reads what a study has as data beside its code: pools of words and sentences, patterns, plans; YAML files."""

from pathlib import Path
from typing import Any

import yaml

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_pools(module_file: str, name: str) -> Any:
    """The content of ``data/NAME.yaml`` beside the module whose ``__file__`` is given, in the file's order."""
    return yaml.load(pools_file(module_file, name).read_text(encoding="utf-8"), Loader=_Loader)


def pools_file(module_file: str, name: str) -> Path:
    """Where :func:`read_pools` finds it."""
    return Path(module_file).with_name("data") / f"{name}.yaml"
