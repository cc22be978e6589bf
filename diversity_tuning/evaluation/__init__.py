"""Responses in, numbers out: sampling, scoring and reports, over shared metrics and statistics."""
