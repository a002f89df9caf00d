"""Packing: several rows of the dataset in one bin of at most max_length tokens, as trl's best-fit-decreasing packs them.

Our own, because each bin has to know the lines of its rows, and because the bins may not depend on TRL's version.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence


def fill_bins(lengths: Sequence[int], *, size: int) -> list[list[int]]:
    """Places of the rows in each bin. The longest first, each into the fullest bin that it still fits into.

    The same lengths make the same bins. Within a bin rows stand in the dataset's order.
    """
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free tokens, bin), sorted
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        found = bisect_left(room, (lengths[place], -1))
        if found == len(room):
            bins.append([])
            free, at = size, len(bins) - 1
        else:
            free, at = room.pop(found)
        bins[at].append(place)
        if free > lengths[place]:
            insort(room, (free - lengths[place], at))
    return [sorted(each) for each in bins]


def in_words(bins: Sequence[Sequence[int]], *, tokens: int, size: int, effective_batch: int) -> str:
    rows = sum(map(len, bins))
    full = 100 * tokens / (len(bins) * size)
    return (
        f"Packing: {rows:,} rows in {len(bins):,} bins of at most {size:,} tokens, {full:.0f} % full. A step learns from "
        f"{effective_batch} bins, about {effective_batch * rows / len(bins):.0f} rows; rows of one bin do not see each other."
    )
