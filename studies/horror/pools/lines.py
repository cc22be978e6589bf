"""Pools written as text, one entry per line."""


def lines(text: str) -> tuple[str, ...]:
    """The lines of ``text`` that are not empty, without the space around them."""
    return tuple(line.strip() for line in text.strip().splitlines())
