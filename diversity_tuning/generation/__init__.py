"""Responses to prompts: from a local model."""
