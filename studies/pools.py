"""Reads what a study has as data beside its code: pools of words and sentences, patterns, plans; YAML files."""

from collections.abc import Callable, Sequence
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


def pick(rng, pool: Sequence):
    """One of ``pool``, uniformly, by a NumPy generator."""
    return pool[rng.integers(len(pool))]


def draw_different(draw: Callable, key: Callable[[Any], tuple], count: int) -> list:
    """``count`` of what ``draw`` gives, no two with the same ``key``."""
    seen: dict[tuple, Any] = {}
    while len(seen) < count:
        drawn = draw()
        seen.setdefault(key(drawn), drawn)
    return list(seen.values())
