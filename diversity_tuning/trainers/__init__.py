"""Preference trainers with a weight for each pair, on TRL. Usable on their own with any dataset that has a weight column."""

from diversity_tuning.trainers.odds_ratio import DORPOConfig, DORPOTrainer, ORPOConfig, ORPOTrainer
from diversity_tuning.trainers.preference import DDPOConfig, DDPOTrainer, DPOConfig, DPOTrainer

__all__ = [
    "DDPOConfig", "DDPOTrainer", "DORPOConfig", "DORPOTrainer", "DPOConfig", "DPOTrainer", "ORPOConfig", "ORPOTrainer",
]  # fmt: skip
