"""Scoring: rewards, diversities and other metrics of a run's responses."""
