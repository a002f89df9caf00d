"""Which lengths of passes are captured. A run knows all its passes before it begins, so what costs least can be reckoned.

A pass is run at the next captured length, filled up. Few lengths mean much filling, many lengths much capturing: a layer takes 11 ms,
0.35 s for a 7B model, in which an H100 runs 6,000 tokens.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import ceil

WIDEST = 0.25  # of a pass: with more filling than that it is not run
OF_A_LAYER = 1.24e12  # tokens × weights of a layer that an H100 runs while one layer is captured


def worth_capturing(passes: Mapping[int, int], *, capture_tokens: float) -> tuple[int, ...]:
    """The lengths, in order, with which filling and capturing together cost least. `passes`: how many there are of each length.

    `capture_tokens`: run in the time that a capture takes.
    """
    lengths = sorted(passes)
    counts = [0, *accumulate(passes[length] for length in lengths)]
    tokens = [0, *accumulate(passes[length] * length for length in lengths)]
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for end, longest in enumerate(lengths, 1):
        first = bisect_left(lengths, longest / (1 + WIDEST))
        best.append(
            min(
                (
                    cost + capture_tokens + longest * (counts[end] - counts[begin]) - (tokens[end] - tokens[begin]),
                    (*chosen, longest),
                )
                for begin, (cost, chosen) in enumerate(best)
                if begin >= first
            )
        )
    return best[-1][1]


def length_for(tokens: int, captured: Sequence[int]) -> int:
    """At which a pass is run; its own where nobody expected it."""
    place = bisect_left(captured, tokens)
    return captured[place] if place < len(captured) and captured[place] <= (1 + WIDEST) * tokens else tokens


def most_fillings(tokens: int, *, longest: int) -> int:
    """Rows of filling, none longer than `longest`, that a pass of this length may get beside the collator's."""
    return ceil(WIDEST * tokens / longest)
