"""Packed passes are filled up to one of a few lengths: what a captured graph needs, and what the memory estimate counts."""

from math import ceil

LENGTHS = 40  # about so many between n and 2 n tokens: 2.5 % of filling at most


def filled(tokens: int) -> int:
    step = step_of(tokens)
    return ceil(tokens / step) * step


def step_of(tokens: int) -> int:
    """A power of two that grows with the length, 64 at least: what tensor cores like, and few lengths."""
    return max(64, 1 << max((tokens - 1) // LENGTHS, 0).bit_length())
