"""Trainers on TRL: preference pairs with weights, and GRPO that keeps diversity. Usable on their own."""

import warnings

from diversity_tuning.trainers.group_relative import GRPOConfig, GRPOTrainer
from diversity_tuning.trainers.odds_ratio import DORPOConfig, DORPOTrainer, ORPOConfig, ORPOTrainer
from diversity_tuning.trainers.preference import DDPOConfig, DDPOTrainer, DPOConfig, DPOTrainer, SPLConfig, SPLTrainer

__all__ = [
    "DDPOConfig", "DDPOTrainer", "DORPOConfig", "DORPOTrainer", "DPOConfig", "DPOTrainer", "GRPOConfig", "GRPOTrainer",
    "ORPOConfig", "ORPOTrainer", "SPLConfig", "SPLTrainer",
]  # fmt: skip
# TRL and PEFT say ``gradient_checkpointing`` where transformers has another name by now; nobody here can change it.
warnings.filterwarnings("ignore", ".*gradient_checkpointing.* is deprecated", FutureWarning)
