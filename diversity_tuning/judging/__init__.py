"""Judges and rewards against what people say."""
