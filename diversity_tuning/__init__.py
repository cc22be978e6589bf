"""DiversityTuning: deviation-weighted preference training, for language models whose writing is good and diverse.

The trainers and δ can be used without the rest of the project:

    from diversity_tuning import DDPOConfig, DDPOTrainer, read_pairs, response_weights

Everything is loaded when it is first used, so that ``import diversity_tuning`` loads neither torch nor a file of a model.
"""

import importlib
from typing import TYPE_CHECKING

from diversity_tuning.missing import explain_missing_packages

if TYPE_CHECKING:  # for editors and type checkers, which do not run __getattr__
    from diversity_tuning.data.examples import read_pairs
    from diversity_tuning.deviation import response_weights
    from diversity_tuning.losses import ddpo_loss, dorpo_loss, dpo_loss, odds_ratio_loss, orpo_loss, spl_loss
    from diversity_tuning.objectives import OBJECTIVES as OBJECTIVES
    from diversity_tuning.trainers import (
        DDPOConfig,
        DDPOTrainer,
        DORPOConfig,
        DORPOTrainer,
        DPOConfig,
        DPOTrainer,
        GRPOConfig,
        GRPOTrainer,
        ORPOConfig,
        ORPOTrainer,
        SPLConfig,
        SPLTrainer,
    )

explain_missing_packages()
__version__ = "0.2.0"
__all__ = [
    "DDPOConfig",
    "DDPOTrainer",
    "DORPOConfig",
    "DORPOTrainer",
    "DPOConfig",
    "DPOTrainer",
    "GRPOConfig",
    "GRPOTrainer",
    "ORPOConfig",
    "ORPOTrainer",
    "SPLConfig",
    "SPLTrainer",
    "ddpo_loss",
    "dorpo_loss",
    "dpo_loss",
    "odds_ratio_loss",
    "orpo_loss",
    "read_pairs",
    "response_weights",
    "spl_loss",
]


_MODULES = {"OBJECTIVES": "objectives", "read_pairs": "data.examples", "response_weights": "deviation"}


def __getattr__(name: str):
    """Import a public name from its module on first use."""
    if name not in __all__ and name != "OBJECTIVES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = _MODULES.get(name) or ("losses" if name.endswith("_loss") else "trainers")
    value = getattr(importlib.import_module(f"diversity_tuning.{place}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "OBJECTIVES"})
