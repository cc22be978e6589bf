"""Trainers on TRL: preference pairs with weights, and GRPO that keeps diversity. Usable on their own."""

from diversity_tuning.trainers.group_relative import GRPOConfig, GRPOTrainer
from diversity_tuning.trainers.odds_ratio import DORPOConfig, DORPOTrainer, ORPOConfig, ORPOTrainer
from diversity_tuning.trainers.portable import silence_renamed_arguments
from diversity_tuning.trainers.preference import DDPOConfig, DDPOTrainer, DPOConfig, DPOTrainer, SPLConfig, SPLTrainer

__all__ = [
    "DDPOConfig", "DDPOTrainer", "DORPOConfig", "DORPOTrainer", "DPOConfig", "DPOTrainer", "GRPOConfig", "GRPOTrainer",
    "ORPOConfig", "ORPOTrainer", "SPLConfig", "SPLTrainer",
]  # fmt: skip
silence_renamed_arguments()
