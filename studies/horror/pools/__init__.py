"""Sentence patterns and word lists of the synthetic stories: data, no logic."""
