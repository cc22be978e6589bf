"""DiversityTuning: deviation-weighted preference training, for language models whose writing is good and diverse.

The trainers and δ can be used without the rest of the project:

    from diversity_tuning import DDPOConfig, DDPOTrainer, response_weights

Everything is loaded when it is first used, so that ``import diversity_tuning`` loads neither torch nor a file of a model.
"""

import importlib

__version__ = "0.2.0"
_MODULES = {
    "diversity_tuning.deviation": ("response_weights",),
    "diversity_tuning.losses": ("dpo_loss", "odds_ratio_loss", "orpo_loss", "ddpo_loss", "dorpo_loss"),
    "diversity_tuning.trainers": (
        *("DDPOConfig", "DDPOTrainer", "DORPOConfig", "DORPOTrainer", "ORPOConfig", "ORPOTrainer", "DPOTrainer"),
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_MODULE_OF)  # noqa: PLE0605


def __getattr__(name: str):
    """Import a public name from its module on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
