"""The histogram of row lengths, as bars for an SVG."""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from webapp.tokenization.figures import longest_in
from worker.contract.token_counts import Counts

WIDE, HIGH = 1000.0, 180.0  # of the drawing; it is stretched to the panel
BARS = 56
TAIL = 0.995  # of the rows are on the axis where the longest would squeeze the rest
LIMIT = 1_048_576  # of max_length, in the contract


@dataclass(frozen=True)
class Bar:
    x: float
    y: float
    wide: float
    high: float
    low: int
    to: int
    rows: int
    is_cut: bool

    @property
    def title(self) -> str:
        return f"{self.rows:,} {'row' if self.rows == 1 else 'rows'} of {self.low:,} to {self.to:,} tokens"


@dataclass(frozen=True)
class Chart:
    bars: tuple[Bar, ...]
    end: int
    """Where the axis ends, in tokens."""
    slider: int
    ticks: tuple[int, ...]
    beyond: int
    """Rows longer than the axis."""
    most: int = LIMIT
    wide: float = WIDE
    high: float = HIGH


def chart_of(lengths: Counts, *, max_length: int) -> Chart:
    end = axis_end(lengths)
    number = min(BARS, end)
    edges = [round(end * place / number) for place in range(number + 1)]
    below = [lengths.below(edge + 1) for edge in edges]
    counts = [after - before for before, after in pairwise(below)]
    highest = max(counts) or 1
    bars = tuple(
        _bar(place, number=number, rows=rows, highest=highest, low=edges[place] + 1, to=edges[place + 1], max_length=max_length)
        for place, rows in enumerate(counts)
    )
    ticks = tuple(round(end * part / 4) for part in range(5))
    return Chart(bars, end, min(max_length, end), ticks, lengths.total - below[-1])


def axis_end(lengths: Counts) -> int:
    """To the longest row, unless a few rows would squeeze all others into a third."""
    longest, usual = longest_in(lengths), lengths.percentile(TAIL)
    return max(longest if longest <= 3 * max(usual, 1) else ceil(1.5 * usual), 8)


def _bar(place: int, *, number: int, rows: int, highest: int, low: int, to: int, max_length: int) -> Bar:
    wide = WIDE / number
    high = max(HIGH * rows / highest, 1.5) if rows else 0.0
    gap = min(1.5, wide / 5)
    return Bar(round(place * wide, 2), round(HIGH - high, 2), round(wide - gap, 2), round(high, 2), low, to, rows, low > max_length)
