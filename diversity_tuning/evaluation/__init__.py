"""Samples in, numbers out: metrics, statistics over prompts, resumable runs, tables and figures."""
