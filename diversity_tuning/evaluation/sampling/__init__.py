"""Sampling: a run folder with responses and the record of how they were made."""
