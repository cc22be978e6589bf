"""Responses to prompts: from a local model, from OpenAI-compatible servers, or from an API."""
